//! The first bytes of a connection.
//!
//! torch 2.2 and newer begin with `VALIDATE`: the byte 0 and a magic number. Older ones begin with an operation of
//! an older table, in which 0 is `SET`: so a 0 is judged by the four bytes after it, and anything else at once.
//! torch 1.13 and 2.1 number the rest of that table differently and cannot be told apart, so they are refused.

/// What upstream calls `validationMagicNumber`.
const MAGIC: u32 = 0x3C85_F7CE;

/// The length of the opening.
const LEN: usize = 5;

/// The highest number of an operation that torch before 2.2 sends.
const OLD_LAST: u8 = 10;

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A client, and how long its opening was.
    Client(usize),
    /// Not enough bytes yet.
    Incomplete,
    Refused(Stranger),
}

/// Who is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    OldTorch,
    NotTorch,
}

/// Judges the first bytes of a connection.
pub(crate) fn greet(bytes: &[u8]) -> Greeting {
    match bytes {
        [] => Greeting::Incomplete,
        [0, rest @ ..] if rest.len() < LEN - 1 => Greeting::Incomplete,
        [0, a, b, c, d, ..] if u32::from_le_bytes([*a, *b, *c, *d]) == MAGIC => {
            Greeting::Client(LEN)
        }
        [operation, rest @ ..] => {
            let old = *operation <= OLD_LAST && plausible_length(rest);
            Greeting::Refused(if old { Stranger::OldTorch } else { Stranger::NotTorch })
        }
    }
}

/// Whether this may be the length of a key, or a count of keys, or the beginning of one.
fn plausible_length(bytes: &[u8]) -> bool {
    let mut word = [0; 8];
    let known = bytes.len().min(word.len());
    word[..known].copy_from_slice(&bytes[..known]);
    u64::from_le_bytes(word) <= super::MAX_KEYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_is_waited_for_in_pieces() {
        let opening = [0, 0xCE, 0xF7, 0x85, 0x3C];
        for len in 0..opening.len() {
            assert_eq!(greet(&opening[..len]), Greeting::Incomplete, "{len} bytes");
        }
        assert_eq!(greet(&opening), Greeting::Client(5));
        assert_eq!(greet(&[0, 0xCE, 0xF7, 0x85, 0x3C, 13, 1]), Greeting::Client(5));
    }

    #[test]
    fn the_first_bytes_of_older_torch_are_known() {
        // ADD init/ 1, as torch 1.13 and 2.1 send it.
        assert_eq!(greet(b"\x03\x05\0\0\0\0\0\0\0init/"), Greeting::Refused(Stranger::OldTorch));
        // SET with a key of 4 bytes.
        assert_eq!(greet(b"\x00\x04\0\0\0\0\0\0\0/key"), Greeting::Refused(Stranger::OldTorch));
        assert_eq!(greet(b"\x03"), Greeting::Refused(Stranger::OldTorch));
    }

    #[test]
    fn other_protocols_are_not_taken_for_torch() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\0wxyz", b"\x0d", b"\x03abcdefgh"]
        {
            assert_eq!(greet(bytes), Greeting::Refused(Stranger::NotTorch), "{bytes:?}");
        }
    }
}
