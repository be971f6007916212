//! Logs while they are written, as `muster run` shows them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use muster_tests::{Job, Place, Role};
use serde_json::json;

/// `muster run` of a job.
struct Follower {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Follower {
    fn start(place: &Place, job: Job) -> Self {
        let file = job.write(place.data());
        let mut command = place.command(&["run", &file.to_string_lossy()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary is built");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a pipe can be read");
        line.trim_end().to_owned()
    }

    /// What is left of the output, once the job has succeeded.
    fn finish(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("a pipe can be read");
        assert!(self.child.wait().expect("it is ours").success(), "{rest}");
        rest
    }
}

/// A script that says something, waits for a file, and says something else.
fn gated(gate: &std::path::Path) -> String {
    format!("echo before; until [ -e '{}' ]; do sleep 0.05; done; echo after", gate.display())
}

#[test]
fn an_init_container_is_heard_while_it_runs() {
    let place = Place::up();
    let gate = place.data().join("gate");
    let script = gated(&gate);
    let job = Job::shell("inits", 0, "echo main").each_template(|template| {
        template["spec"]["initContainers"] = json!([
            {"name": "fetch", "image": "busybox", "command": ["sh", "-c", script]}
        ]);
    });
    let mut follower = Follower::start(&place, job);
    // The container waits for a file that is only made once this line was seen.
    assert_eq!(follower.line(), "[master-0 fetch] before");
    std::fs::write(&gate, "").expect("room for a file");
    assert_eq!(follower.finish(), "[master-0 fetch] after\n[master-0] main\n");
}

#[test]
fn logs_are_followed_through_restarts_of_the_coordinator() {
    let mut place = Place::apart();
    let gate = place.data().join("gate");
    let job = Job::shell("kept", 0, &gated(&gate));
    place.muster(&["apply", "-f", &job.write(place.data()).to_string_lossy()]).ok();
    place.wait_for_phase("kept", "Running");
    let follow = place
        .command(&["logs", "-f", "kept"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("muster runs");
    for orderly in [true, false] {
        if orderly {
            place.stop(Role::Coordinator)
        } else {
            place.kill(Role::Coordinator)
        }
        place.start(Role::Coordinator);
        place.wait_until_ready();
    }
    std::fs::write(&gate, "").expect("room");
    place.wait_for_phase("kept", "Succeeded");
    let output = muster_tests::Outcome::of(follow.wait_with_output().expect("it ends")).ok();
    assert_eq!(output.stdout, "[master-0] before\n[master-0] after\n", "each line once");
}

#[test]
fn a_follower_misses_nothing_when_an_agent_is_killed_and_ends_with_the_job() {
    let mut place = Place::apart();
    let gate = place.data().join("gate");
    let mut follower = Follower::start(&place, Job::shell("agents", 0, &gated(&gate)));
    assert_eq!(follower.line(), "[master-0] before");
    place.kill(Role::Agent);
    place.start(Role::Agent);
    std::fs::write(&gate, "").expect("room for a file");
    assert_eq!(follower.finish(), "[master-0] after\n");
}
