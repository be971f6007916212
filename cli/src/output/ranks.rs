//! Log lines with the rank's name in front.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use muster_client::api;

/// Colours that read well on dark and light terminals.
const COLOURS: [u8; 8] = [36, 32, 33, 35, 34, 96, 92, 95];

/// Writes log lines to stdout.
#[derive(Debug)]
pub(crate) struct Painter {
    coloured: bool,
    timestamps: bool,
    /// What stands before the rank's name, when logs of several jobs are mixed.
    job: Option<String>,
    /// Beginnings of lines that go on, by who writes them.
    begun: BTreeMap<Writer, Vec<u8>>,
}

/// A replica, its generation, what writes in it, and whether to standard error.
type Writer = (String, u32, String, bool);

/// A line is held back until it is whole, as long as it has at most so many bytes.
const LONGEST: usize = 1 << 20;

impl Painter {
    /// Colours are used on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(timestamps: bool, job: Option<String>) -> Self {
        let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { coloured, timestamps, job, begun: BTreeMap::new() }
    }

    /// One piece of a log as it is printed. Lines that come in several parts are put together.
    pub(crate) fn paint(&mut self, chunk: &api::LogChunk) -> Vec<u8> {
        let mut out = Vec::new();
        for line in &chunk.lines {
            let source = line.source.clone();
            let writer = (chunk.replica.clone(), chunk.generation, source, line.stderr);
            let mut text = self.begun.remove(&writer).unwrap_or_default();
            text.extend_from_slice(&line.text);
            if line.partial && text.len() < LONGEST {
                self.begun.insert(writer, text);
                continue;
            }
            // One that is too long gets its name again; better than two ranks on one line.
            text.extend_from_slice(if line.partial { b"\\\n" } else { b"\n" });
            self.name((&chunk.replica, &line.source), line.time_ns, &mut out);
            out.append(&mut text);
        }
        if chunk.ended {
            self.end(chunk, &mut out);
        }
        out
    }

    /// What a log that has ended left without its end.
    fn end(&mut self, chunk: &api::LogChunk, out: &mut Vec<u8>) {
        let is_its = |writer: &Writer| writer.0 == chunk.replica && writer.1 == chunk.generation;
        let left: Vec<Writer> =
            self.begun.keys().filter(|writer| is_its(writer)).cloned().collect();
        for writer in left {
            let text = self.begun.remove(&writer).unwrap_or_default();
            self.name((&chunk.replica, &writer.2), 0, out);
            out.extend(text);
            out.push(b'\n');
        }
    }

    fn name(&self, (replica, source): (&str, &str), time_ns: u64, out: &mut Vec<u8>) {
        let mut name = match &self.job {
            Some(job) => format!("{job}/{replica}"),
            None => replica.to_owned(),
        };
        if !source.is_empty() {
            name = format!("{name} {source}");
        }
        // Writing to a vector cannot fail.
        let _ = if self.coloured {
            let colour =
                COLOURS[replica.bytes().fold(0, |sum: usize, b| sum * 31 + usize::from(b))
                    % COLOURS.len()];
            write!(out, "\x1b[{colour}m[{name}]\x1b[0m ")
        } else {
            write!(out, "[{name}] ")
        };
        if self.timestamps && time_ns > 0 {
            let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns));
            let _ = write!(out, "{} ", time.map(|time| time.to_string()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Painter {
        fn plain(timestamps: bool, job: Option<String>) -> Self {
            Self { coloured: false, ..Self::new(timestamps, job) }
        }
    }

    #[test]
    fn a_line_in_several_parts_is_one_line() {
        let mut painter = Painter::plain(false, None);
        let part = |text: &'static str, partial| api::LogLine {
            text: text.into(),
            partial,
            ..Default::default()
        };
        let mut chunk = |replica: &str, lines, ended| {
            let replica = replica.to_owned();
            painter.paint(&api::LogChunk { replica, generation: 1, lines, ended })
        };
        assert_eq!(chunk("a", vec![part("one ", true)], false), b"");
        assert_eq!(chunk("b", vec![part("other", false)], false), b"[b] other\n");
        assert_eq!(chunk("a", vec![part("two", false)], false), b"[a] one two\n");
        assert_eq!(chunk("a", vec![part("open", true)], false), b"");
        assert_eq!(chunk("a", Vec::new(), true), b"[a] open\n");
        assert_eq!(chunk("a", Vec::new(), true), b"");
    }

    #[test]
    fn every_line_carries_its_rank() {
        let mut painter = Painter::plain(false, None);
        let line = |text: &'static str| api::LogLine { text: text.into(), ..Default::default() };
        let chunk = api::LogChunk {
            replica: "worker-0".into(),
            lines: vec![line("a"), line("b")],
            ..Default::default()
        };
        assert_eq!(painter.paint(&chunk), b"[worker-0] a\n[worker-0] b\n");
    }

    #[test]
    fn times_and_jobs_are_shown_when_asked_for() {
        let mut painter = Painter::plain(true, Some("ddp".into()));
        let line = api::LogLine {
            text: "x".into(),
            time_ns: 1_700_000_000_000_000_000,
            ..Default::default()
        };
        let chunk =
            api::LogChunk { replica: "master-0".into(), lines: vec![line], ..Default::default() };
        let text = String::from_utf8(painter.paint(&chunk)).unwrap();
        assert_eq!(text, "[ddp/master-0] 2023-11-14T22:13:20Z x\n");
    }
}
