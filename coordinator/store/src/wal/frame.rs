//! A frame: one batch on disk, with everything that is needed to tell whether it is whole, where it
//! belongs, and whether it was ever acknowledged.
//!
//! ```text
//!   0        4        8        12       16              24              32
//!   +--------+--------+--------+--------+---------------+---------------+----------+------+
//!   | "FRM1" | crc32  | length | crc of | batch number  | durable up to | payload  | 0-7  |
//!   |        |        |        | frame  |               | batch number  |          | zero |
//!   |        |        |        | before |               |               |          |      |
//!   +--------+--------+--------+--------+---------------+---------------+----------+------+
//! ```
//!
//! Little endian. The CRC is over the segment's salt, the frame without its CRC, and the padding, so
//! that neither old blocks nor a payload that imitates a frame can pass for one. *Durable up to* is
//! the newest batch that an fsync had covered when this one was written: by it a reader of a damaged
//! file knows whether what is damaged was acknowledged once.

/// Length of a frame's head in bytes.
pub(crate) const HEAD: usize = 32;

/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;

const MAGIC: [u8; 4] = *b"FRM1";

/// What stands in a frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Numbers all batches of a log, from 1.
    pub(crate) number: u64,
    /// The CRC of the batch before.
    pub(crate) previous: u32,
    /// Every batch up to this number was durable when this one was written.
    pub(crate) durable: u64,
}

/// A whole frame in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) head: Head,
    pub(crate) crc: u32,
    pub(crate) payload: &'a [u8],
    /// Bytes from the frame's begin to the next one's.
    pub(crate) length: usize,
}

/// The bytes that a frame with so much payload takes.
pub(crate) fn length_of(payload: usize) -> usize {
    (HEAD + payload).next_multiple_of(ALIGN)
}

/// Completes a frame: `buffer` is room for the head and then the payload. Returns the CRC.
pub(crate) fn seal(buffer: &mut Vec<u8>, salt: u64, head: Head) -> u32 {
    let payload = buffer.len() - HEAD;
    let length = u32::try_from(payload).expect("the log refuses batches over a gibibyte");
    buffer.resize(length_of(payload), 0);
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[8..12].copy_from_slice(&length.to_le_bytes());
    buffer[12..16].copy_from_slice(&head.previous.to_le_bytes());
    buffer[16..24].copy_from_slice(&head.number.to_le_bytes());
    buffer[24..32].copy_from_slice(&head.durable.to_le_bytes());
    let crc = checksum(salt, &buffer[8..]);
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The frame at the begin of `bytes`, if a whole one is there.
pub(crate) fn read(bytes: &[u8], salt: u64) -> Option<Frame<'_>> {
    let (head, _) = bytes.split_at_checked(HEAD)?;
    if head[..4] != MAGIC {
        return None;
    }
    let u32_at = |at| u32::from_le_bytes(*head[at..].first_chunk().expect("inside of the head"));
    let u64_at = |at| u64::from_le_bytes(*head[at..].first_chunk().expect("inside of the head"));
    let payload = usize::try_from(u32_at(8)).ok()?;
    let length = length_of(payload);
    let frame = bytes.get(..length)?;
    let crc = u32_at(4);
    if checksum(salt, &frame[8..]) != crc {
        return None;
    }
    let head = Head { number: u64_at(16), previous: u32_at(12), durable: u64_at(24) };
    Some(Frame { head, crc, payload: &frame[HEAD..HEAD + payload], length })
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut buffer = [&[0; HEAD], payload].concat();
        seal(&mut buffer, 7, Head { number: 3, previous: 5, durable: 2 });
        buffer
    }

    #[test]
    fn a_frame_reads_back_and_knows_its_end() {
        for length in 0..20 {
            let payload = vec![9; length];
            let mut bytes = frame(&payload);
            let whole = bytes.len();
            assert_eq!(whole % ALIGN, 0);
            bytes.extend([1; 40]);
            let read = read(&bytes, 7).expect("a whole frame");
            assert_eq!((read.payload, read.length), (payload.as_slice(), whole));
            assert_eq!(read.head, Head { number: 3, previous: 5, durable: 2 });
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let bytes = frame(b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped, 7), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], 7), None, "length {length}");
        }
        assert_eq!(read(&bytes, 8), None, "the salt of another segment");
    }
}
