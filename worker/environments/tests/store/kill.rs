//! Builders that are killed with SIGKILL, at every phase of their work.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{OtherProcess, Site, python};

const PACKAGES: &str = "six, iniconfig, packaging, pygments";

/// Where to kill: at the first line that starts with this, or at the end of all lines.
const MOMENTS: [&str; 6] = [
    "PHASE creating",
    "PHASE resolving",
    "PHASE installing",
    "PHASE checking",
    "PHASE writing to disk",
    "READY",
];

/// Reads lines until one starts with `moment`, then kills. Says whether it came so far.
fn kill_at(process: &mut OtherProcess, moment: &str) -> bool {
    let mut seen = false;
    while let Some(line) = process.line() {
        if line.starts_with(moment) {
            seen = true;
            break;
        }
        assert!(!line.starts_with("FAILED"), "{line}");
    }
    process.kill();
    seen
}

#[test]
fn a_build_killed_in_any_phase_is_done_again_and_never_half_used() {
    let Some(site) = Site::new() else { return };
    for moment in MOMENTS {
        let mut process = site.process(PACKAGES);
        let seen = kill_at(&mut process, moment);
        // "installing" is told when uv says so; it may be over too soon to be seen.
        assert!(seen || moment == "PHASE installing", "{moment} was never told");
        // What is listed works; what is not listed is not there for anyone.
        for stored in site.store.list().expect("a list") {
            assert_eq!(python(&stored.path, "import six, pygments; print(1)"), "1");
        }
        let before = Instant::now();
        let environment = site.ensure(PACKAGES).expect("the next caller builds it");
        assert_eq!(environment.built_now, moment != "READY", "{moment}");
        assert_eq!(
            python(&environment.path, "import six, iniconfig, packaging, pygments; print(1)"),
            "1"
        );
        assert!(before.elapsed() < Duration::from_secs(120), "{moment}");
        drop(environment);
        site.store.prune(muster_environments::PruneRule::AllUnused, false).expect("a prune");
        assert_eq!(folders(&site), Vec::<PathBuf>::new(), "{moment}");
    }
}

#[test]
fn those_who_wait_take_over_when_their_builder_is_killed() {
    let Some(site) = Site::new() else { return };
    let mut builder = site.process(PACKAGES);
    let waiting: Vec<OtherProcess> = (0..3).map(|_| site.process(PACKAGES)).collect();
    kill_at(&mut builder, "PHASE resolving");
    let lines: Vec<Vec<String>> = waiting.into_iter().map(|p| p.finish()).collect();
    let ends: Vec<&String> = lines.iter().filter_map(|lines| lines.last()).collect();
    assert!(ends.iter().all(|end| end.starts_with("READY ")), "{lines:?}");
    // One of them built it, or the killed one had been waiting for one of them.
    let builders = ends.iter().filter(|end| end.starts_with("READY true")).count();
    assert_eq!(builders, 1, "{ends:?}");
    assert_eq!(site.store.list().expect("a list").len(), 1);
}

#[test]
fn a_loop_of_kills_at_short_intervals_ends_with_a_whole_environment() {
    let Some(site) = Site::new() else { return };
    let mut kills = 0;
    // Later and later in the life of the process, until one survives.
    for lines in (1_usize..).step_by(2) {
        let mut process = site.process(PACKAGES);
        let mut last = None;
        for _ in 0..lines {
            match process.line() {
                Some(line) => last = Some(line),
                None => break,
            }
        }
        process.kill();
        if last.is_some_and(|line| line.starts_with("READY")) {
            break;
        }
        kills += 1;
        for stored in site.store.list().expect("a list") {
            assert_eq!(python(&stored.path, "import six, pygments; print(1)"), "1");
        }
        assert!(kills < 200, "it never gets ready");
    }
    assert!(kills >= 3, "{kills}");
    let environment = site.ensure(PACKAGES).expect("an environment");
    assert_eq!(python(&environment.path, "import six, pygments; print(1)"), "1");
}

#[test]
fn what_killed_processes_left_is_cleared_by_a_prune() {
    let Some(site) = Site::new() else { return };
    let mut process = site.process(PACKAGES);
    kill_at(&mut process, "PHASE checking");
    assert_eq!(folders(&site).len(), 1, "a folder without a marker");
    let mut leftovers = 0;
    // The last tool of the killed process may hold the lock for a moment yet.
    let deadline = Instant::now() + Duration::from_secs(60);
    while leftovers == 0 && Instant::now() < deadline {
        let rule = muster_environments::PruneRule::Keep(9);
        let dry = site.store.prune(rule, true).expect("a dry run");
        assert_eq!(folders(&site).len(), 1, "a dry run removes nothing: {dry:?}");
        leftovers = site.store.prune(rule, false).expect("a prune").leftovers.len();
    }
    assert_eq!(leftovers, 1);
    assert_eq!(folders(&site), Vec::<PathBuf>::new());
}

/// The folders of environments, whole or not.
fn folders(site: &Site) -> Vec<PathBuf> {
    fs::read_dir(site.root())
        .expect("the root")
        .flatten()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect()
}
