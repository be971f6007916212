//! The scripts of an environment (torchrun, pip) as its layers run them.
//!
//! An installer writes into a script's first line which Python runs it: the environment's. There, pip would
//! install into the environment. So the scripts are copied, once for all layers, into a folder of the environment
//! that comes before its `bin` in a layer's PATH; the copies are run by the Python of the layer in which they were
//! started. Which one that is says a variable, or else PATH: a program may start another with an environment
//! of its own making.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::environment::Environment;
use crate::error::Error;
use crate::process::ProcessId;

/// The variable that names the folder of the layer.
pub(crate) const LAYER: &str = "MUSTER_LAYER";

/// The folder of the copies, in that of the environment.
const FOLDER: &str = "layer-bin";

/// What a copy begins with, for a shell. To Python these lines are a text without effect (the way of
/// `pip/_vendor/distlib/scripts.py`).
const HEAD: &str =
    "#!/bin/sh\n'''exec' \"${MUSTER_LAYER:+$MUSTER_LAYER/bin/}python\" \"$0\" \"$@\"\n' '''\n";

/// A script of an installer is a dozen lines; anything longer than this is none.
const LONGEST: u64 = 64 * 1024;

/// The folder of an environment's copies. It is made when the first layer is.
pub(crate) fn of(base: &Environment) -> Result<PathBuf, Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = base.path.join(FOLDER);
    if folder.exists() {
        return Ok(folder);
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let own = format!(".{FOLDER}-{}-{number}", ProcessId::current().file_name());
    let made = base.path.join(own);
    copy_all(base, &made)?;
    match fs::rename(&made, &folder) {
        Ok(()) => Ok(folder),
        // Another process was faster.
        Err(error)
            if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) =>
        {
            fs::remove_dir_all(&made).map_err(Error::io("delete", &made))?;
            Ok(folder)
        }
        Err(error) => Err(Error::io("rename", &made)(error)),
    }
}

fn copy_all(base: &Environment, to: &Path) -> Result<(), Error> {
    fs::create_dir(to).map_err(Error::io("create", to))?;
    let python = base.bin.join("python").display().to_string();
    let entries = fs::read_dir(&base.bin).map_err(Error::io("read the folder", &base.bin))?;
    for entry in entries.flatten() {
        let Some(script) = read(&entry.path()) else {
            continue;
        };
        let Some(body) = body_of(&script, &python) else {
            continue;
        };
        let copy = to.join(entry.file_name());
        write(&copy, &format!("{HEAD}{body}")).map_err(Error::io("write", &copy))?;
    }
    let done = fs::File::open(to).and_then(|folder| folder.sync_all());
    done.map_err(Error::io("force to disk", to))
}

/// Writes a program so that it is whole also after a power cut: an empty one would succeed and do nothing.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file that is a script, as far as its first characters tell.
fn read(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    text.starts_with("#!").then_some(text)
}

/// What follows the head of a script that `python` runs; `None` for any other script.
fn body_of<'s>(script: &'s str, python: &str) -> Option<&'s str> {
    let (first, rest) = script.split_once('\n')?;
    let command = first.strip_prefix("#!")?.trim();
    if names(command, python) {
        return Some(rest);
    }
    // Where no first line can name it, because it is long or has a space.
    let (second, rest) = rest.split_once('\n')?;
    let (third, rest) = rest.split_once('\n')?;
    let quoted = second.strip_prefix("'''exec' ")?.strip_suffix(" \"$0\" \"$@\"")?;
    let told = command == "/bin/sh" && third.starts_with("' '''");
    (told && names(quoted.trim_matches(['\'', '"']), python)).then_some(rest)
}

/// Whether a command is `…/bin/python`, or that with a version: `…/bin/python3.11`.
fn names(command: &str, python: &str) -> bool {
    let suffix = command.strip_prefix(python);
    suffix.is_some_and(|suffix| suffix.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_the_environment_are_told_from_others() {
        let python = "/env/bin/python";
        for (head, is_one) in [
            ("#!/env/bin/python\n", true),
            ("#!/env/bin/python3.11\n", true),
            ("#! /env/bin/python3 \n", true),
            ("#!/env/bin/python-config\n", false),
            ("#!/env/bin/pythonw\n", false),
            ("#!/usr/bin/env python\n", false),
            ("#!/bin/sh\n'''exec' \"/env/bin/python\" \"$0\" \"$@\"\n' '''\n", true),
            ("#!/bin/sh\n'''exec' /env/bin/python3 \"$0\" \"$@\"\n' '''\n", true),
            ("#!/bin/sh\n'''exec' '/env/bin/python' \"$0\" \"$@\"\n' '''\n", true),
            ("#!/bin/sh\n'''exec' \"/other/python\" \"$0\" \"$@\"\n' '''\n", false),
            ("#!/bin/sh\necho hello\nexit\n", false),
        ] {
            let script = format!("{head}import x\n");
            assert_eq!(body_of(&script, python), is_one.then_some("import x\n"), "{script}");
        }
        assert_eq!(body_of("#!/env/bin/python", python), None);
    }

    #[test]
    fn a_copy_names_the_variable_of_the_layer() {
        assert!(HEAD.contains(&format!("${LAYER}/bin/")));
    }
}
