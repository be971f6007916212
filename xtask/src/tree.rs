//! What a reader would trip over: files too long, folders without a purpose, left-overs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Findings;

/// A file may not be longer.
const LONGEST: usize = 800;
/// Words that say nothing about what a folder is for.
const EMPTY_NAMES: [&str; 5] = ["common", "util", "utils", "helpers", "misc"];
/// What must not stay behind in code.
const LEFT_OVERS: [&str; 4] = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
/// The crates that a copy of the pure crates' clippy.toml belongs to.
const PURE: [&str; 6] = [
    "coordinator/model",
    "coordinator/state",
    "coordinator/scheduler",
    "coordinator/consensus",
    "worker/core",
    "operators/kinds",
];

pub(crate) fn check(root: &Path) -> Findings {
    let mut findings = Vec::new();
    let original = fs::read(root.join(PURE[0]).join("clippy.toml")).unwrap_or_default();
    for crate_path in PURE {
        if fs::read(root.join(crate_path).join("clippy.toml")).unwrap_or_default() != original {
            findings.push(format!("{crate_path}/clippy.toml differs from {}/clippy.toml", PURE[0]));
        }
    }
    let dependencies = fs::read_to_string(root.join("docs/dependencies.md")).unwrap_or_default();
    findings.extend(undocumented(root, &dependencies));
    for path in tracked(root) {
        findings.extend(check_file(root, &path));
    }
    findings
}

fn tracked(root: &Path) -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().map(PathBuf::from).collect()
}

fn check_file(root: &Path, path: &Path) -> Findings {
    let mut findings = Vec::new();
    for part in path.components().filter_map(|part| part.as_os_str().to_str()) {
        let stem = part.split('.').next().unwrap_or(part);
        if EMPTY_NAMES.contains(&stem) {
            findings.push(format!("{}: {stem:?} says nothing about a purpose", path.display()));
        }
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return findings;
    }
    // A file that git lists and that is gone is being deleted.
    let Ok(text) = fs::read_to_string(root.join(path)) else { return findings };
    let lines = text.lines().count();
    if lines > LONGEST {
        findings.push(format!("{}: {lines} lines, at most {LONGEST} are allowed", path.display()));
    }
    if path.starts_with("xtask") {
        return findings;
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = LEFT_OVERS.iter().find(|left_over| line.contains(**left_over)) {
            findings.push(format!("{}:{}: left-over {found}", path.display(), number + 1));
        }
    }
    findings
}

/// Dependencies of the workspace that `docs/dependencies.md` does not give a reason for.
fn undocumented(root: &Path, documented: &str) -> Findings {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    let names =
        table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim());
    names
        .filter(|name| !name.starts_with("muster-") && !name.starts_with('#'))
        .filter(|name| !documented.contains(&format!("`{name}`")))
        .map(|name| format!("docs/dependencies.md does not say why `{name}` is there"))
        .collect()
}
