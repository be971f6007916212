//! The simulator by hand: any number of seeds, as fast as the machine is, with debug assertions.
//!
//! ```text
//! cargo xtask sim --seed N [--until MS] [--aloud]      one run again, up to a simulated millisecond, telling every event
//! cargo xtask sim --seeds A..B                         many, until one fails
//! cargo xtask sim-mutations [NAME]                     seeded bugs, each of which must be caught
//! ```

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Findings;

/// The test that runs seeds.
const TEST: &str =
    "seeds::whole_clusters_keep_every_promise_in_the_storm_and_come_to_an_end_after_it";

/// The scenario that is run beside the seeds when a bug is to be caught: long cuts are rare among seeds.
const CUTS: &str = "scenarios::gangs_of_cut_off_nodes_start_elsewhere_without_an_operator";

/// Every seeded bug of the pure crates: the value of `sim_bug` that turns it on, and what it breaks.
const MUTATIONS: [(&str, &str); 13] = [
    ("answer_before_commit", "the leader answers when it has proposed"),
    ("persist_without_sync", "a member does not wait for its disk"),
    ("keep_lost_flight", "a leader that lost an entry keeps it in its state"),
    ("read_without_majority", "reads ask nobody whether the leader still leads"),
    ("read_in_flight", "reads see what is not committed"),
    ("forget_requests", "a request that is tried again is done again"),
    ("take_stale_reports", "reports count whatever their fence"),
    ("open_early", "a generation opens when its first rank is ready"),
    ("assume_lost_is_dead", "replicas of an unreachable node count as ended"),
    ("clear_without_stop", "an agent forgets what it should stop"),
    ("give_up_early", "the leader gives a lost node up before its agent has stopped"),
    ("silence_is_an_answer", "an agent takes members that say nothing for ones that see no leader"),
    ("report_stopped_early", "an agent tells of an end when it begins to stop"),
];

/// A seeded bug is caught within so many seeds.
const SEEDS_PER_MUTATION: u64 = 300;

/// Runs seeds as the arguments say.
pub(crate) fn sim(root: &Path, arguments: &[String]) -> Findings {
    let mut command = simulate(root);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().map(String::as_str).unwrap_or_default();
        match argument.as_str() {
            "--seed" => match value().parse::<u64>() {
                Ok(seed) => command.env("MUSTER_SIM_SEEDS", format!("{seed}..{}", seed + 1)),
                Err(_) => return vec!["--seed wants a number".into()],
            },
            "--seeds" => command.env("MUSTER_SIM_SEEDS", value()),
            "--until" => command.env("MUSTER_SIM_UNTIL", value()),
            "--aloud" => command.env("MUSTER_SIM_ALOUD", "1"),
            other => return vec![format!("{other:?} is not known; see xtask/src/sim.rs")],
        };
    }
    match command.status() {
        Ok(status) if status.success() => Vec::new(),
        Ok(_) => vec!["a seed failed; see above".into()],
        Err(error) => vec![format!("cargo cannot be run: {error}")],
    }
}

/// Every seeded bug (or the one that is named) must be caught.
pub(crate) fn mutations(root: &Path, arguments: &[String]) -> Findings {
    let wanted = arguments.first();
    let chosen = MUTATIONS.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
    let mut findings = Vec::new();
    let mut found = 0;
    for (name, what) in chosen {
        found += 1;
        let began = Instant::now();
        match caught(root, name) {
            Ok(Some(why)) => {
                println!(
                    "{name} ({what}): caught in {:.0} s: {why}",
                    began.elapsed().as_secs_f64()
                );
            }
            Ok(None) => findings
                .push(format!("{name} ({what}) is not caught by {SEEDS_PER_MUTATION} seeds")),
            Err(error) => findings.push(format!("{name}: {error}")),
        }
    }
    if found == 0 {
        findings.push("there is no seeded bug of that name".into());
    }
    findings
}

/// The line with which a seed failed, if one did.
fn caught(root: &Path, bug: &str) -> Result<Option<String>, String> {
    // Only crates of the workspace are built anew: their compiler goes through a script that turns the bug on.
    let target = root.join("target/sim-bugs");
    let wrapper = target.join(format!("{bug}.sh"));
    let script = format!("#!/bin/sh\nexec \"$@\" --cfg 'sim_bug=\"{bug}\"'\n");
    let made = fs::create_dir_all(&target)
        .and_then(|()| fs::write(&wrapper, script))
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)));
    made.map_err(|error| format!("{}: {error}", wrapper.display()))?;
    let mut child = simulate(root)
        .arg(CUTS)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
        .env("MUSTER_SIM_SEEDS", format!("0..{SEEDS_PER_MUTATION}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    let mut why = None;
    if let Some(told) = child.stderr.take() {
        for line in BufReader::new(told).lines().map_while(Result::ok) {
            let is_it = line.starts_with("seed ") || line.contains("panicked at");
            if is_it && (why.is_none() || line.starts_with("seed ")) {
                why = Some(line);
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match (status.success(), why) {
        (true, _) => Ok(None),
        (false, Some(why)) => Ok(Some(why)),
        (false, None) => Err("it does not build; see cargo's messages".into()),
    }
}

fn simulate(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--quiet", "--profile", "sim", "--package", "muster-tests", "--test", "sim"])
        .args(["--", "--exact", TEST, "--nocapture"])
        .current_dir(root);
    command
}
