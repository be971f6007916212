//! Many seeds under many faults: safety at every step, liveness after the faults end, and proof
//! that the checks can fail.

use muster_consensus::Index;

use crate::world::ledger::Violation;
use crate::world::member::Mistake;
use crate::world::{Faults, Load, Plan, World};

/// Ticks under faults.
const STORM: u64 = 400;
/// Ticks that a healed cluster may take to converge.
const PATIENCE: u64 = 600;

/// What a run was worth.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    trace: u64,
    committed: Index,
    elections: usize,
    reads: u64,
    power_cuts: u64,
    snapshots: u64,
    memberships: usize,
}

fn plan(seed: u64, members: u64, spares: u64) -> Plan {
    let (faults, load) = (Faults::many(), Load::full());
    Plan { seed, members, spares, faults, load, mistake: Mistake::None }
}

fn storm(plan: Plan) -> Result<Report, Violation> {
    let mut world = World::new(plan);
    world.run(STORM)?;
    world.heal();
    if !world.run_until(PATIENCE, World::has_converged)? {
        let standings: Vec<_> = world
            .members
            .values()
            .map(|member| (member.machine.applied, member.node.as_ref().map(|n| n.status())))
            .collect();
        return Err(Violation::Liveness(format!("did not converge: {standings:?}")));
    }
    let leader = world.leader().ok_or_else(|| Violation::Liveness("no leader".into()))?;
    let before = world.ledger.last();
    let node = world.member(leader.0).node.as_mut().expect("a leader is up");
    node.propose(b"after the storm"[..].into(), b""[..].into())
        .map_err(|error| Violation::Liveness(format!("the leader refuses work: {error}")))?;
    world.drain(leader)?;
    if !world.run_until(PATIENCE, |world| world.ledger.last() > before && world.has_converged())? {
        return Err(Violation::Liveness("work after the storm is not done".into()));
    }
    Ok(Report {
        trace: world.ledger.trace,
        committed: world.ledger.last(),
        elections: world.ledger.elections(),
        reads: world.ledger.reads_answered,
        power_cuts: world.power_cuts,
        snapshots: world.ledger.snapshots_installed,
        memberships: world.ledger.memberships.len(),
    })
}

/// Runs the seeds and says which one failed.
fn storms(seeds: std::ops::Range<u64>, members: u64, spares: u64) -> Vec<Report> {
    let run = |seed| {
        storm(plan(seed, members, spares)).unwrap_or_else(|violation| {
            panic!("seed {seed} with {members}+{spares} members: {violation:?}")
        })
    };
    seeds.map(run).collect()
}

/// A storm in which nothing happens would prove nothing.
fn demand_work(reports: &[Report]) {
    let runs = reports.len() as u64;
    let sum = |what: fn(&Report) -> u64| reports.iter().map(what).sum::<u64>();
    let work = [
        ("entries", 50, sum(|report| report.committed.0)),
        ("elections", 2, sum(|report| report.elections as u64)),
        ("reads", 2, sum(|report| report.reads)),
        ("power cuts", 2, sum(|report| report.power_cuts)),
        ("snapshots installed", 1, sum(|report| report.snapshots)),
    ];
    println!("{runs} runs: {work:?}");
    for (what, least, found) in work {
        assert!(found > least * runs, "only {found} {what} in {runs} runs");
    }
}

#[test]
fn three_members_stay_safe_in_the_storm_and_recover_after_it() {
    demand_work(&storms(0..25, 3, 0));
}

#[test]
fn five_members_stay_safe_in_the_storm_and_recover_after_it() {
    demand_work(&storms(100..115, 5, 0));
}

#[test]
fn changing_memberships_stay_safe_in_the_storm_and_recover_after_it() {
    let reports = storms(200..225, 3, 2);
    demand_work(&reports);
    let changes: usize = reports.iter().map(|report| report.memberships).sum();
    assert!(changes > 2 * reports.len(), "only {changes} changes");
}

#[test]
fn a_sole_member_loses_nothing_in_power_cuts() {
    for seed in 300..320 {
        let report = storm(plan(seed, 1, 0)).unwrap_or_else(|v| panic!("seed {seed}: {v:?}"));
        assert!(report.committed > Index(50), "seed {seed}: only {}", report.committed);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let once = storms(7..9, 3, 2);
    let again = storms(7..9, 3, 2);
    assert_eq!(once, again);
    assert_ne!(once[0].trace, once[1].trace);
}

/// Whether any of a hundred storms shows the mistake.
fn is_noticed(mistake: Mistake) -> bool {
    (0..100).any(|seed| {
        let mut faults = Faults::many();
        faults.cut = 30;
        let mut load = Load::full();
        load.snapshot_every = u64::MAX;
        load.change = 0;
        let end = storm(Plan { mistake, faults, load, ..plan(seed, 3, 0) });
        matches!(end, Err(Violation::Safety(_)))
    })
}

#[test]
fn a_disk_that_forgets_acknowledged_writes_is_noticed() {
    assert!(is_noticed(Mistake::ForgetsWrites));
}

#[test]
fn a_driver_that_answers_before_it_writes_is_noticed() {
    assert!(is_noticed(Mistake::AnswersFirst));
}
