//! Bugs that the simulator has found, each as a scenario of its own; and what some kinds of trouble must lead to.

use crate::plan::{Links, Plan, Programs, Rates};
use crate::run::{Report, Watch, run};
use crate::time::Span;

/// Each scenario is run with so many seeds.
const SEEDS: std::ops::Range<u64> = 0..8;

fn all(plan: impl Fn(Plan) -> Plan) -> Vec<Report> {
    let one = |seed| run(plan(Plan::quiet(seed)), Watch::default());
    SEEDS.map(one).collect::<Result<_, _>>().unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn without_trouble_one_leader_leads_and_nobody_waits() {
    for report in all(|plan| plan) {
        assert!(report.counts.accepted > 20, "{report:?}");
        assert_eq!(report.counts.unknown, 0, "a request was given up without need: {report:?}");
        // Whoever joins takes nothing over by itself.
        assert_eq!(report.terms, 1, "{report:?}");
    }
}

/// A leader whose disk was full and that had a timer due handed its leadership over again and again without letting the
/// messages out that this takes.
#[test]
fn a_full_disk_with_a_timer_that_is_due_does_not_make_the_leader_spin() {
    let rates = Rates { full_disk: 500, ..Rates::default() };
    let programs = |programs| Programs { fails: 5000, ..programs };
    let reports = all(|plan| Plan { rates, programs: programs(plan.programs), ..plan });
    assert!(reports.iter().any(|report| report.terms > 1), "no leader made way for another");
}

/// The first words of a session that its agent had given up came after its next session was open, took the node over and
/// fell silent: the node counted as lost, and the agent never heard of it.
#[test]
fn a_session_that_comes_late_does_not_cut_its_agent_off() {
    let late = |links| Links { lateness: 3000, late: Span::seconds(5), ..links };
    let rates = Rates { agent_pause: 200, transfer: 200, ..Rates::default() };
    all(|plan| Plan { links: late(plan.links), rates, ..plan });
}

/// Members that were away for long get a snapshot, because the log is forgotten soon.
#[test]
fn members_far_behind_get_a_snapshot_and_go_on_from_it() {
    let rates = Rates { member_crash: 300, ..Rates::default() };
    let reports = all(|plan| Plan { rates, snapshot_every: 5, snapshot_tail: 0, ..plan });
    assert!(reports.iter().map(|report| report.installs).sum::<u64>() > 20);
}

#[test]
fn members_come_and_go_while_everything_else_goes_on() {
    let rates = Rates { membership: 400, member_crash: 50, ..Rates::default() };
    let reports = all(|plan| Plan { rates, ..plan });
    let left: u64 = reports.iter().map(|report| report.counts.members_left).sum();
    assert!(left > 8, "only {left} members have left");
}

/// Long partitions and no operator: who is cut off stops, and only then do gangs start elsewhere.
#[test]
fn gangs_of_cut_off_nodes_start_elsewhere_without_an_operator() {
    let cut = |plan: Plan, cut_off| Plan {
        rates: Rates { partition: 600, ..Rates::default() },
        programs: Programs { longest: Span::seconds(25), ..plan.programs },
        agents: 5,
        storm: Span::seconds(90),
        longest_cut: Span::seconds(60),
        cut_off,
        ..plan
    };
    let sum = |reports: &[Report], of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let reports = all(|plan| cut(plan, Some(Span::seconds(6))));
    let (overdue, given_up) =
        (sum(&reports, |r| r.counts.overdue), sum(&reports, |r| r.counts.given_up));
    assert!(overdue > 0 && given_up > 0, "{overdue} replicas stopped, {given_up} gangs given up");

    let reports = all(|plan| cut(plan, None));
    assert_eq!(sum(&reports, |r| r.counts.overdue + r.counts.given_up), 0, "nothing was promised");
}
