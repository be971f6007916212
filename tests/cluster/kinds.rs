//! Every kind's example, as it stands: real programs that find each other by what their kind's operator would tell them.

use muster_tests::Place;

/// Runs an example; answers what it printed.
fn runs(file: &str) -> String {
    let path = format!("{}/../examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let outcome = Place::up().muster(&["run", &path]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    outcome.stdout
}

fn says(file: &str, lines: &[&str]) {
    let said = runs(file);
    for line in lines {
        assert!(said.contains(line), "{line:?} is missing: {said}");
    }
}

#[test]
fn all_tasks_of_a_tfjob_reach_each_other() {
    let said = runs("tfjob/tfjob.yaml");
    for task in ["chief 0 at", "worker 0 at", "worker 1 at", "ps 0 at"] {
        let met = said.lines().any(|line| line.contains(task) && line.ends_with("met 3 tasks"));
        assert!(met, "{task}: {said}");
    }
}

#[test]
fn servers_and_workers_of_an_mxjob_register_with_its_scheduler() {
    says("mxjob/mxjob.yaml", &["registered: server 0, worker 0, worker 1"]);
}

#[test]
fn a_jaxjob_fits_a_line_in_two_processes() {
    let line = |process| format!("process {process} of 2: y = 3.00 x + 1.00");
    says("jaxjob/jaxjob.yaml", &[&line(0), &line(1)]);
}

#[test]
fn an_xgboostjob_trains_one_model_in_all_replicas() {
    let said = runs("xgboostjob/xgboostjob.yaml");
    let loss = |rank: usize| {
        let begins = format!("rank {rank} of 3: loss ");
        said.lines().find_map(|line| Some(line.split_once(&begins)?.1.to_owned()))
    };
    assert!(loss(0).is_some(), "{said}");
    assert!(loss(0) == loss(1) && loss(0) == loss(2), "{said}");
}

#[test]
fn a_trainjob_sums_over_all_ranks() {
    let line = |rank| format!("rank {rank} of 4: the sum is 10");
    says("trainjob/trainjob.yaml", &[&line(0), &line(1), &line(2), &line(3)]);
}

#[test]
fn an_indexed_job_and_a_bare_pod_run_to_their_ends() {
    says("job/job.yaml", &["0 0", "1 1", "2 4"]);
    says("pod/pod.yaml", &["hello"]);
}
