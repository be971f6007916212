//! Running python, pip and uv: their output line by line, a time limit, and an end for the whole process
//! group when the caller gives up.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, Output};
use crate::lock::BuildLock;
use crate::machine::Variables;
use crate::process::ProcessId;
use crate::progress::TICK;

/// Lines kept for an error message.
const TAIL: usize = 20;

/// A longer line is cut: nobody reads it, and its writer may be mad.
const LONGEST_LINE: u64 = 16 * 1024;

/// A program to run.
pub(crate) struct Tool<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: &'a Variables,
    /// The folder to run in. Not the caller's: uv and pip look for configuration there.
    pub(crate) folder: &'a Path,
    pub(crate) cancel: &'a Cancel,
    /// The lock that the tool must hold as long as it lives.
    pub(crate) lock: Option<&'a BuildLock>,
    pub(crate) limit: Option<Duration>,
}

/// What a tool's run brings to its observer.
pub(crate) enum Event<'a> {
    /// A line of standard output or standard error.
    Line(&'a str),
    /// Time has passed.
    Tick,
}

/// How a tool ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) timed_out: bool,
    /// The last lines.
    pub(crate) output: Output,
}

impl Ended {
    pub(crate) fn success(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// The exit status in words.
    pub(crate) fn status_text(&self) -> String {
        if self.timed_out {
            return "it took too long and was killed".to_owned();
        }
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => self.status.to_string(),
        }
    }
}

impl Tool<'_> {
    /// Runs the tool to its end. An exit status other than 0 is no error here.
    pub(crate) fn run(self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Ended, Error> {
        self.cancel.check()?;
        let failed = |error| Error::io("run", self.program)(error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let stdin = match self.lock {
            Some(lock) => Stdio::from(lock.share().map_err(failed)?),
            None => Stdio::null(),
        };
        let mut command = Command::new(self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables)
            .current_dir(self.folder)
            .stdin(stdin)
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer)
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        // The command holds the pipe's writing ends: the reader would never see the end.
        drop(command);
        let group = ProcessId::of(child.id());
        if let Some(lock) = self.lock {
            lock.note_tool(group);
        }
        // Bounded: a tool that writes faster than it is read waits, as with any pipe.
        let (sender, receiver) = sync_channel(64);
        thread::spawn(move || read_lines(reader, &sender));
        let (output, timed_out) = self.follow(&receiver, group, observe);
        let status = child.wait().map_err(failed)?;
        if let Some(lock) = self.lock {
            lock.note_tool(None);
        }
        self.cancel.check()?;
        Ok(Ended { status, timed_out, output })
    }

    /// Passes the lines on until the last writer is gone.
    fn follow(
        &self,
        receiver: &Receiver<String>,
        group: Option<ProcessId>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> (Output, bool) {
        let start = Instant::now();
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut timed_out = false;
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(line) => {
                    observe(Event::Line(&line));
                    if !line.trim().is_empty() {
                        if tail.len() == TAIL {
                            tail.pop_front();
                        }
                        tail.push_back(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => observe(Event::Tick),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let late = self.limit.is_some_and(|limit| start.elapsed() > limit);
            timed_out |= late;
            if (late || self.cancel.is_cancelled())
                && let Some(group) = group
            {
                group.kill_group();
            }
        }
        (Output(tail.into()), timed_out)
    }
}

fn read_lines(reader: impl Read, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        if sender.send(text.trim_end().to_owned()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn shell(
        script: &str,
        cancel: &Cancel,
        limit: Option<Duration>,
    ) -> (Result<Ended, Error>, Vec<String>) {
        let variables = Machine::from_process().for_tools();
        let mut lines = Vec::new();
        let ended = Tool {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            variables: &variables,
            folder: Path::new("/"),
            cancel,
            lock: None,
            limit,
        }
        .run(&mut |event| {
            if let Event::Line(line) = event {
                lines.push(line.to_owned());
            }
        });
        (ended, lines)
    }

    #[test]
    fn both_outputs_are_read_line_by_line_and_the_status_is_told() {
        let (ended, lines) = shell("echo one; echo two >&2; pwd; exit 3", &Cancel::default(), None);
        let ended = ended.expect("it ran");
        assert_eq!(lines, ["one", "two", "/"]);
        assert_eq!(ended.status_text(), "exit status 3");
        assert_eq!(ended.output.0, lines);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let (ended, lines) = shell("seq 1 100", &Cancel::default(), None);
        assert_eq!(lines.len(), 100);
        let tail = ended.expect("it ran").output.0;
        assert_eq!((tail.len(), tail[0].as_str()), (TAIL, "81"));
    }

    #[test]
    fn a_tool_that_takes_too_long_is_killed_with_its_children() {
        let limit = Some(Duration::from_millis(300));
        let (ended, _) = shell("sleep 600 & sleep 600", &Cancel::default(), limit);
        let ended = ended.expect("it ran");
        assert!(!ended.success());
        assert!(ended.timed_out);
    }

    #[test]
    fn a_cancelled_tool_is_killed() {
        let cancel = Cancel::default();
        let switch = cancel.clone();
        let variables = Machine::from_process().for_tools();
        let result = Tool {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), "echo started; sleep 600".into()],
            variables: &variables,
            folder: Path::new("/"),
            cancel: &cancel,
            lock: None,
            limit: None,
        }
        .run(&mut |event| {
            if matches!(event, Event::Line("started")) {
                switch.cancel();
            }
        });
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let variables = Variables::new();
        let error = Tool {
            program: Path::new("/nonexistent/python"),
            arguments: Vec::new(),
            variables: &variables,
            folder: Path::new("/"),
            cancel: &Cancel::default(),
            lock: None,
            limit: None,
        }
        .run(&mut |_| {})
        .expect_err("no such program");
        assert!(error.to_string().contains("/nonexistent/python"), "{error}");
    }
}
