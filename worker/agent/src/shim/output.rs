//! From the pipes of the containers' processes to the lines of the log.
//!
//! A line that grows past 16 KiB is written in pieces, as Kubernetes' runtimes do. A line whose end does not
//! come is written as it is after a tenth of a second, so that a progress bar or a prompt can be seen live.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::log_file::{Complaint, LogFile};
use crate::runtime::line::{self, Head, Stamp, Stream, Tags};

/// The longest piece of a line.
const PIECE: usize = 16 << 10;

/// How long a line's end is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much is read at once from one pipe: all that it holds by default.
const CHUNK: usize = 64 << 10;

/// All pipes of a replica and its log.
#[derive(Debug)]
pub(super) struct Output {
    log: LogFile,
    sources: Vec<Source>,
    chunk: Box<[u8]>,
}

#[derive(Debug)]
struct Source {
    pipe: OwnedFd,
    lines: Lines,
}

impl Output {
    pub(super) fn new(log: LogFile) -> Self {
        Self { log, sources: Vec::new(), chunk: Box::default() }
    }

    /// Takes a process's pipes.
    pub(super) fn add(&mut self, stdout: OwnedFd, stderr: OwnedFd, tags: &Tags) -> io::Result<()> {
        if self.chunk.is_empty() {
            self.chunk = vec![0; CHUNK].into_boxed_slice();
        }
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            let flags = rustix::fs::fcntl_getfl(&pipe)?;
            rustix::fs::fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
            self.sources.push(Source { pipe, lines: Lines::new(stream, tags.clone()) });
        }
        Ok(())
    }

    /// What to wait for input on.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().map(|source| source.pipe.as_fd())
    }

    /// Reads once from every pipe that has something; forgets those that have ended.
    pub(super) fn read(&mut self) -> Option<Complaint> {
        let now = Instant::now();
        let stamp = Stamp::now().to_rfc3339();
        let mut complaint = None;
        let mut index = 0;
        while let Some(source) = self.sources.get_mut(index) {
            let out = self.log.pending();
            match rustix::io::read(&source.pipe, &mut self.chunk[..]) {
                Ok(0) => {
                    source.lines.give(out, &stamp);
                    self.sources.swap_remove(index);
                    continue;
                }
                Ok(length) => source.lines.take(&self.chunk[..length], out, &stamp, now),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    self.sources.swap_remove(index);
                    continue;
                }
            }
            if source.lines.is_overdue(now) {
                source.lines.give(out, &stamp);
            }
            index += 1;
            if self.log.is_heavy() {
                complaint = complaint.or(self.log.flush());
            }
        }
        complaint.or(self.log.flush())
    }

    /// Reads everything that the pipes hold, once nobody writes any more, and lets them go.
    pub(super) fn finish(&mut self) -> Option<Complaint> {
        let mut complaint = None;
        let stamp = Stamp::now().to_rfc3339();
        for source in &mut self.sources {
            while let Ok(length @ 1..) = rustix::io::read(&source.pipe, &mut self.chunk[..]) {
                let chunk = &self.chunk[..length];
                let out = self.log.pending();
                source.lines.take(chunk, out, &stamp, Instant::now());
                if self.log.is_heavy() {
                    complaint = complaint.or(self.log.flush());
                }
            }
            source.lines.give(self.log.pending(), &stamp);
        }
        self.sources.clear();
        complaint.or(self.log.flush())
    }

    /// When a line that has not ended is to be written.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let begun = self.sources.iter().filter_map(|source| source.lines.begun);
        begun.min().map(|begun| begun + PATIENCE)
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
struct Lines {
    stream: Stream,
    tags: Tags,
    /// The beginning of a line, shorter than a piece.
    rest: Vec<u8>,
    /// Since when `rest` waits; `None` when it is empty.
    begun: Option<Instant>,
}

impl Lines {
    fn new(stream: Stream, tags: Tags) -> Self {
        Self { stream, tags, rest: Vec::new(), begun: None }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now >= begun + PATIENCE)
    }

    fn take(&mut self, mut chunk: &[u8], out: &mut Vec<u8>, stamp: &str, now: Instant) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.extend(&chunk[..end], out, stamp);
            self.emit(true, out, stamp);
            chunk = &chunk[end + 1..];
        }
        self.extend(chunk, out, stamp);
        if !self.rest.is_empty() {
            self.begun = self.begun.or(Some(now));
        }
    }

    /// Adds to the line, and writes it as far as whole pieces are full. A full piece is held back until
    /// the next byte, so that a line of just that length stays in one.
    fn extend(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, stamp: &str) {
        while self.rest.len() + bytes.len() > PIECE {
            let (now, later) = bytes.split_at(PIECE - self.rest.len());
            self.rest.extend_from_slice(now);
            self.emit(false, out, stamp);
            bytes = later;
        }
        self.rest.extend_from_slice(bytes);
    }

    /// Writes the beginning of a line whose end does not come.
    fn give(&mut self, out: &mut Vec<u8>, stamp: &str) {
        if !self.rest.is_empty() {
            self.emit(false, out, stamp);
        }
    }

    fn emit(&mut self, whole: bool, out: &mut Vec<u8>, stamp: &str) {
        let head = Head { stamp, stream: self.stream, tags: &self.tags };
        line::write(out, &head, whole, &self.rest);
        self.rest.clear();
        self.begun = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2025-11-23T16:06:17.123456789Z";

    /// What a stream that arrives in these chunks becomes: each line's wholeness and text.
    fn cut(chunks: &[&[u8]]) -> Vec<(bool, Vec<u8>)> {
        let mut lines = Lines::new(Stream::Stdout, Tags::default());
        let mut out = Vec::new();
        for chunk in chunks {
            lines.take(chunk, &mut out, STAMP, Instant::now());
        }
        lines.give(&mut out, STAMP);
        out.split_inclusive(|byte| *byte == b'\n')
            .map(|line| line::parse(&line[..line.len() - 1]).expect("it was just written"))
            .map(|entry| (entry.whole, entry.text))
            .collect()
    }

    fn texts(chunks: &[&[u8]]) -> Vec<(bool, String)> {
        let text = |(whole, bytes)| (whole, String::from_utf8(bytes).unwrap());
        cut(chunks).into_iter().map(text).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let expected = [(true, "one".to_owned()), (true, "two".to_owned())];
        assert_eq!(texts(&[b"one\ntwo\n"]), expected);
        assert_eq!(texts(&[b"o", b"ne", b"\nt", b"wo", b"\n"]), expected);
        assert_eq!(texts(&[b"one\n\n"])[1], (true, String::new()));
        assert_eq!(texts(&[b"end"]), [(false, "end".to_owned())]);
        assert!(texts(&[b""]).is_empty());
    }

    #[test]
    fn long_lines_come_in_pieces_that_add_up() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5] {
            let mut text = vec![b'x'; length];
            text.push(b'\n');
            let pieces = cut(&[&text[..7], &text[7..]]);
            assert_eq!(pieces.len(), length.div_ceil(PIECE), "{length}");
            let (last, before) = pieces.split_last().unwrap();
            assert!(last.0 && before.iter().all(|piece| !piece.0));
            let sum: usize = pieces.iter().map(|piece| piece.1.len()).sum();
            assert_eq!(sum, length);
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let odd = b"\xff\x00\x1b[31mred\x1b[0m 10%\r 20%\r";
        assert_eq!(cut(&[odd, b"\n"]), [(true, odd.to_vec())]);
    }
}
