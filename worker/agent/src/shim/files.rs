//! The files that the kind of a job gives to its replicas, such as a host file of MPI.
//!
//! They lie below a folder in the replica's directory, in the layout that they would have in a container; variables name
//! them with that folder in front. Their contents list the replicas of a generation, so that they are written when it
//! opens, and anew in the next one, which has a directory of its own.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use muster_agent_core::launch;
use muster_model::{FileTemplate, GenerationContext};

use super::failure::Failure;
use super::program::{Container, Moment, inputs};
use super::record::{FILES, Launch};

/// What stands in front of the paths of the files; empty where there are none. `work` is a neighbour of their
/// folder.
pub(super) fn root(launch: &Launch, work: &Path) -> String {
    match launch.spec.role.files.as_slice() {
        [] => String::new(),
        _ => work.with_file_name(FILES).to_string_lossy().into_owned(),
    }
}

/// Writes the files of an open generation. `main` is the container whose view of the gang they show.
pub(super) fn write(
    launch: &Launch,
    main: Container<'_>,
    (opened, work): (&GenerationContext, &Path),
) -> Result<(), Failure> {
    let root = root(launch, work);
    let moment = Moment { opened: Some(opened), local_rank: 0 };
    for file in &launch.spec.role.files {
        let text = launch::fill(&file.content, &inputs(launch, main, (moment, &root)));
        put(Path::new(&root), file, &text).map_err(|error| {
            Failure::passing(format!("cannot write the job's file {}: {error}", file.path))
        })?;
    }
    Ok(())
}

fn put(root: &Path, file: &FileTemplate, text: &str) -> io::Result<()> {
    let path = root.join(inside(&file.path)?);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // It may be one that even its owner must not write to.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(file.mode & 0o777))
}

/// An absolute path as one below a folder.
fn inside(path: &str) -> io::Result<PathBuf> {
    let mut parts = Path::new(path).components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let rest = parts.as_path();
    let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    if is_absolute && is_plain && rest.file_name().is_some() {
        return Ok(rest.to_owned());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not that of a file"))
}

#[cfg(test)]
mod tests {
    use muster_model::Template;

    use super::*;

    fn file(path: &str, mode: u32) -> FileTemplate {
        FileTemplate { path: path.into(), mode, content: Template::text("") }
    }

    #[test]
    fn files_have_their_place_their_mode_and_the_latest_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = file("/etc/mpi/run.sh", 0o555);
        for text in ["first", "second"] {
            put(folder.path(), &script, text).expect("it is written");
        }
        let path = folder.path().join("etc/mpi/run.sh");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "second");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
    }

    #[test]
    fn files_stay_below_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["relative", "/", "/a/../../b", "/..", ""] {
            assert!(put(folder.path(), &file(path, 0o444), "").is_err(), "{path}");
        }
    }
}
