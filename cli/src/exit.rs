//! Exit codes, and how failures are told.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `run` and `wait`: the job succeeded, the condition holds |
//! | 1 | the job failed |
//! | 2 | the command line is wrong |
//! | 3 | refused: an invalid manifest, something that does not exist, a conflict |
//! | 4 | the coordinator cannot be reached or started |
//! | 5 | the time given to `wait` is over |
//! | 130 | interrupted |

use std::process::ExitCode;

use muster_client::Error as ClientError;

/// The job failed.
pub(crate) const JOB_FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;
const UNREACHABLE: u8 = 4;
/// The time given to `wait` is over.
pub(crate) const TIMED_OUT: u8 = 5;
/// Interrupted by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    /// The stable code, such as `M1004`.
    code: Option<String>,
    message: String,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: USAGE, code: None, message: message.into() }
    }

    /// What was asked for was refused.
    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self { exit: REFUSED, code: Some(code.to_owned()), message: message.into() }
    }

    /// The coordinator cannot be reached or started.
    pub(crate) fn unreachable(code: &str, message: impl Into<String>) -> Self {
        Self { exit: UNREACHABLE, code: Some(code.to_owned()), message: message.into() }
    }

    /// The same with another exit code.
    pub(crate) fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// The stable code, if there is one.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Says what went wrong on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        match &self.code {
            Some(code) => {
                eprintln!("error[{code}]: {}", self.message);
                eprintln!("  `muster explain {code}` says more");
            }
            None => eprintln!("error: {}", self.message),
        }
        ExitCode::from(self.exit)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } => UNREACHABLE,
            ClientError::Refused { .. } => REFUSED,
            ClientError::Address { .. }
            | ClientError::NoAuthority { .. }
            | ClientError::Tls { .. } => USAGE,
        };
        Self { exit, code: error.code().map(ToOwned::to_owned), message: error.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { exit: REFUSED, code: None, message: error.to_string() }
    }
}
