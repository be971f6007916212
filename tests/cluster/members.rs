//! A coordinator of several members: what dies, and what must not be lost.

use muster_tests::{Job, Members, Role, until};
use rustix::process::Signal;

fn apply(members: &Members, name: &str) {
    let job = Job::shell(name, 0, "true").write(members.agent.data());
    until("the job is accepted", || {
        (members.muster(&["apply", "-f", &job.to_string_lossy()]).code == 0).then_some(())
    });
}

/// A job that counts into a file until another one is there.
fn counting(members: &Members) -> (Job, std::path::PathBuf, std::path::PathBuf) {
    let data = members.agent.data();
    let (count, gate) = (data.join("count"), data.join("gate"));
    let script = format!(
        "while [ ! -e {} ]; do echo tick >> {}; sleep 0.1; done",
        gate.display(),
        count.display()
    );
    (Job::shell("counting", 1, &script), count, gate)
}

#[test]
fn a_job_trains_through_the_death_of_every_leader_and_nothing_acknowledged_is_lost() {
    let mut members = Members::start(3);
    let (job, count, gate) = counting(&members);
    let file = job.write(members.agent.data());
    members.muster(&["apply", "-f", &file.to_string_lossy()]).ok();
    members.agent.wait_for_phase("counting", "Running");
    let ticks = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    for round in 0..4 {
        let leader = members.leader();
        let before = ticks();
        members.places[leader].kill(Role::Coordinator);
        apply(&members, &format!("after-{round}"));
        until("the job goes on", || (ticks() > before).then_some(()));
        members.places[leader].start(Role::Coordinator);
    }
    std::fs::write(&gate, "").expect("room");
    members.agent.wait_for_phase("counting", "Succeeded");
    assert_eq!(members.agent.job("counting").expect("it is there")["restarts"], 0);
    for round in 0..4 {
        members.agent.wait_for_phase(&format!("after-{round}"), "Succeeded");
    }
    members.wait_for_agreement(&[0, 1, 2]);
}

#[test]
fn a_leader_that_hangs_is_replaced_and_learns_of_it() {
    let mut members = Members::start(3);
    let old = members.leader();
    members.signal(old, Signal::STOP);
    apply(&members, "meanwhile");
    members.signal(old, Signal::CONT);
    until("it follows", || (members.leader() != old).then_some(()));
    members.agent.wait_for_phase("meanwhile", "Succeeded");
    members.wait_for_agreement(&[0, 1, 2]);
}

#[test]
fn a_leader_that_is_stopped_in_order_hands_over() {
    let mut members = Members::start(3);
    let leader = members.leader();
    members.places[leader].stop(Role::Coordinator);
    let next = members.leader();
    assert_ne!(next, leader);
    apply(&members, "afterwards");
    members.agent.wait_for_phase("afterwards", "Succeeded");
}

#[test]
fn without_a_majority_nothing_is_accepted_and_what_runs_goes_on() {
    let mut members = Members::start(3);
    let (job, count, gate) = counting(&members);
    let file = job.write(members.agent.data());
    members.muster(&["apply", "-f", &file.to_string_lossy()]).ok();
    members.agent.wait_for_phase("counting", "Running");
    let leader = members.leader();
    let others: Vec<usize> = (0..3).filter(|member| *member != leader).collect();
    for other in &others {
        members.places[*other].kill(Role::Coordinator);
    }
    until("the leader has stepped down", || members.leader_now().is_none().then_some(()));
    let refused = members.agent.command(&["apply", "-f", &file.to_string_lossy()]);
    let mut refused = refused_soon(refused);
    assert_eq!(refused.try_wait().expect("it is ours").and_then(|status| status.code()), None);
    let ticks = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    let before = ticks();
    until("the job goes on", || (ticks() > before + 3).then_some(()));
    for other in others {
        members.places[other].start(Role::Coordinator);
    }
    assert!(
        refused.wait().expect("it ends").success(),
        "the retry succeeds once there is a leader"
    );
    std::fs::write(&gate, "").expect("room");
    members.agent.wait_for_phase("counting", "Succeeded");
    assert_eq!(members.agent.job("counting").expect("it is there")["restarts"], 0);
}

/// A command that is at work.
fn refused_soon(mut command: std::process::Command) -> std::process::Child {
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.spawn().expect("muster runs")
}

#[test]
fn members_come_and_go_while_it_runs() {
    let mut members = Members::start(1);
    apply(&members, "alone");
    members.agent.wait_for_phase("alone", "Succeeded");
    members.join();
    members.join();
    members.wait_for_votes(3);
    members.know_each_other();
    // The first one leaves, and with it the leadership.
    members.muster(&["members", "remove", "1"]).ok();
    until("it has left", || {
        let list = members.list()?;
        list.iter().all(|one| one["id"] != 1).then_some(())
    });
    members.wait_for_votes(2);
    members.places[0].kill(Role::Coordinator);
    apply(&members, "without-the-first");
    members.agent.wait_for_phase("without-the-first", "Succeeded");
    members.wait_for_agreement(&[1, 2]);
    let refused = members.muster(&["members", "remove", "77"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("M1005"), "{refused:#?}");
}

#[test]
fn a_backup_brings_the_cluster_back_when_every_member_is_lost() {
    let mut members = Members::start(3);
    let (job, count, gate) = counting(&members);
    let file = job.write(members.agent.data());
    members.muster(&["apply", "-f", &file.to_string_lossy()]).ok();
    members.agent.wait_for_phase("counting", "Running");
    let uid = members.agent.object("counting")["metadata"]["uid"].clone();
    let backup = members.agent.data().join("backup").to_string_lossy().into_owned();
    members.muster(&["backup", &backup]).ok();
    for place in &mut members.places {
        place.kill(Role::Coordinator);
    }
    // A new machine with the address of the first and an empty directory.
    let first = &mut members.places[0];
    let token = std::fs::read(first.data().join("token")).expect("a token");
    std::fs::remove_dir_all(first.data().join("coordinator")).expect("it was there");
    let directory = first.data().to_string_lossy().into_owned();
    members.agent.muster(&["restore", &backup, "--data-dir", &directory]).ok();
    assert_eq!(
        members.agent.muster(&["restore", &backup, "--data-dir", &directory]).code,
        3,
        "a member's directory is not overwritten"
    );
    std::fs::write(members.places[0].data().join("token"), token).expect("room");
    members.places[0].coordinator_flags.clear();
    members.places[0].start(Role::Coordinator);
    let ticks = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    let before = ticks();
    until("the job goes on", || (ticks() > before + 3).then_some(()));
    members.agent.wait_for_phase("counting", "Running");
    assert_eq!(members.agent.object("counting")["metadata"]["uid"], uid);
    assert_eq!(members.agent.job("counting").expect("it is there")["restarts"], 0);
    std::fs::write(&gate, "").expect("room");
    members.agent.wait_for_phase("counting", "Succeeded");
    apply(&members, "afterwards");
    members.agent.wait_for_phase("afterwards", "Succeeded");
}
