//! Layers: what a job installs for itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_environments::{Layer, Machine};

use crate::support::{Site, python};

/// Runs a program as a container with this layer finds it.
fn run(layer: &Layer, program: &str, arguments: &[&str]) -> String {
    run_with(layer, layer.variables.clone(), (program, arguments))
}

fn run_with(
    layer: &Layer,
    variables: BTreeMap<String, String>,
    (program, arguments): (&str, &[&str]),
) -> String {
    let own = layer.bin.iter().map(PathBuf::as_path);
    let path = own.chain([Path::new("/usr/bin"), Path::new("/bin")]);
    let path = std::env::join_paths(path).expect("no colons in it");
    let output = Command::new("/usr/bin/env")
        .arg(program)
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .envs(variables)
        .envs(index())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// What pip needs to know to reach the index.
fn index() -> Vec<(OsString, OsString)> {
    let wanted = |name: &str| {
        let name = name.to_ascii_uppercase();
        name.starts_with("PIP_")
            || name.ends_with("_PROXY")
            || name.starts_with("SSL_")
            || name == "HOME"
    };
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)).collect()
}

#[test]
fn what_is_installed_in_a_layer_stays_out_of_the_environment() {
    let Some(site) = Site::new() else { return };
    let base = site.ensure("six==1.16.0, pygments").expect("an environment");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = base.layer(&folder.path().join("layer")).expect("a layer");
    let seen = |script: &str| python(&layer.path, script);
    assert_eq!(layer.variables["VIRTUAL_ENV"], layer.path.display().to_string());
    assert_eq!(seen("import sys; print(sys.prefix)"), layer.path.display().to_string());
    assert_eq!(seen("import six; print(six.__version__)"), "1.16.0");

    // pip takes what is below as installed, and puts the rest in the layer.
    let text = run(&layer, "pip", &["install", "six", "iniconfig"]);
    assert!(text.contains("Requirement already satisfied: six"), "{text}");
    let origin = seen("import iniconfig; print(iniconfig.__file__)");
    assert!(origin.starts_with(&layer.path.display().to_string()), "{origin}");

    // Another version hides the one below, which stays what it was.
    run(&layer, "python", &["-m", "pip", "install", "six==1.17.0"]);
    assert_eq!(seen("import six; print(six.__version__)"), "1.17.0");
    assert_eq!(python(&base.path, "import six; print(six.__version__)"), "1.16.0");
    let below = python(&base.path, "import importlib.util as u; print(u.find_spec('iniconfig'))");
    assert_eq!(below, "None");

    // A second layer knows nothing of the first.
    let other = base.layer(&folder.path().join("other")).expect("a layer");
    assert_eq!(python(&other.path, "import six; print(six.__version__)"), "1.16.0");
}

#[test]
fn a_layer_may_lie_anywhere_and_its_pip_still_installs_into_it() {
    // Python and pip alone, and a package of our own: nothing of this asks an index.
    let site = Site::on(Machine::from_variables(crate::support::this_machine()));
    let base = site.ensure("").expect("an environment");
    let before = base.path.join("lib");
    let count = || crate::support::files_below(&before);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wheel = crate::wheel::write(folder.path());
    let files = count();
    for place in ["short".to_owned(), "x".repeat(200), "with a space and a 'quote'".to_owned()] {
        let layer = base.layer(&folder.path().join(&place)).expect("a layer");
        run(&layer, "pip", &["install", "--no-index", wheel.to_str().expect("text")]);
        let origin = python(&layer.path, "import tinypkg; print(tinypkg.__file__)");
        assert!(origin.starts_with(&layer.path.display().to_string()), "{place}: {origin}");
        // Its own command runs with the layer's Python too.
        assert_eq!(run(&layer, "tiny", &[]).trim(), layer.path.display().to_string());
    }
    let below = python(&base.path, "import importlib.util as u; print(u.find_spec('tinypkg'))");
    assert_eq!(below, "None");
    assert_eq!(count(), files, "nothing was added to the environment");
}

#[test]
fn scripts_of_the_environment_run_with_the_layers_python() {
    let site = Site::on(Machine::from_variables(crate::support::this_machine()));
    let base = site.ensure("").expect("an environment");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layers: Vec<Layer> = std::thread::scope(|scope| {
        let make = |name: &'static str| {
            let (base, folder) = (&base, &folder);
            scope.spawn(move || base.layer(&folder.path().join(name)).expect("a layer"))
        };
        let threads: Vec<_> = ["a", "b", "c", "d"].into_iter().map(make).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for layer in &layers {
        let packages = format!("{}/", layer.path.display());
        let debug = ["debug", "--no-color"];
        let told = run(layer, "pip", &debug);
        assert!(told.contains(&format!("sys.executable: {packages}bin/python")), "{told}");
        // A program may start another with little more than PATH.
        let bare = BTreeMap::new();
        let told = run_with(layer, bare, ("pip", &debug));
        assert!(told.contains(&format!("sys.executable: {packages}bin/python")), "{told}");
        // To activate what is active changes nothing.
        let activated = ". \"$VIRTUAL_ENV/bin/activate\" && command -v pip";
        let pip = run(layer, "sh", &["-c", activated]);
        assert_eq!(pip.trim(), layer.bin[1].join("pip").display().to_string());
    }
    let left = fs::read_dir(&base.path).expect("a folder").flatten();
    let hidden = left.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count();
    assert_eq!(hidden, 0, "those who came second have cleaned up");
}

#[test]
fn a_layer_is_made_in_milliseconds_and_takes_next_to_nothing() {
    let Some(site) = Site::new() else { return };
    let base = site.ensure("six").expect("an environment");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = base.layer(&folder.path().join("layer")).expect("a layer");
    let (files, bytes) = crate::support::files_below(&layer.path);
    assert!(files < 20 && bytes < 50_000, "{files} files, {bytes} bytes");
}
