//! `muster down`

use std::process::ExitCode;

use crate::args::Global;
use crate::connect::data_dir;
use crate::daemon;
use crate::exit::Failure;
use crate::output::{Spinner, say};

pub(super) fn run(global: &Global) -> Result<ExitCode, Failure> {
    let data = data_dir(global)?;
    let spinner = Spinner::start("stopping");
    match daemon::stop(&data)? {
        Some(pid) => spinner.finish(&format!("stopped (pid {pid})")),
        None => {
            drop(spinner);
            say(format!("nothing runs on {}", data.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
