//! Stories of single jobs.

use muster_model::{
    CleanPodPolicy, ConditionType, ExitStatus, GangPhase, Generation, JobId, JobPhase, Millis,
    Rank, Reason, ReplicaId, RequestId, Resources, RestartPolicy, RunPolicy,
};
use muster_state::{Accepted, Body, DeleteJob, Effect, NodeUnreachable, RemoveNode, Reply};

use crate::world::{Shape, World, key};

fn rank(job: JobId, rank: u32) -> ReplicaId {
    ReplicaId { job, rank: Rank(rank) }
}

fn with_policy(workers: u32, run_policy: RunPolicy) -> Shape {
    Shape { run_policy, ..Shape::ddp(workers) }
}

fn running(shape: &Shape) -> (World, JobId) {
    let mut world = World::with_nodes(&[2, 2]);
    let job = world.submit("ddp", shape);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    (world, job)
}

#[test]
fn a_gang_is_placed_opened_and_succeeds_with_its_master() {
    let (mut world, job) = running(&Shape::ddp(3));
    for worker in 1..4 {
        world.end(rank(job, worker), ExitStatus::Code(0));
        assert_eq!(world.phase(job), Some(JobPhase::Running));
    }
    world.end(rank(job, 0), ExitStatus::Code(0));
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
    assert_eq!(world.gang_phase(job), GangPhase::Released);
    assert_eq!(
        world.conditions(job),
        [
            ("Created", true, "PyTorchJobCreated".to_owned()),
            ("Running", false, "PyTorchJobRunning".to_owned()),
            ("Succeeded", true, "PyTorchJobSucceeded".to_owned()),
        ]
    );
    assert_eq!(world.state.replicas_of(job).count(), 4, "cleanPodPolicy None keeps the records");
}

#[test]
fn nothing_is_placed_when_one_rank_does_not_fit() {
    let mut world = World::with_nodes(&[2, 1]);
    let job = world.submit("ddp", &Shape::ddp(3));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Queued));
    assert_eq!(world.state.replicas_of(job).count(), 0);
    world.register("late", 1);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn a_killed_rank_restarts_the_whole_gang_as_the_next_generation() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.end(rank(job, 2), ExitStatus::Signal(9));
    assert_eq!(world.gang_phase(job), GangPhase::Stopping { next: muster_model::AfterStop::Judge });
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    let gang = world.state.gang(job).unwrap();
    assert_eq!(gang.generation, Generation(2));
    assert_eq!(world.state.status(job).unwrap().restarts, 1);
    let message = world.message(job, ConditionType::Running);
    assert!(!message.is_empty());
    let fences: Vec<_> = world.state.replicas_of(job).map(|(_, replica)| replica.fence).collect();
    assert!(fences.iter().all(|fence| *fence == gang.fence()));
}

#[test]
fn a_rank_that_stopped_without_an_order_restarts_the_gang_also_when_it_ended_well() {
    for status in [ExitStatus::Signal(15), ExitStatus::Code(0), ExitStatus::NeverStarted] {
        let (mut world, job) = running(&Shape::ddp(3));
        world.end_stopped(rank(job, 2), status.clone());
        let judged = GangPhase::Stopping { next: muster_model::AfterStop::Judge };
        assert_eq!(world.gang_phase(job), judged, "{status}");
        world.settle();
        assert_eq!(world.phase(job), Some(JobPhase::Running));
        assert_eq!(world.state.gang(job).unwrap().generation, Generation(2));
        assert_eq!(world.state.status(job).unwrap().restarts, 1);
    }
}

#[test]
fn work_that_was_done_before_the_order_to_stop_is_not_undone_by_another_ranks_failure() {
    for policy in [CleanPodPolicy::None, CleanPodPolicy::All] {
        let run_policy = RunPolicy { clean_pod_policy: policy, ..RunPolicy::default() };
        let (mut world, job) = running(&with_policy(3, run_policy));
        world.end(rank(job, 2), ExitStatus::Code(1));
        world.end(rank(job, 0), ExitStatus::Code(0));
        assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
        world.settle();
        assert_eq!(world.gang_phase(job), GangPhase::Released);
        assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
    }
}

#[test]
fn a_master_that_ends_with_0_because_it_was_told_to_stop_has_not_succeeded() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.end(rank(job, 2), ExitStatus::Signal(9));
    world.end_stopped(rank(job, 0), ExitStatus::Code(0));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert_eq!(world.state.gang(job).unwrap().generation, Generation(2));
}

#[test]
fn a_nodes_name_stays_with_the_agent_that_registered_it_until_the_node_is_removed() {
    let mut world = World::with_nodes(&[1]);
    let name = world.state.tables().nodes.iter().next().unwrap().1.name.to_string();
    let other = |world: &mut World| world.register_agent((&name, "another"), 8);
    let refusal = other(&mut world).unwrap_err();
    assert!(matches!(refusal, Reason::NodeNameTaken { .. }), "{refusal}");
    let node = *world.state.tables().nodes.iter().next().unwrap().0;
    world.command(Body::NodeUnreachable(NodeUnreachable { node }));
    assert!(other(&mut world).is_err(), "its replicas may still run there");
    world.command(Body::RemoveNode(RemoveNode { name: name.clone() }));
    assert!(other(&mut world).is_ok());
}

#[test]
fn two_thousand_ranks_that_fail_at_once_leave_no_more_events_than_a_job_keeps() {
    let mut world = World::with_nodes(&[2000]);
    let job = world.submit("wide", &Shape::ddp(1999));
    world.settle();
    let all = (1..2000).map(|worker| (rank(job, worker), ExitStatus::Code(1)));
    world.end_all(all);
    let events = world.state.tables().events.iter().count();
    let kept = muster_state::Policy::default().events_per_job;
    assert!(events > 1 && events <= kept, "{events} events");
}

#[test]
fn a_waiting_job_that_goes_away_lets_planning_look_again() {
    let mut world = World::with_nodes(&[1]);
    let job = world.submit("large", &Shape::ddp(3));
    world.settle();
    assert_eq!(world.gang_phase(job), GangPhase::Waiting);
    assert!(world.delete("large").is_ok());
    assert!(world.effects.contains(&Effect::Plan), "{:?}", world.effects);
}

#[test]
fn kills_from_outside_are_not_limited_without_an_explicit_limit() {
    let (mut world, job) = running(&Shape::ddp(1));
    for round in 0..20 {
        world.end(rank(job, round % 2), ExitStatus::Signal(9));
        world.settle();
        world.advance(Millis::from_secs(60));
        world.settle();
        assert_eq!(world.phase(job), Some(JobPhase::Running), "round {round}");
    }
    assert_eq!(world.state.status(job).unwrap().restarts, 20);
}

#[test]
fn a_program_that_fails_by_itself_is_tried_four_times_in_a_row() {
    let (mut world, job) = running(&Shape::ddp(1));
    for round in 1..=4 {
        assert_eq!(world.phase(job), Some(JobPhase::Running), "round {round}");
        world.end(rank(job, 1), ExitStatus::Code(3));
        world.settle();
        world.advance(Millis::from_secs(60));
        world.settle();
    }
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    let message = world.message(job, ConditionType::Failed);
    assert!(message.contains("worker-0 ended with exit code 3"), "{message}");
    assert!(message.contains("backoffLimit"), "{message}");
}

#[test]
fn a_stable_run_ends_a_row_of_failures() {
    let (mut world, job) = running(&Shape::ddp(1));
    for _ in 0..10 {
        world.advance(Millis::from_secs(601));
        world.end(rank(job, 1), ExitStatus::Code(3));
        world.settle();
        assert_eq!(world.phase(job), Some(JobPhase::Running));
    }
}

#[test]
fn the_rank_that_was_killed_is_blamed_and_not_the_one_that_noticed_first() {
    let shape = Shape { restart: RestartPolicy::ExitCode, ..Shape::ddp(1) };
    let (mut world, job) = running(&shape);
    world.end(rank(job, 0), ExitStatus::Code(1));
    world.end(rank(job, 1), ExitStatus::Signal(9));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert_eq!(world.state.gang(job).unwrap().generation, Generation(2));
}

#[test]
fn exit_code_policy_takes_small_codes_as_permanent() {
    let shape = Shape { restart: RestartPolicy::ExitCode, ..Shape::ddp(1) };
    let (mut world, job) = running(&shape);
    world.end(rank(job, 0), ExitStatus::Code(1));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    assert!(world.message(job, ConditionType::Failed).contains("ExitCode"));
    assert!(world.state.status(job).unwrap().completed.is_some());
}

#[test]
fn never_fails_at_once_and_stops_the_survivors() {
    let shape = Shape { restart: RestartPolicy::Never, ..Shape::ddp(3) };
    let (mut world, job) = running(&shape);
    world.end(rank(job, 3), ExitStatus::Code(7));
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    world.settle();
    assert_eq!(world.gang_phase(job), GangPhase::Released);
    assert!(world.agents.values().all(|agent| agent.replicas.is_empty()));
    let kinds: Vec<_> = world.conditions(job).into_iter().map(|(kind, ..)| kind).collect();
    assert!(!kinds.contains(&"Restarting"), "{kinds:?}");
}

#[test]
fn a_command_that_does_not_exist_is_not_tried_again() {
    let (mut world, job) = running(&Shape::ddp(1));
    let why = "command not found: trainn".to_owned();
    world.end(rank(job, 1), ExitStatus::StartFailed { why, permanent: true });
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    assert!(world.message(job, ConditionType::Failed).contains("trainn"));
}

#[test]
fn an_explicit_limit_counts_every_restart() {
    let policy = RunPolicy { backoff_limit: Some(2), ..RunPolicy::default() };
    let (mut world, job) = running(&with_policy(1, policy));
    for _ in 0..3 {
        assert_eq!(world.phase(job), Some(JobPhase::Running));
        world.end(rank(job, 0), ExitStatus::Signal(9));
        world.settle();
        world.advance(Millis::from_secs(60));
        world.settle();
    }
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    assert_eq!(world.state.status(job).unwrap().restarts, 2);
}

#[test]
fn a_limit_of_zero_allows_no_restart() {
    let policy = RunPolicy { backoff_limit: Some(0), ..RunPolicy::default() };
    let (mut world, job) = running(&with_policy(1, policy));
    world.end(rank(job, 0), ExitStatus::Signal(9));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
}

#[test]
fn the_second_restart_in_a_row_waits_and_keeps_its_place() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.end(rank(job, 0), ExitStatus::Signal(9));
    world.settle();
    world.end(rank(job, 0), ExitStatus::Signal(9));
    world.settle();
    let GangPhase::Backoff { until } = world.gang_phase(job) else {
        panic!("{:?}", world.gang_phase(job))
    };
    assert_eq!(until, world.now.plus(Millis::from_secs(1)));
    assert_eq!(world.state.next_due(), Some(until));
    let other = world.submit("other", &Shape::ddp(0));
    world.settle();
    assert_eq!(world.phase(other), Some(JobPhase::Queued), "the place is kept");
    world.advance(Millis::from_secs(1));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn the_deadline_fails_the_job_and_stops_its_ranks() {
    let policy = RunPolicy { active_deadline: Some(Millis::from_secs(10)), ..RunPolicy::default() };
    let (mut world, job) = running(&with_policy(1, policy));
    world.advance(Millis::from_secs(9));
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    world.advance(Millis::from_secs(1));
    assert_eq!(world.phase(job), Some(JobPhase::Failed));
    world.settle();
    assert_eq!(world.gang_phase(job), GangPhase::Released);
    assert!(world.message(job, ConditionType::Failed).contains("activeDeadlineSeconds"));
}

#[test]
fn a_finished_job_is_deleted_when_its_time_to_live_is_over() {
    let policy =
        RunPolicy { ttl_after_finished: Some(Millis::from_secs(5)), ..RunPolicy::default() };
    let (mut world, job) = running(&with_policy(0, policy));
    world.end(rank(job, 0), ExitStatus::Code(0));
    world.advance(Millis::from_secs(4));
    assert!(world.state.job(job).is_some());
    world.advance(Millis::from_secs(1));
    assert!(world.state.job(job).is_none());
    assert_eq!(world.state.tables().events.len(), 0);
    assert_eq!(world.state.tables().timers.len(), 0);
}

#[test]
fn leftover_workers_get_their_grace_after_the_master_succeeded() {
    let (mut world, job) = running(&Shape::ddp(2));
    world.end(rank(job, 0), ExitStatus::Code(0));
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
    let GangPhase::Draining { until } = world.gang_phase(job) else {
        panic!("{:?}", world.gang_phase(job))
    };
    assert_eq!(until, world.now.plus(Millis::from_secs(30)));
    world.settle();
    world.end(rank(job, 1), ExitStatus::Code(0));
    assert!(matches!(world.gang_phase(job), GangPhase::Draining { .. }));
    world.advance(Millis::from_secs(30));
    world.settle();
    assert_eq!(world.gang_phase(job), GangPhase::Released);
    assert_eq!(world.phase(job), Some(JobPhase::Succeeded));
}

#[test]
fn clean_pod_policies_remove_what_they_say() {
    for (policy, kept) in
        [(CleanPodPolicy::None, 3), (CleanPodPolicy::Running, 2), (CleanPodPolicy::All, 0)]
    {
        let policy = RunPolicy { clean_pod_policy: policy, ..RunPolicy::default() };
        let (mut world, job) = running(&with_policy(2, policy.clone()));
        world.end(rank(job, 1), ExitStatus::Code(0));
        world.end(rank(job, 0), ExitStatus::Code(0));
        world.settle();
        world.advance(Millis::from_secs(30));
        world.settle();
        assert_eq!(world.gang_phase(job), GangPhase::Released, "{policy:?}");
        assert_eq!(world.state.replicas_of(job).count(), kept, "{policy:?}");
    }
}

#[test]
fn a_suspended_job_lets_go_and_a_resumed_one_is_placed_again() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.suspend("ddp", true).unwrap();
    assert_eq!(world.phase(job), Some(JobPhase::Suspended));
    world.settle();
    assert_eq!(world.gang_phase(job), GangPhase::Released);
    assert_eq!(world.state.replicas_of(job).count(), 0);
    assert_eq!(world.state.status(job).unwrap().started, None);
    assert_eq!(
        world.conditions(job)[1..],
        [
            ("Running", false, "PyTorchJobSuspended".to_owned()),
            ("Suspended", true, "PyTorchJobSuspended".to_owned())
        ]
    );
    world.suspend("ddp", false).unwrap();
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    let gang = world.state.gang(job).unwrap();
    assert_eq!((gang.attempt.0, gang.generation.0), (2, 2));
}

#[test]
fn a_job_resumed_while_it_still_stops_waits_for_the_stop() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.suspend("ddp", true).unwrap();
    world.suspend("ddp", false).unwrap();
    assert!(matches!(world.gang_phase(job), GangPhase::Stopping { .. }));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn a_job_created_suspended_does_nothing_until_it_is_resumed() {
    let mut world = World::with_nodes(&[4]);
    let policy = RunPolicy { suspend: true, ..RunPolicy::default() };
    let job = world.submit("ddp", &with_policy(1, policy));
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Suspended));
    world.suspend("ddp", false).unwrap();
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
}

#[test]
fn a_deleted_job_is_gone_once_its_ranks_have_stopped() {
    let (mut world, job) = running(&Shape::ddp(3));
    world.delete("ddp").unwrap();
    assert!(world.state.job(job).unwrap().deleting.is_some());
    let again = world.try_submit("ddp", &Shape::ddp(0));
    assert_eq!(again, Err(Reason::BeingDeleted { job: key("ddp") }));
    world.settle();
    assert!(world.state.job(job).is_none());
    assert!(world.agents.values().all(|agent| agent.replicas.is_empty()));
    assert_eq!(world.delete("ddp"), Err(Reason::JobNotFound { job: key("ddp") }));
    world.submit("ddp", &Shape::ddp(0));
}

#[test]
fn a_retried_request_is_applied_once_and_answered_alike() {
    let mut world = World::with_nodes(&[4]);
    let request = Some(RequestId(7, 7));
    let create = world.create("ddp", &Shape::ddp(1));
    let first = world.request(request, create.clone());
    assert_eq!(world.request(request, create.clone()), first);
    assert_eq!(world.state.tables().jobs.len(), 1);
    let Reply::Rejected(Reason::AlreadyExists { .. }) = world.request(None, create) else {
        panic!("another request for the same name is refused")
    };
    let delete = Body::DeleteJob(DeleteJob { key: key("ddp"), uid: None });
    let request = Some(RequestId(8, 8));
    let gone = world.request(request, delete.clone());
    assert!(matches!(gone, Reply::Accepted(Accepted::Deleted(_))));
    assert_eq!(world.request(request, delete), gone);
}

#[test]
fn outcomes_of_requests_are_forgotten_after_a_while() {
    let mut world = World::with_nodes(&[4]);
    for number in 0..6u64 {
        let create = world.create(&format!("job-{number}"), &Shape::ddp(0));
        world.request(Some(RequestId(0, number)), create);
        world.advance(Millis::from_secs(600));
    }
    assert_eq!(world.state.tables().requests.len(), 2);
}

#[test]
fn an_unreachable_node_keeps_its_gang_until_it_is_back_or_removed() {
    let (mut world, job) = running(&Shape::ddp(3));
    let node = world.state.replica(rank(job, 3)).unwrap().node;
    world.lose(node);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    world.come_back(node, false);
    world.settle();
    assert_eq!(world.state.gang(job).unwrap().generation, Generation(1));

    world.lose(node);
    world.register("spare", 2);
    world.remove_node(node);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    let gang = world.state.gang(job).unwrap();
    assert_eq!((gang.attempt.0, gang.generation.0), (2, 2));
    assert!(world.state.replicas_of(job).all(|(_, replica)| replica.node != node));
}

#[test]
fn an_agent_that_lost_its_memory_reports_its_ranks_lost() {
    let (mut world, job) = running(&Shape::ddp(3));
    let node = world.state.replica(rank(job, 3)).unwrap().node;
    world.lose(node);
    world.come_back(node, true);
    world.settle();
    assert_eq!(world.phase(job), Some(JobPhase::Running));
    assert_eq!(world.state.gang(job).unwrap().generation, Generation(2));
}

#[test]
fn a_report_with_an_old_fence_is_dropped() {
    let (mut world, job) = running(&Shape::ddp(1));
    let old = world.state.replica(rank(job, 0)).unwrap().clone();
    world.end(rank(job, 1), ExitStatus::Signal(9));
    world.settle();
    let before = world.state.clone();
    let exit = muster_model::Exit { status: ExitStatus::Code(0), after_stop: false };
    world.report(old.node, rank(job, 0), old.fence, muster_state::Reported::Exited(exit));
    assert_eq!(world.state.tables(), before.tables());
}

#[test]
fn a_placement_that_no_longer_fits_is_refused() {
    let mut world = World::with_nodes(&[2]);
    let a = world.submit("a", &Shape::ddp(1));
    let b = world.submit("b", &Shape::ddp(1));
    let node = *world.agents.keys().next().unwrap();
    let bind = |job| {
        Body::BindGang(muster_state::BindGang {
            placement: muster_model::Placement {
                job,
                attempt: muster_model::Attempt(0),
                nodes: vec![node; 2],
            },
        })
    };
    assert_eq!(world.command(bind(a)), Reply::Accepted(Accepted::Bound(a)));
    assert!(matches!(world.command(bind(b)), Reply::Rejected(Reason::StalePlan { .. })));
    assert!(matches!(world.command(bind(a)), Reply::Rejected(Reason::StalePlan { .. })));
    assert_eq!(world.state.reserved(node), Resources::new().with("cpu", 2000));
}

#[test]
fn events_are_counted_when_they_repeat_and_bounded_in_number() {
    let mut world = World::with_nodes(&[1]);
    let job = world.submit("ddp", &Shape::ddp(0));
    world.settle();
    let replica = world.state.replica(rank(job, 0)).unwrap().clone();
    for round in 0..300 {
        let text = format!("notice {}", round / 3);
        let what = muster_state::Reported::Notice(text);
        world.report(replica.node, rank(job, 0), replica.fence, what);
    }
    let events = &world.state.tables().events;
    assert_eq!(events.len(), 64);
    let (_, last) = events.iter().next_back().unwrap();
    assert_eq!((last.count, last.message.as_str()), (3, "master-0: notice 99"));
}

#[test]
fn manifests_that_are_applied_together_are_all_created_or_none() {
    let mut world = World::with_nodes(&[4]);
    world.submit("taken", &Shape::ddp(0));
    let mut both = Vec::new();
    for name in ["free", "taken"] {
        let Body::Apply(one) = world.create(name, &Shape::ddp(0)) else { unreachable!() };
        both.extend(one);
    }
    let reply = world.command(Body::Apply(both.clone()));
    assert_eq!(reply, Reply::Rejected(Reason::AlreadyExists { job: key("taken") }));
    assert_eq!(world.state.job_id(&key("free")), None);
    let twice = vec![both[0].clone(), both[0].clone()];
    let reply = world.command(Body::Apply(twice));
    assert_eq!(reply, Reply::Rejected(Reason::AlreadyExists { job: key("free") }));
    both.truncate(1);
    assert!(matches!(world.command(Body::Apply(both)), Reply::Accepted(Accepted::Applied(_))));
}
