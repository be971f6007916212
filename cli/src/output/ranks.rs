//! Log lines with the rank's name in front.

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
}

impl Painter {
    /// Colours are used on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(timestamps: bool, job: Option<String>) -> Self {
        let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { coloured, timestamps, job }
    }

    /// One piece of a log as it is printed.
    pub(crate) fn paint(&self, chunk: &api::LogChunk) -> Vec<u8> {
        let mut out = Vec::new();
        for line in &chunk.lines {
            self.paint_line(&chunk.replica, line, &mut out);
        }
        out
    }

    fn paint_line(&self, replica: &str, line: &api::LogLine, out: &mut Vec<u8>) {
        let mut name = match &self.job {
            Some(job) => format!("{job}/{replica}"),
            None => replica.to_owned(),
        };
        if !line.source.is_empty() {
            name = format!("{name} {}", line.source);
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
        if self.timestamps {
            let time = jiff::Timestamp::from_nanosecond(i128::from(line.time_ns));
            let _ = write!(out, "{} ", time.map(|time| time.to_string()).unwrap_or_default());
        }
        out.extend_from_slice(&line.text);
        if !line.partial {
            out.push(b'\n');
        } else {
            // A line that goes on gets its name again; better than two ranks on one line.
            out.extend_from_slice("\\\n".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_its_rank() {
        let painter = Painter { coloured: false, timestamps: false, job: None };
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
        let painter = Painter { coloured: false, timestamps: true, job: Some("ddp".into()) };
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
