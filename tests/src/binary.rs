//! The binary under test.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The `muster` binary of this checkout, built when it is first asked for, optimised where the caller is.
pub fn muster_binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args([
            "build",
            "--quiet",
            "--package",
            "muster",
            "--message-format",
            "json-render-diagnostics",
        ]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let built = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "muster does not build");
        let text = String::from_utf8(built.stdout).expect("cargo speaks UTF-8");
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let executables = messages.filter(|message| message["target"]["name"] == "muster");
        let mut paths =
            executables.filter_map(|message| Some(message["executable"].as_str()?.into()));
        paths.next_back().expect("cargo names the binary that it built")
    })
}

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// From a finished process.
    #[must_use]
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless the command succeeded.
    #[allow(
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        reason = "often only the check counts"
    )]
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "the command failed: {self:#?}");
        self
    }

    /// The standard output as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A `muster` command that knows nothing of the machine's own Muster.
#[must_use]
pub fn muster() -> Command {
    let mut command = Command::new(muster_binary());
    for name in
        ["MUSTER_SERVER", "MUSTER_TOKEN_FILE", "MUSTER_DATA_DIR", "MUSTER_NAMESPACE", "MUSTER_LOG"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
