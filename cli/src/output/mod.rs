//! What people and programs see. Data goes to stdout, talk to stderr.

mod age;
mod objects;
mod progress;
mod ranks;
mod tables;

pub(crate) use age::{age, elapsed};
pub(crate) use objects::{print_list, print_one, print_value};
pub(crate) use progress::{Board, Spinner};
pub(crate) use ranks::Painter;
pub(crate) use tables::{Rows, job_row, print_rows, table_of};

use std::io::{self, IsTerminal, Write};

/// Whether stderr is a terminal, so that progress may be drawn.
pub(crate) fn talks_to_a_person() -> bool {
    io::stderr().is_terminal()
}

/// Writes a line to stdout. A reader that has gone away (`muster get | head`) is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
}

/// Says something on stderr.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}
