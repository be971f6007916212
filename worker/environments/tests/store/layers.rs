//! Layers: what a job installs for itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Site, python};

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .envs(crate::support::this_machine())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program:?} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
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
    let pip = layer.bin[0].join("pip");
    let text = run(&pip, &["install", "six", "iniconfig"]);
    assert!(text.contains("Requirement already satisfied: six"), "{text}");
    let origin = seen("import iniconfig; print(iniconfig.__file__)");
    assert!(origin.starts_with(&layer.path.display().to_string()), "{origin}");

    // Another version hides the one below, which stays what it was.
    run(&layer.bin[0].join("python"), &["-m", "pip", "install", "six==1.17.0"]);
    assert_eq!(seen("import six; print(six.__version__)"), "1.17.0");
    assert_eq!(python(&base.path, "import six; print(six.__version__)"), "1.16.0");
    let below = python(&base.path, "import importlib.util as u; print(u.find_spec('iniconfig'))");
    assert_eq!(below, "None");

    // A second layer knows nothing of the first.
    let other = base.layer(&folder.path().join("other")).expect("a layer");
    assert_eq!(python(&other.path, "import six; print(six.__version__)"), "1.16.0");
}

#[test]
fn scripts_of_the_environment_run_with_the_layers_python() {
    let Some(site) = Site::new() else { return };
    let base = site.ensure("pygments").expect("an environment");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = base.layer(&folder.path().join("layer")).expect("a layer");
    let script = layer.bin[0].join("pygmentize");
    let first = fs::read_to_string(&script).expect("a script");
    let python = layer.bin[0].join("python");
    assert_eq!(first.lines().next(), Some(format!("#!{}", python.display()).as_str()));
    assert!(run(&script, &["-V"]).contains("Pygments"));
}

#[test]
fn a_layer_is_made_in_milliseconds_and_takes_next_to_nothing() {
    let Some(site) = Site::new() else { return };
    let base = site.ensure("six").expect("an environment");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = base.layer(&folder.path().join("layer")).expect("a layer");
    let mut files = 0;
    let mut bytes = 0;
    let mut folders = vec![layer.path];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let metadata = entry.metadata().expect("a file");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                bytes += metadata.len();
            }
        }
    }
    assert!(files < 20 && bytes < 50_000, "{files} files, {bytes} bytes");
}
