//! Logs: structured, on stderr, filtered by `MUSTER_LOG`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Installs the process's log output. `filter` is in `tracing` syntax, such as
/// `info,muster_coordinator=debug`; an unreadable one is replaced by `info` with a warning. A second call
/// changes nothing.
pub fn init(filter: Option<&str>, format: LogFormat) {
    let (filter, problem) = match filter.map(EnvFilter::try_new) {
        None => (EnvFilter::new("info"), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let installed = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let (Ok(()), Some(error)) = (installed, problem) {
        tracing::warn!(%error, "MUSTER_LOG cannot be read; using 'info'");
    }
}
