//! Progress: a line that moves on a terminal, plain lines where there is none.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{say, talks_to_a_person};

/// How often the line moves.
const FRAME: Duration = Duration::from_millis(120);

/// Something that takes a moment.
#[derive(Debug)]
pub(crate) struct Spinner {
    bar: Option<ProgressBar>,
}

/// A status line under the output of ranks.
#[derive(Debug)]
pub(crate) struct Board {
    bar: Option<ProgressBar>,
    shown: String,
}

fn moving_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed:.dim}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(FRAME);
    bar
}

impl Spinner {
    /// Says what is being done.
    pub(crate) fn start(what: &str) -> Self {
        if !talks_to_a_person() {
            say(format!("{what} ..."));
            return Self { bar: None };
        }
        let bar = moving_line();
        bar.set_message(format!("{what} ..."));
        Self { bar: Some(bar) }
    }

    /// Says what goes on.
    pub(crate) fn tell(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(what),
        }
    }

    /// Says that it is done.
    pub(crate) fn finish(self, done: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(done);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Board {
    /// A board on a terminal, or plain lines.
    pub(crate) fn new() -> Self {
        Self { bar: talks_to_a_person().then(moving_line), shown: String::new() }
    }

    /// Shows a status, if it is another than before. `lasting`: without a terminal only lasting
    /// news are printed, so that a log file is not filled with percentages.
    pub(crate) fn show(&mut self, status: &str, lasting: bool) {
        if self.shown == status {
            return;
        }
        status.clone_into(&mut self.shown);
        match &self.bar {
            Some(bar) => bar.set_message(status.to_owned()),
            None if lasting => say(status),
            None => {}
        }
    }

    /// Writes to stdout above the status line.
    pub(crate) fn print(&self, bytes: &[u8]) {
        let write = || {
            let mut out = std::io::stdout().lock();
            // A reader that has gone away is no error.
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
