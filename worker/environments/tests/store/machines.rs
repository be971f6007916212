//! Machines that lack something: the sentences that their users read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use muster_environments::{Error, Machine};

use crate::support::Site;

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// A Python that runs, but lacks the modules that make environments, as Debian's without python3-venv.
const WITHOUT_VENV: &str = "#!/bin/sh\necho 'MUSTER {\"program\": \"/usr/bin/python3\", \
    \"implementation\": \"cpython\", \"version\": \"3.11.2\", \"platform\": \"linux-x86_64\", \
    \"has_venv\": false}'\n";

#[test]
fn a_machine_without_python_says_what_to_install() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let variables = [("PATH", ""), ("HOME", home.path().to_str().expect("text"))];
    let site = Site::on(Machine::from_variables(variables));
    let error = site.ensure("six").expect_err("no Python");
    assert!(matches!(error, Error::NoPython { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "no Python 3.9 or newer was found (PATH is empty); install one (Debian, Ubuntu: apt install \
         python3 python3-venv; Fedora: dnf install python3) or put it in the PATH of the agent"
    );
    assert!(!error.is_transient());
}

#[test]
fn a_python_without_venv_says_what_to_install() {
    let home = tempfile::tempdir().expect("a temporary folder");
    program(home.path(), "python3", WITHOUT_VENV);
    let folder = home.path().to_str().expect("text");
    for variables in [
        vec![("PATH", folder), ("HOME", folder)],
        vec![("PATH", folder), ("HOME", folder), ("MUSTER_UV", "off")],
    ] {
        let site = Site::on(Machine::from_variables(variables));
        let error = site.ensure("six").expect_err("no venv");
        assert!(matches!(error, Error::NoVenv { .. }), "{error}");
        assert!(error.to_string().contains("apt install python3-venv"), "{error}");
    }
}

#[test]
fn a_muster_uv_that_is_no_uv_is_refused() {
    let home = tempfile::tempdir().expect("a temporary folder");
    program(home.path(), "old", "#!/bin/sh\necho uv 0.1.2\n");
    program(home.path(), "other", "#!/bin/sh\necho something else\n");
    program(home.path(), "broken", "#!/bin/sh\nexit 3\n");
    for (name, problem) in [
        ("old", "its version is 0.1.2"),
        ("other", "does not answer"),
        ("broken", "exit status 3"),
        ("missing", "it is no program"),
    ] {
        let program = home.path().join(name);
        let mut variables = crate::support::this_machine();
        variables.insert("MUSTER_UV".into(), program.clone().into());
        let site = Site::on(Machine::from_variables(variables));
        let error = site.ensure("six").expect_err("no uv");
        assert!(matches!(error, Error::BadUv { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(problem), "{text}");
        assert!(text.contains(&program.display().to_string()), "{text}");
    }
}

#[test]
fn a_root_that_cannot_be_made_is_named() {
    let error = muster_environments::EnvironmentStore::open(Path::new("/proc/nonexistent/x"))
        .expect_err("no folder can be made there");
    assert!(error.to_string().contains("/proc/nonexistent/x"), "{error}");
}
