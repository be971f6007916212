//! Replies on their way out.
//!
//! The replies to everything that one read brought are gathered and leave in one system call. Small values are
//! copied into the gathered bytes. Large ones, and all of a reply that would copy too much, stay where they are
//! and are named to the kernel (`sendmsg`), so that a thousand readers of one value cost one value.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use crate::ledger::Blob;

/// Up to here a value is copied: cheaper than a slice of its own for the kernel.
const COPY: usize = 2 << 10;

/// How much is copied before values are shared whatever their length, and how much may be gathered before it
/// should leave.
pub(crate) const GATHER: usize = 256 << 10;

/// The most slices that one call takes.
const SLICES: usize = 128;

/// How much sent bytes may take before they are cleared away.
const SENT: usize = 64 << 10;

/// Replies in their order.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    parts: VecDeque<Part>,
    /// The bytes of all [`Part::Bytes`].
    bytes: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
}

#[derive(Debug)]
enum Part {
    /// So many bytes.
    Bytes(usize),
    /// What follows the offset.
    Value(Blob, usize),
}

impl Replies {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether so much is gathered that it should leave.
    pub(crate) fn is_much(&self) -> bool {
        self.bytes.len() > GATHER || self.parts.len() > SLICES
    }

    /// How much memory this takes, without the shared values.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.parts.capacity() * size_of::<Part>()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Some(Part::Bytes(len)) = self.parts.back_mut() {
            *len += bytes.len();
        } else {
            self.parts.push_back(Part::Bytes(bytes.len()));
        }
    }

    pub(crate) fn push_word(&mut self, word: i64) {
        self.push(&word.to_le_bytes());
    }

    /// A length and the bytes.
    pub(crate) fn push_string(&mut self, bytes: &[u8]) {
        self.push(&(bytes.len() as u64).to_le_bytes());
        self.push(bytes);
    }

    /// A length and the value.
    pub(crate) fn push_value(&mut self, value: &Blob) {
        let len = value.len();
        if len <= COPY && self.bytes.len() < GATHER {
            self.push_string(value.as_slice());
        } else {
            self.push(&(len as u64).to_le_bytes());
            if len > 0 {
                self.parts.push_back(Part::Value(value.clone(), 0));
            }
        }
    }

    /// Sends what the socket takes, and says whether that was all.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> Result<bool, Errno> {
        while !self.parts.is_empty() {
            match self.send_some(&socket) {
                Ok(sent) => self.consume(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(true)
    }

    fn send_some(&self, socket: impl AsFd) -> Result<usize, Errno> {
        let flags = SendFlags::NOSIGNAL;
        if self.parts.len() == 1
            && let Some(Part::Bytes(_)) = self.parts.front()
        {
            return send(socket, &self.bytes[self.sent..], flags);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut at = self.sent;
        let count = self.parts.len().min(SLICES);
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = match part {
                Part::Bytes(len) => {
                    at += len;
                    IoSlice::new(&self.bytes[at - len..at])
                }
                Part::Value(value, offset) => IoSlice::new(&value.as_slice()[*offset..]),
            };
        }
        sendmsg(socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags)
    }

    fn consume(&mut self, mut sent: usize) {
        while sent > 0 {
            let left = match self.parts.front_mut().expect("no more is sent than there was") {
                Part::Bytes(len) => {
                    let some = sent.min(*len);
                    *len -= some;
                    self.sent += some;
                    sent -= some;
                    *len
                }
                Part::Value(value, offset) => {
                    let some = sent.min(value.len() - *offset);
                    *offset += some;
                    sent -= some;
                    value.len() - *offset
                }
            };
            if left == 0 {
                self.parts.pop_front();
            }
        }
        if self.sent > SENT && self.sent * 2 > self.bytes.len() {
            self.bytes.drain(..mem::take(&mut self.sent));
        }
    }

    /// Gives back what an unusually large batch took.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() && self.memory() > 2 * GATHER {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::ledger::Ledger;

    /// What a reader gets, when it reads only after the socket is full.
    fn sent(mut replies: Replies) -> Vec<u8> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        while !replies.send(&ours).unwrap() {
            let n = theirs.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..n]);
        }
        drop(ours);
        theirs.read_to_end(&mut got).unwrap();
        got
    }

    #[test]
    fn parts_leave_in_their_order_however_little_the_socket_takes() {
        let ledger = Ledger::new(usize::MAX);
        let mut replies = Replies::default();
        let mut expected = Vec::new();
        for i in 0..400usize {
            let value = vec![i as u8; [0, 3, COPY, COPY + 1, 50_000][i % 5]];
            replies.push_value(&ledger.blob(&value));
            expected.extend_from_slice(&(value.len() as u64).to_le_bytes());
            expected.extend_from_slice(&value);
            replies.push_word(i as i64);
            expected.extend_from_slice(&(i as u64).to_le_bytes());
        }
        assert!(replies.is_much());
        assert!(sent(replies) == expected);
    }

    #[test]
    fn many_small_values_are_shared_rather_than_copied() {
        let ledger = Ledger::new(usize::MAX);
        let value = ledger.blob(&[1; COPY]);
        let mut replies = Replies::default();
        for _ in 0..10_000 {
            replies.push_value(&value);
        }
        assert!(replies.memory() < 2 << 20, "{} bytes", replies.memory());
    }

    #[test]
    fn a_reader_that_never_quite_catches_up_does_not_make_the_bytes_grow() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut replies = Replies::default();
        replies.push(&vec![0; 1 << 20]);
        let mut chunk = vec![0; 10_000];
        for _ in 0..2_000 {
            replies.push(&[0; 10_000]);
            assert!(!replies.send(&ours).unwrap());
            theirs.read_exact(&mut chunk).unwrap();
        }
        assert!(replies.memory() < 8 << 20, "{} bytes", replies.memory());
    }
}
