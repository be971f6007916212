//! A look at the bytes of a peer message before they are decoded.
//!
//! The decoder underneath (protobuf 2.28) recurses without a limit through the deprecated *group*
//! wire types, so that a few kilobytes of nested groups overflow the stack (RUSTSEC-2024-0437). No
//! field of a Raft message is a group, hence any group is refused here. The number of entries is
//! bounded too: an empty entry costs two bytes on the wire and a hundred in memory.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>.

/// More entries than this in one message are refused; the sender never packs so many.
pub(crate) const MAX_ENTRIES: usize = 1 << 16;

/// How the fields of a message nest. Only these are looked into; other fields are skipped whole.
struct Shape {
    nested: &'static [(u64, &'static Shape)],
    counted: Option<u64>,
}

const FLAT: Shape = Shape { nested: &[], counted: None };
const METADATA: Shape = Shape { nested: &[(1, &FLAT)], counted: None };
const SNAPSHOT: Shape = Shape { nested: &[(2, &METADATA)], counted: None };
const MESSAGE: Shape = Shape { nested: &[(7, &FLAT), (9, &SNAPSHOT)], counted: Some(7) };
const CHANGE: Shape = Shape { nested: &[(2, &FLAT)], counted: Some(2) };

/// Checks the bytes of an `eraftpb.Message`.
pub(crate) fn check_message(bytes: &[u8]) -> Result<(), &'static str> {
    check(bytes, &MESSAGE)
}

/// Checks the bytes of an `eraftpb.ConfChangeV2`.
pub(crate) fn check_flat(bytes: &[u8]) -> Result<(), &'static str> {
    check(bytes, &CHANGE)
}

// The recursion is as deep as the constants above nest: three levels.
fn check(mut bytes: &[u8], shape: &Shape) -> Result<(), &'static str> {
    let mut counted = 0;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = key >> 3;
        if shape.counted == Some(field) {
            counted += 1;
            if counted > MAX_ENTRIES {
                return Err("too many entries in one message");
            }
        }
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => skip(&mut bytes, 8)?,
            2 => {
                let length = varint(&mut bytes)?;
                let length = usize::try_from(length).map_err(|_| "a length beyond the message")?;
                let (inside, rest) =
                    bytes.split_at_checked(length).ok_or("a length beyond the message")?;
                if let Some((_, nested)) = shape.nested.iter().find(|(number, _)| *number == field)
                {
                    check(inside, nested)?;
                }
                bytes = rest;
            }
            5 => skip(&mut bytes, 4)?,
            3 | 4 => return Err("a group, which no Raft message has"),
            _ => return Err("an unknown wire type"),
        }
    }
    Ok(())
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<(), &'static str> {
    *bytes = bytes.get(length..).ok_or("cut short")?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("cut short")?;
        *bytes = rest;
        if shift < 64 {
            value |= u64::from(byte & 0x7f) << shift;
        }
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number longer than ten bytes")
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;
    use raft::eraftpb as pb;

    use super::*;

    #[test]
    fn a_full_message_passes() {
        let mut message = pb::Message::default();
        message.set_msg_type(pb::MessageType::MsgSnapshot);
        message.index = u64::MAX;
        message.priority = -1;
        message.context = b"context".as_slice().into();
        message.mut_snapshot().mut_metadata().mut_conf_state().mut_voters().push(3);
        message.mut_entries().push(pb::Entry { index: 7, ..Default::default() });
        let bytes = message.write_to_bytes().expect("encoding into memory cannot fail");
        assert_eq!(check_message(&bytes), Ok(()));
    }

    #[test]
    fn groups_are_refused_at_every_depth() {
        let group = |field: u8| vec![field << 3 | 3];
        let wrap = |field: u8, inside: Vec<u8>| {
            let mut bytes = vec![field << 3 | 2, inside.len() as u8];
            bytes.extend(inside);
            bytes
        };
        for bytes in [
            group(14),
            wrap(7, group(9)),
            wrap(9, group(9)),
            wrap(9, wrap(2, group(9))),
            wrap(9, wrap(2, wrap(1, group(9)))),
        ] {
            assert_eq!(check_message(&bytes), Err("a group, which no Raft message has"));
        }
        assert_eq!(check_message(&vec![0x73; 1 << 20]), Err("a group, which no Raft message has"));
    }

    #[test]
    fn a_flood_of_empty_entries_is_refused() {
        let flood = [7 << 3 | 2, 0].repeat(MAX_ENTRIES + 1);
        assert_eq!(check_message(&flood), Err("too many entries in one message"));
        assert_eq!(check_message(&flood[2..]), Ok(()));
    }

    #[test]
    fn cut_and_overlong_bytes_are_refused() {
        assert_eq!(check_message(&[0x08]), Err("cut short"));
        assert_eq!(check_message(&[7 << 3 | 2, 5, 0]), Err("a length beyond the message"));
        assert_eq!(check_message(&[0xff; 11]), Err("a number longer than ten bytes"));
        assert_eq!(check_message(&[0x0f]), Err("an unknown wire type"));
    }
}
