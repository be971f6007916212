//! Development tasks. `cargo xtask verify` is what CI runs; it never writes to the tree. `cargo xtask fix` may.

mod layers;
mod sim;
mod tree;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>
  verify   everything that must hold before a change lands: fmt, lint, clippy, tests, benches once
  lint     layers, copies of clippy.toml, file sizes, names, left-overs
  fix      format and apply clippy's suggestions
  sim      runs of the simulator: --seed N [--until MS] [--aloud], or --seeds A..B
  sim-mutations [NAME]   bugs that are put in on purpose, each of which the simulator must catch";

/// What a task found wrong.
type Findings = Vec<String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let findings = match &*task {
        "verify" => verify::verify(&root()),
        "lint" => lint(),
        "fix" => verify::fix(&root()),
        "sim" => sim::sim(&root(), &arguments),
        "sim-mutations" => sim::mutations(&root(), &arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if findings.is_empty() {
        println!("xtask {task}: nothing wrong");
        return ExitCode::SUCCESS;
    }
    for finding in &findings {
        eprintln!("xtask {task}: {finding}");
    }
    ExitCode::FAILURE
}

fn lint() -> Findings {
    let root = root();
    let mut findings = layers::check(&root);
    findings.extend(tree::check(&root));
    findings
}

/// The workspace.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}
