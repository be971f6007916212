//! The command line, as people who know kubectl use it.

use std::process::Stdio;

use muster_tests::{Job, Outcome, Place, replica_processes, until};
use rustix::process::{Pid, Signal, kill_process};

fn path(place: &Place, name: &str) -> String {
    place.data().join(name).to_string_lossy().into_owned()
}

#[test]
fn a_flood_of_output_reaches_the_follower_whole() {
    let place = Place::up();
    let job = Job::shell("flood", 0, "seq -f '%.0f and some text to make it longer' 1 300000");
    let outcome = place.muster(&["run", &job.write(place.data()).to_string_lossy()]).ok();
    let mut expected = 0_u32;
    for line in outcome.stdout.lines() {
        expected += 1;
        let number = line.strip_prefix("[master-0] ").and_then(|rest| rest.split(' ').next());
        assert_eq!(number.and_then(|number| number.parse().ok()), Some(expected), "{line}");
    }
    assert_eq!(expected, 300_000);
}

#[test]
fn jobs_may_be_named_as_with_kubectl() {
    let place = Place::up();
    for name in ["one", "two", "three"] {
        let file = Job::shell(name, 0, "true").write(place.data());
        place.muster(&["apply", "-f", &file.to_string_lossy()]).ok();
    }
    let names = ["pytorchjob", "one", "two"];
    let waited = place.muster(&[&["wait", "--for=condition=Succeeded"], &names[..]].concat()).ok();
    assert_eq!(waited.stdout, "one condition met\ntwo condition met\n");
    let described = place.muster(&["describe", "pytorchjob", "one"]).ok();
    assert!(described.stdout.contains("Succeeded"), "{described:#?}");
    assert_eq!(place.muster(&["describe", "one", "two"]).code, 2);
    // What is there goes, and what is not is told.
    let deleted = place.muster(&["delete", "jobs", "one", "missing", "two"]);
    assert_eq!(deleted.code, 3, "{deleted:#?}");
    assert_eq!(deleted.stdout, "pytorchjob/one deleted\npytorchjob/two deleted\n");
    assert!(deleted.stderr.contains("missing not found"), "{deleted:#?}");
    place.muster(&["delete", "pytorchjob/three"]).ok();
}

#[test]
fn a_directory_is_applied_whole_or_not_at_all() {
    let place = Place::up();
    let folder = place.data().join("manifests");
    std::fs::create_dir(&folder).expect("room for a directory");
    std::fs::write(folder.join("README.txt"), "not a manifest").expect("room");
    let nothing = place.muster(&["apply", "-f", &path(&place, "manifests")]);
    assert_eq!(nothing.code, 3, "{nothing:#?}");
    let _good = Job::shell("good", 0, "true").write(&folder);
    let bad = Job::shell("zbad", 0, "true")
        .with("/spec/pytorchReplicaSpecs/Master/replicas", (-1).into())
        .write(&folder);
    let refused = place.muster(&["apply", "-f", &path(&place, "manifests")]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("zbad.json"), "{refused:#?}");
    assert!(refused.stderr.contains("nothing was applied"), "{refused:#?}");
    let list = place.muster(&["get", "jobs", "-o", "json"]).ok().json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
    std::fs::remove_file(bad).expect("it is there");
    place.muster(&["apply", "-f", &path(&place, "manifests")]).ok();
    place.wait_for_phase("good", "Succeeded");
}

#[test]
fn a_manifest_of_a_job_that_has_changed_since_is_not_applied() {
    let place = Place::up();
    let file = Job::shell("versioned", 0, "exec sleep 1000").write(place.data());
    place.muster(&["apply", "-f", &file.to_string_lossy()]).ok();
    place.wait_for_phase("versioned", "Running");
    let was = place.object("versioned");
    let saved = place.data().join("saved.json");
    let apply = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = was.clone();
        change(&mut manifest);
        std::fs::write(&saved, manifest.to_string()).expect("room");
        place.muster(&["apply", "-f", &saved.to_string_lossy()])
    };
    let suspended = |yes: bool| {
        move |manifest: &mut serde_json::Value| {
            manifest["spec"]["runPolicy"]["suspend"] = yes.into();
        }
    };
    apply(&suspended(true)).ok();
    place.wait_for_phase("versioned", "Suspended");
    let overtaken = apply(&suspended(false));
    assert_eq!(overtaken.code, 3, "{overtaken:#?}");
    assert!(overtaken.stderr.contains("M2002"), "{overtaken:#?}");
    let another = apply(&|manifest| {
        manifest["metadata"]["uid"] = "1-2-3".into();
        manifest["metadata"]["resourceVersion"] = "".into();
    });
    assert!(another.stderr.contains("deleted and created anew"), "{another:#?}");
    // Commands that change one thing take the job as it is, and make none.
    place.muster(&["resume", "versioned"]).ok();
    place.wait_for_phase("versioned", "Running");
    place.muster(&["delete", "versioned"]).ok();
    assert_eq!(place.muster(&["resume", "versioned"]).code, 3);
    assert!(place.job("versioned").is_none());
}

#[test]
fn an_interrupt_suspends_the_job_and_ends_the_command() {
    let place = Place::up();
    let file = Job::shell("held", 1, "echo up; exec sleep 1000").write(place.data());
    let run = place
        .command(&["run", &file.to_string_lossy()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("muster runs");
    place.wait_for_phase("held", "Running");
    let pid = i32::try_from(run.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::INT).expect("it runs");
    let outcome = Outcome::of(run.wait_with_output().expect("it is our child"));
    assert_eq!(outcome.code, 130, "{outcome:#?}");
    assert!(outcome.stderr.contains("muster resume held"), "{outcome:#?}");
    place.wait_for_phase("held", "Suspended");
    until("nothing is left", || replica_processes(place.data()).is_empty().then_some(()));
    place.muster(&["delete", "held"]).ok();
}

#[test]
fn a_bundle_for_whoever_helps_has_everything_but_secrets() {
    let place = Place::up();
    let job = Job::shell("mine", 0, "echo hush-hush").env("PASSWORD", "hush-hush");
    place.muster(&["run", &job.write(place.data()).to_string_lossy()]).ok();
    let directory = place.data().join("bundle");
    let bundle = ["debug", "bundle", &*directory.to_string_lossy()];
    place.muster(&bundle).ok();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&directory).expect("it was made").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("text");
        assert!(!text.contains("hush-hush"), "{:?}", entry.path());
        assert!(!text.contains("notAvailable"), "{:?}: {text}", entry.path());
        names.push(entry.file_name().into_string().expect("a name"));
    }
    for name in
        ["jobs.json", "nodes.json", "events.json", "status.json", "members.json", "files.json"]
    {
        assert!(names.iter().any(|one| one == name), "{name} is not among {names:?}");
    }
    let again = place.muster(&bundle);
    assert!(again.code == 3 && again.stderr.contains("M5009"), "{again:#?}");
}
