//! One line of a log file, in the format that Kubernetes' container runtimes write
//! (`kubernetes/design-proposals-archive`, `node/kubelet-cri-logging.md`):
//!
//! ```text
//! 2026-11-23T16:06:17.123456789Z stdout F a whole line
//! 2026-11-23T16:06:17.123456789Z stderr P the beginning of a line that is not ended yet
//! 2026-11-23T16:06:17.223456789Z stdout F:c=sidecar:l=3 a line of another container's third process
//! ```
//!
//! `P` means that no newline follows: what the same source says next continues the line. The text is raw
//! bytes, whatever they are; it cannot contain a newline. The tags behind the first are ours, the format
//! allows for them.

use std::time::{SystemTime, UNIX_EPOCH};

/// The moment at which a line was read from its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(
    /// Nanoseconds since the Unix epoch.
    pub u64,
);

/// Which of its outputs a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub stamp: Stamp,
    /// From where.
    pub stream: Stream,
    /// Whether the text ends its line.
    pub whole: bool,
    /// The container, when it is not the main one.
    pub container: Option<String>,
    /// The process's place in the replica, when there are several.
    pub local_rank: Option<u32>,
    /// The text, without the newline.
    pub text: Vec<u8>,
}

/// The tags of one source of output, as they are written: `""`, `":c=NAME"`, `":l=3"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tags(String);

impl Tags {
    pub(crate) fn new(container: Option<&str>, local_rank: Option<u32>) -> Self {
        let mut text = String::new();
        if let Some(container) = container {
            let plain = container.replace([' ', ':', '\n'], "_");
            text.push_str(&format!(":c={plain}"));
        }
        if let Some(rank) = local_rank {
            text.push_str(&format!(":l={rank}"));
        }
        Self(text)
    }
}

/// Appends a line to a buffer.
pub(crate) fn write(out: &mut Vec<u8>, head: &Head<'_>, whole: bool, text: &[u8]) {
    out.extend_from_slice(head.stamp.as_bytes());
    out.extend_from_slice(match head.stream {
        Stream::Stdout => b" stdout ",
        Stream::Stderr => b" stderr ",
    });
    out.push(if whole { b'F' } else { b'P' });
    out.extend_from_slice(head.tags.0.as_bytes());
    out.push(b' ');
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// What stands before the text of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The time, formatted: many lines are read at once and share it.
    pub(crate) stamp: &'a str,
    pub(crate) stream: Stream,
    pub(crate) tags: &'a Tags,
}

/// Reads a line, without its newline. `None` for what is no line of this format, such as the torn end of
/// a file.
pub(crate) fn parse(line: &[u8]) -> Option<Entry> {
    let (head, text) = split_head(line)?;
    let mut words = head.split(' ');
    let stamp = Stamp::parse(words.next()?)?;
    let stream = match words.next()? {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let mut tags = words.next()?.split(':');
    let whole = match tags.next()? {
        "F" => true,
        "P" => false,
        _ => return None,
    };
    let (mut container, mut local_rank) = (None, None);
    for tag in tags {
        match tag.split_once('=') {
            Some(("c", name)) => container = Some(name.to_owned()),
            Some(("l", rank)) => local_rank = rank.parse().ok(),
            _ => {}
        }
    }
    Some(Entry { stamp, stream, whole, container, local_rank, text: text.to_vec() })
}

/// The three words before the text, and the text.
fn split_head(line: &[u8]) -> Option<(&str, &[u8])> {
    let spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    let (end, _) = spaces.take(3).nth(2)?;
    let head = std::str::from_utf8(&line[..end]).ok()?;
    Some((head, &line[end + 1..]))
}

/// Whether a line's text ends its line, told without reading the whole of it.
pub(crate) fn is_whole(line: &[u8]) -> bool {
    let second = line.splitn(4, |byte| *byte == b' ').nth(2);
    second.is_some_and(|tags| tags.first() == Some(&b'F'))
}

// === impl Stamp ===

impl Stamp {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// RFC 3339 with nine decimals, in UTC.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (year, month, day) = date(seconds / 86_400);
        let rest = seconds % 86_400;
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let fits = bytes.len() == 30
            && bytes.is_ascii()
            && [4, 7].iter().all(|at| bytes[*at] == b'-')
            && [13, 16].iter().all(|at| bytes[*at] == b':')
            && (bytes[10], bytes[19], bytes[29]) == (b'T', b'.', b'Z');
        if !fits {
            return None;
        }
        let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
        let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
        let seconds =
            days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
        seconds.checked_mul(1_000_000_000)?.checked_add(number(20, 29)?).map(Self)
    }
}

/// Days in the 400 years after which the Gregorian calendar repeats.
const ERA: u64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;

/// Year, month and day of the day with this number since 1970-01-01. Years are counted from March, so
/// that the leap day is the last of its year.
fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + EPOCH;
    let (era, in_era) = (shifted / ERA, shifted % ERA);
    let year_in_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_in_era + u64::from(month <= 2);
    (year, month, day)
}

/// The reverse of [`date`]; `None` before 1970 or for what is no date.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year.checked_sub(u64::from(month <= 2))?;
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    let (era, year_in_era) = (year / 400, year % 400);
    let in_era = year_in_era * 365 + year_in_era / 4 - year_in_era / 100 + in_year;
    (era * ERA + in_era).checked_sub(EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_763_913_977_123_456_789, "2025-11-23T16:06:17.123456789Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(Stamp(nanos).to_rfc3339(), text);
            assert_eq!(Stamp::parse(text), Some(Stamp(nanos)));
        }
        for bad in [
            "",
            "2025-13-01T00:00:00.000000000Z",
            "2025-11-23 16:06:17.123456789Z",
            "2025-11-23T16:06:17Z",
        ] {
            assert_eq!(Stamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_two_centuries_is_read_back() {
        for day in 0..365 * 200 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn lines_are_written_and_read_back() {
        let stamp = Stamp(1_763_913_977_123_456_789);
        let text = stamp.to_rfc3339();
        for (container, local_rank, whole, bytes) in [
            (None, None, true, &b"plain"[..]),
            (None, None, true, b""),
            (None, Some(3), false, b"  two  spaces \r\x1b[31m"),
            (Some("side"), None, true, b"\xff\xfe\0"),
            (Some("side"), Some(0), false, "grüße".as_bytes()),
        ] {
            let mut out = Vec::new();
            let tags = Tags::new(container, local_rank);
            let head = Head { stamp: &text, stream: Stream::Stderr, tags: &tags };
            write(&mut out, &head, whole, bytes);
            assert_eq!(out.pop(), Some(b'\n'));
            assert_eq!(is_whole(&out), whole);
            let entry = parse(&out).unwrap();
            assert_eq!(entry.container.as_deref(), container);
            assert_eq!((entry.local_rank, entry.whole), (local_rank, whole));
            assert_eq!((entry.stamp, entry.stream), (stamp, Stream::Stderr));
            assert_eq!(entry.text, bytes);
        }
    }

    #[test]
    fn what_is_no_line_is_not_read() {
        for bad in [
            &b""[..],
            b"x",
            b"2025-11-23T16:06:17.123456789Z stdout",
            b"2025-11-23T16:06:17.123456789Z stdwhat F x",
            b"2025-11-23T16:06:17.123456789Z stdout Q x",
        ] {
            assert_eq!(parse(bad), None);
        }
    }
}
