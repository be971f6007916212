//! The whole verification, step by step, with the time that each step took.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Findings;

/// A step: its name and its command line.
type Step = (&'static str, &'static [&'static str]);

const STEPS: [Step; 6] = [
    ("formatting", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items"]),
    ("binary", &["build", "--package", "muster"]),
    ("tests", &["test", "--workspace"]),
    ("benches", &["test", "--package", "muster-benches", "--benches"]),
];

pub(crate) fn verify(root: &Path) -> Findings {
    let mut findings = super::lint();
    if !findings.is_empty() {
        return findings;
    }
    for (name, arguments) in STEPS {
        println!("xtask verify: {name}: cargo {}", arguments.join(" "));
        let started = Instant::now();
        if !cargo(root, arguments) {
            findings.push(format!("{name} failed: cargo {}", arguments.join(" ")));
            return findings;
        }
        println!("xtask verify: {name} took {:.0} s", started.elapsed().as_secs_f64());
    }
    findings
}

pub(crate) fn fix(root: &Path) -> Findings {
    let steps: [Step; 2] = [
        ("clippy", &["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty"]),
        ("formatting", &["fmt", "--all"]),
    ];
    let failed = steps.into_iter().filter(|(_, arguments)| !cargo(root, arguments));
    failed.map(|(name, _)| format!("{name} failed")).collect()
}

fn cargo(root: &Path, arguments: &[&str]) -> bool {
    let status = Command::new("cargo").args(arguments).current_dir(root).status();
    status.is_ok_and(|status| status.success())
}
