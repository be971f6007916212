use std::os::unix::fs::PermissionsExt;

use super::*;

/// A program that answers the probe as a Python of this version would.
fn fake_python(folder: &Path, name: &str, version: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    let json = format!(
        "{{\"program\": \"{}\", \"implementation\": \"cpython\", \"version\": \"{version}\", \
         \"platform\": \"linux-x86_64\", \"has_venv\": true}}",
        path.display()
    );
    fs::write(&path, format!("#!/bin/sh\necho 'MUSTER {json}'\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// A shim as pyenv leaves it for a version that is not active.
fn broken_shim(folder: &Path, name: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, "#!/bin/sh\necho 'command not found' >&2\nexit 127\n").expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn choose(home: &Path, wish: Option<&str>) -> Result<Choice, Error> {
    let machine = Machine::from_variables([
        ("PATH", home.join("bin").as_os_str()),
        ("HOME", home.as_os_str()),
        ("PYENV_ROOT", home.join("pyenv").as_os_str()),
    ]);
    let wish = wish.map(|wish| PythonWish::parse(wish).expect("a wish"));
    Interpreters::default().choose(wish.as_ref(), &machine, &Cancel::default())
}

fn version(choice: &Choice) -> &str {
    &choice.interpreter.version
}

#[test]
fn the_machines_python_is_taken_when_it_is_what_is_wanted() {
    let home = tempfile::tempdir().expect("a temporary folder");
    fake_python(&home.path().join("bin"), "python3", "3.11.7");
    fake_python(&home.path().join("bin"), "python3.11", "3.11.2");
    for wish in [None, Some("3.11"), Some(">=3.9,<3.12")] {
        let choice = choose(home.path(), wish).expect("a Python");
        assert_eq!((version(&choice), choice.notice.as_deref()), ("3.11.7", None), "{wish:?}");
    }
}

#[test]
fn another_version_is_found_beyond_shims_that_do_not_run() {
    let home = tempfile::tempdir().expect("a temporary folder");
    fake_python(&home.path().join("bin"), "python3", "3.11.7");
    broken_shim(&home.path().join("bin"), "python3.99");
    fake_python(&home.path().join("pyenv/versions/3.99.2/bin"), "python3.99", "3.99.2");
    fake_python(&home.path().join("pyenv/versions/3.99.10/bin"), "python3.99", "3.99.10");
    let choice = choose(home.path(), Some("3.99")).expect("a Python");
    assert_eq!((version(&choice), choice.notice.as_deref()), ("3.99.10", None));
}

#[test]
fn the_machines_python_is_used_with_a_notice_when_the_wanted_one_is_missing() {
    let home = tempfile::tempdir().expect("a temporary folder");
    fake_python(&home.path().join("bin"), "python3", "3.11.7");
    let choice = choose(home.path(), Some("3.98")).expect("a Python");
    assert_eq!(version(&choice), "3.11.7");
    let notice = choice.notice.expect("a notice");
    assert!(notice.contains("3.98") && notice.contains("3.11.7"), "{notice}");
}

#[test]
fn a_python_that_is_too_old_is_passed_over() {
    let home = tempfile::tempdir().expect("a temporary folder");
    fake_python(&home.path().join("bin"), "python3", "3.6.15");
    fake_python(&home.path().join("pyenv/versions/3.97.0/bin"), "python3.97", "3.97.0");
    let choice = choose(home.path(), None).expect("a Python");
    assert!(choice.interpreter.minor() >= PythonMinor::OLDEST, "{}", version(&choice));
}

#[test]
fn no_python_at_all_says_where_was_looked_and_what_to_do() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let machine =
        Machine::from_variables([("PATH", ""), ("HOME", &home.path().display().to_string())]);
    let error =
        Interpreters::default().choose(None, &machine, &Cancel::default()).expect_err("no Python");
    let text = error.to_string();
    assert!(text.contains("PATH is empty"), "{text}");
    assert!(text.contains("apt install python3"), "{text}");
}

#[test]
fn the_real_python_of_this_machine_answers_the_probe() {
    let machine = Machine::from_process();
    let choice = Interpreters::default()
        .choose(None, &machine, &Cancel::default())
        .expect("tests need a Python");
    assert!(is_program(&choice.interpreter.program));
    assert!(choice.interpreter.minor() >= PythonMinor::OLDEST);
}
