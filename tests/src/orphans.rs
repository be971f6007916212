//! Finding processes that belong to replicas.

use std::fs;
use std::path::Path;

/// The variable that every manifest of the tests gives its containers, and with them whatever they start.
pub(crate) const MARK: &str = "MUSTER_TEST_MARK";

/// The pids of all processes that a replica of an agent on this data directory has started, however
/// indirectly, and of its shims.
#[must_use]
pub fn replica_processes(data: &Path) -> Vec<i32> {
    let mark = format!("{MARK}={}", data.display());
    let replicas = data.join("agent/replicas").to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let text = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let marked = text("environ").split('\0').any(|variable| variable == mark);
        if marked || text("cmdline").contains(&replicas) {
            found.push(pid);
        }
    }
    found
}
