//! Many jobs at once.

use muster_tests::{Job, Place, replica_processes, until, until_within};
use std::time::Duration;

const JOBS: usize = 200;

#[test]
fn two_hundred_jobs_submitted_at_once_all_finish() {
    let place = Place::up();
    let mut documents = String::new();
    for number in 0..JOBS {
        let path = Job::shell(&format!("job-{number}"), 0, "true").write(place.data());
        documents.push_str("---\n");
        documents.push_str(&std::fs::read_to_string(path).expect("it was written"));
        documents.push('\n');
    }
    let all = place.data().join("all.yaml");
    std::fs::write(&all, documents).expect("it can be written");
    let applied = place.muster(&["apply", "-f", &all.to_string_lossy(), "-o", "name"]).ok();
    assert_eq!(applied.stdout.lines().count(), JOBS);
    until_within(Duration::from_secs(300), "all jobs have succeeded", || {
        let list = place.muster(&["get", "jobs", "-o", "json"]).ok().json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let done = items.iter().filter(|job| {
            let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["type"] == "Succeeded" && c["status"] == "True")
        });
        (done.count() == JOBS).then_some(())
    });
    until("nothing is left", || replica_processes(place.data()).is_empty().then_some(()));
    let deleted = place.muster(&["delete", "-f", &all.to_string_lossy()]).ok();
    assert_eq!(deleted.stdout.lines().count(), JOBS);
}
