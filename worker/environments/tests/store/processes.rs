//! Many processes and threads with one store.

use muster_environments::{BuildContext, EnvironmentStore, Error, Machine, Phase};

use crate::support::{Site, order, python, spec};

/// The second process of the other tests; without an order, a test that a process can build at all.
#[test]
fn a_process_builds_what_it_is_told_to() {
    let Some((root, packages)) = order() else {
        let Some(site) = Site::new() else { return };
        let lines = site.process("six").finish();
        let last = lines.last().expect("lines");
        assert!(last.starts_with("READY true "), "{lines:?}");
        assert!(lines.iter().any(|line| line == "PHASE creating"), "{lines:?}");
        return;
    };
    let store = EnvironmentStore::open_on(&root, Machine::from_process()).expect("a store");
    let mut progress = |progress: muster_environments::Progress| {
        println!("MUSTER PHASE {}", progress.phase);
    };
    match store.ensure(&spec(&packages), &BuildContext::default(), &mut progress) {
        Ok(built) => println!("MUSTER READY {} {}", built.built_now, built.path.display()),
        Err(error) => println!("MUSTER FAILED {}", error.to_string().replace('\n', " ")),
    }
}

#[test]
fn one_of_many_processes_builds_and_the_others_wait_for_it() {
    let Some(site) = Site::new() else { return };
    let processes: Vec<_> = (0..5).map(|_| site.process("six, iniconfig, attrs")).collect();
    let pids: Vec<String> = processes.iter().map(|p| p.child.id().to_string()).collect();
    let lines: Vec<Vec<String>> = processes.into_iter().map(|p| p.finish()).collect();
    let ends: Vec<&String> = lines.iter().filter_map(|lines| lines.last()).collect();
    assert!(ends.iter().all(|end| end.starts_with("READY ")), "{lines:?}");
    let builders = ends.iter().filter(|end| end.starts_with("READY true")).count();
    assert_eq!(builders, 1, "{ends:?}");
    let waiting: Vec<&String> = lines
        .iter()
        .flatten()
        .filter(|line| line.starts_with("PHASE waiting for process "))
        .collect();
    assert!(!waiting.is_empty(), "{lines:?}");
    for line in waiting {
        assert!(pids.iter().any(|pid| line.contains(&format!("process {pid},"))), "{line}");
    }
}

#[test]
fn one_of_many_threads_builds_and_all_get_the_same() {
    let Some(site) = Site::new() else { return };
    let built: Vec<(bool, std::path::PathBuf)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let environment = site.ensure("six, packaging").expect("an environment");
                    (environment.built_now, environment.path)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(built.iter().filter(|(now, _)| *now).count(), 1, "{built:?}");
    assert!(built.iter().all(|(_, path)| *path == built[0].1));
    assert_eq!(python(&built[0].1, "import six, packaging; print(1)"), "1");
}

#[test]
fn different_environments_are_built_side_by_side() {
    let Some(site) = Site::new() else { return };
    std::thread::scope(|scope| {
        for packages in ["six", "iniconfig", "packaging"] {
            let site = &site;
            scope.spawn(move || {
                let (built, told) = site.ensure_told(packages);
                assert!(built.expect("an environment").built_now);
                let waited = told.iter().any(|p| matches!(p.phase, Phase::Waiting { .. }));
                assert!(!waited, "{told:?}");
            });
        }
    });
    assert_eq!(site.store.list().expect("a list").len(), 3);
}

#[test]
fn those_who_waited_for_a_build_that_failed_get_its_error() {
    let Some(site) = Site::new() else { return };
    let errors: Vec<Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| site.ensure("six==99").expect_err("no such version")))
            .collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let mut tried = 0;
    for error in &errors {
        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().contains("six==99"), "{error}");
        match error {
            Error::Unsatisfiable { .. } => tried += 1,
            Error::FailedElsewhere { pid, .. } => assert_eq!(*pid, std::process::id()),
            other => panic!("{other}"),
        }
    }
    assert!(tried >= 1, "{errors:?}");
    // Those who come later try themselves: the index may have the version now.
    let later = site.ensure("six==99").expect_err("still no such version");
    assert!(matches!(later, Error::Unsatisfiable { .. }), "{later}");
}
