//! Whether PyTorch's own package index can be reached from this machine.
//!
//! It has builds without the CUDA libraries: 0.2 GB instead of 3 GB on a machine without GPU. Many
//! clusters reach only their mirror, though, and nobody would configure this for Muster's sake, so it
//! is tried, with a short time limit, and the answer is remembered for a while. uv knows where
//! that index is; its address stands nowhere in this program.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::build::UvSetup;
use crate::disk;
use crate::error::Error;
use crate::progress::{Phase, Reporter};
use crate::tool::Tool;

/// Longer than a connection takes, shorter than a user waits gladly. A wrong "no" costs disk, not
/// correctness.
const LIMIT: Duration = Duration::from_secs(8);

/// A network that was there stays there mostly.
const TRUST_YES: Duration = Duration::from_secs(24 * 3600);

/// A network that was not there may have been out of order.
const TRUST_NO: Duration = Duration::from_secs(3600);

const MEMORY: &str = "torch-index.json";

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answer {
    reachable: bool,
    /// Seconds after 1970.
    at: u64,
}

/// The remembered answer, or a new one.
pub(crate) fn is_reachable(
    uv: &UvSetup<'_>,
    state: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<bool, Error> {
    if let Some(reachable) = recall(state, SystemTime::now()) {
        return Ok(reachable);
    }
    reporter.phase(Phase::Resolving);
    let question = state.join("torch-index.in");
    fs::write(&question, "torch\n").map_err(Error::io("write", &question))?;
    let mut variables = uv.variables.clone();
    for (name, value) in [("UV_HTTP_TIMEOUT", "5"), ("UV_HTTP_RETRIES", "0")] {
        variables.insert(name.into(), value.into());
    }
    let mut arguments: Vec<std::ffi::OsString> =
        ["pip", "compile", "--no-deps", "--refresh", "--torch-backend", "cpu", "--python"]
            .map(Into::into)
            .to_vec();
    arguments.push(uv.interpreter.program.clone().into());
    arguments.push(question.into());
    let ended = Tool {
        program: &uv.uv.program,
        arguments,
        variables: &variables,
        folder: state,
        cancel: uv.cancel,
        lock: None,
        limit: Some(LIMIT),
    }
    .run(&mut |_| reporter.tick())?;
    tracing::debug!(reachable = ended.success(), output = %ended.output, "PyTorch's index");
    remember(state, ended.success());
    Ok(ended.success())
}

/// Notes an answer, for the calls of the next hour or day.
pub(crate) fn remember(state: &Path, reachable: bool) {
    let answer = Answer { reachable, at: seconds(SystemTime::now()) };
    // Forgotten answers are asked for again.
    let json = serde_json::to_vec(&answer).unwrap_or_default();
    let _ = disk::write_durably(state, MEMORY, &json);
}

fn recall(state: &Path, now: SystemTime) -> Option<bool> {
    let answer: Answer = serde_json::from_slice(&fs::read(state.join(MEMORY)).ok()?).ok()?;
    let trust = if answer.reachable { TRUST_YES } else { TRUST_NO };
    // An answer from the future is one from a wrong clock.
    let age = seconds(now).checked_sub(answer.at)?;
    (age < trust.as_secs()).then_some(answer.reachable)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_is_trusted_for_a_day_and_a_no_for_an_hour() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let now = SystemTime::now();
        assert_eq!(recall(state.path(), now), None);
        for (answer, trusted) in [(true, 23 * 3600), (false, 3500)] {
            remember(state.path(), answer);
            assert_eq!(recall(state.path(), now + Duration::from_secs(trusted)), Some(answer));
            let later = now + Duration::from_secs(trusted + 2 * 3600);
            assert_eq!(recall(state.path(), later), None);
            let before = now - Duration::from_secs(3600);
            assert_eq!(recall(state.path(), before), None);
        }
    }
}
