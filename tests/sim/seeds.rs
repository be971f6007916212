//! The runs of the ordinary test command.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use crate::plan::Plan;
use crate::run::{Report, Watch, run};
use crate::time::SimTime;

/// The seeds of the ordinary test command, and two that are run twice.
const SEEDS: Range<u64> = 0..250;
const TWICE: [u64; 2] = [3, 17];

/// Other seeds than the usual ones, as `A..B`; and until when, in simulated milliseconds; and whether to print events.
const SEEDS_VARIABLE: &str = "MUSTER_SIM_SEEDS";
const UNTIL_VARIABLE: &str = "MUSTER_SIM_UNTIL";
const ALOUD_VARIABLE: &str = "MUSTER_SIM_ALOUD";

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(SEEDS_VARIABLE) else { return SEEDS };
    let (from, to) = text.split_once("..").expect("seeds are given as A..B");
    number(from)..number(to)
}

fn watch() -> Watch {
    let until = std::env::var(UNTIL_VARIABLE).ok();
    Watch {
        until: until.map(|millis| SimTime(number(&millis) * 1000)),
        aloud: std::env::var(ALOUD_VARIABLE).is_ok(),
    }
}

/// Runs that did nothing would prove nothing.
fn demand_work(reports: &[Report]) {
    let sum = |what: fn(&Report) -> u64| reports.iter().map(what).sum::<u64>();
    let runs = reports.len() as u64;
    let work = [
        ("entries", 100, sum(|r| r.entries)),
        ("terms led", 2, sum(|r| r.terms)),
        ("snapshots installed", 1, sum(|r| r.installs)),
        ("requests accepted", 8, sum(|r| r.counts.accepted)),
        ("reads", 8, sum(|r| r.counts.reads)),
        ("programs started", 8, sum(|r| r.counts.programs)),
        ("jobs succeeded", 1, sum(|r| r.counts.jobs_succeeded)),
        ("members crashed", 2, sum(|r| r.counts.member_crashes)),
        ("members joined", 1, sum(|r| r.counts.members_joined)),
        ("agents crashed", 2, sum(|r| r.counts.agent_crashes)),
        ("partitions", 2, sum(|r| r.counts.partitions)),
    ];
    println!("{runs} runs: {work:?}");
    let rest: Vec<(&str, u64)> = vec![
        ("events", sum(|r| r.events)),
        ("requests rejected", sum(|r| r.counts.rejected)),
        ("requests given up", sum(|r| r.counts.unknown)),
        ("members left", sum(|r| r.counts.members_left)),
        ("machines destroyed", sum(|r| r.counts.destroyed)),
        ("replicas killed at their deadline", sum(|r| r.counts.overdue)),
        ("gangs given up on a node", sum(|r| r.counts.given_up)),
        ("simulated seconds", sum(|r| r.ended.0 / 1_000_000)),
    ];
    println!("and {rest:?}");
    if runs >= 20 {
        for (what, least, found) in work {
            assert!(found >= least * runs, "only {found} {what} in {runs} runs");
        }
    }
}

/// Runs the seeds on all cores, each by itself. The first failure, by its number, ends it all.
fn run_all(seeds: Range<u64>, watch: Watch) -> Result<Vec<Report>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.lock().expect("nobody panics with it").next();
            let Some(seed) = seed else { return };
            let end = run(Plan::of(seed), watch);
            if end.is_err() {
                // Whoever is at work on an earlier seed comes to its end.
                next.lock().expect("nobody panics with it").by_ref().for_each(drop);
            }
            done.lock().expect("nobody panics with it").push((seed, end));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("nobody panics with it");
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, end)| end).collect()
}

#[test]
fn whole_clusters_keep_every_promise_in_the_storm_and_come_to_an_end_after_it() {
    let began = Instant::now();
    match run_all(seeds(), watch()) {
        Ok(reports) => {
            println!("{:.1} s", began.elapsed().as_secs_f64());
            demand_work(&reports);
        }
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let traces = TWICE.map(|seed| {
        let once = run(Plan::of(seed), Watch::default());
        assert_eq!(once, run(Plan::of(seed), Watch::default()));
        once.map(|report| report.trace)
    });
    assert_ne!(traces[0], traces[1]);
}
