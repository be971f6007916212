//! The argument list of a container, and where its program and its starting directory may lie.

use muster_model::ContainerSpec;

use super::environment::value_of;
use super::error::Error;
use super::expand::expand;

/// The argument list: `command` and then `args`, each with its `$(NAME)` replaced from `environment`.
///
/// # Errors
/// When `command` is empty, or an argument holds a NUL byte.
pub fn argv(
    container: &ContainerSpec,
    environment: &[(String, String)],
) -> Result<Vec<String>, Error> {
    if container.command.first().is_none_or(|program| program.is_empty()) {
        return Err(Error::NoCommand {
            container: container.name.clone(),
            image: container.image.clone(),
        });
    }
    let words = container.command.iter().chain(&container.args);
    let argv: Vec<String> =
        words.map(|word| expand(word, |name| value_of(environment, name))).collect();
    match argv.iter().position(|word| word.contains('\0')) {
        Some(index) => {
            Err(Error::Nul { container: container.name.clone(), what: format!("argument {index}") })
        }
        None => Ok(argv),
    }
}

/// The files that `program` may be, in the order in which they are tried: the program itself when it
/// names a folder, relative to `directory`; otherwise one for each folder of `path`. An empty
/// folder of `path` is `directory`, as in a shell.
#[must_use]
pub fn candidates(program: &str, path: &str, directory: &str) -> Vec<String> {
    let within = |folder: &str| match folder {
        "" => directory.to_owned(),
        folder if folder.starts_with('/') => folder.to_owned(),
        folder => join(directory, folder),
    };
    if program.starts_with('/') {
        return vec![program.to_owned()];
    }
    if program.contains('/') {
        return vec![join(directory, program)];
    }
    path.split(':').map(|folder| join(&within(folder), program)).collect()
}

fn join(folder: &str, rest: &str) -> String {
    format!("{}/{rest}", folder.trim_end_matches('/'))
}

/// Where a container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// In the directory that its manifest names. It must be there.
    Named(String),
    /// In the directory that the job was submitted from, if this node has it.
    Submitted(String),
    /// In a directory of the replica's own: nothing is known.
    Own,
}

/// Where a container starts: its `workingDir`, a relative one taken from the directory that the job was
/// submitted from; without one, that directory itself.
#[must_use]
pub fn start_directory(container: &ContainerSpec, submit_dir: Option<&str>) -> Start {
    let named = container.working_dir.as_deref().filter(|dir| !dir.is_empty());
    match (named, submit_dir) {
        (Some(dir), Some(base)) if !dir.starts_with('/') => Start::Named(join(base, dir)),
        (Some(dir), _) => Start::Named(dir.to_owned()),
        (None, Some(base)) => Start::Submitted(base.to_owned()),
        (None, None) => Start::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(command: &[&str], args: &[&str]) -> ContainerSpec {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        ContainerSpec {
            name: "c".into(),
            image: "python:3.12".into(),
            command: words(command),
            args: words(args),
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn arguments_follow_the_command_and_are_expanded() {
        let environment = vec![("PORT".to_owned(), "80".to_owned())];
        assert_eq!(
            argv(
                &container(&["serve", "$(PORT)"], &["--p=$(PORT)", "$$(PORT)", "$(X)"]),
                &environment
            )
            .unwrap(),
            ["serve", "80", "--p=80", "$(PORT)", "$(X)"]
        );
    }

    #[test]
    fn arguments_alone_are_refused_with_the_image_named() {
        let error = argv(&container(&[], &["train.py"]), &[]).unwrap_err();
        assert!(error.to_string().contains("python:3.12"), "{error}");
        assert!(argv(&container(&[""], &[]), &[]).is_err());
    }

    #[test]
    fn a_nul_byte_names_its_argument() {
        let error = argv(&container(&["a"], &["b\0"]), &[]).unwrap_err();
        assert!(error.to_string().contains("argument 1"), "{error}");
    }

    #[test]
    fn programs_are_looked_for_like_in_a_shell() {
        for (program, path, expected) in [
            ("/bin/ls", "/a", vec!["/bin/ls"]),
            ("./run", "/a", vec!["/work/./run"]),
            ("bin/run", "/a", vec!["/work/bin/run"]),
            ("ls", "/a:/b/", vec!["/a/ls", "/b/ls"]),
            ("ls", "/a::rel", vec!["/a/ls", "/work/ls", "/work/rel/ls"]),
        ] {
            assert_eq!(candidates(program, path, "/work"), expected, "{program} in {path}");
        }
    }

    #[test]
    fn a_relative_start_is_taken_from_the_submission_directory() {
        let at = |dir: Option<&str>, base| {
            let mut one = container(&["a"], &[]);
            one.working_dir = dir.map(str::to_owned);
            start_directory(&one, base)
        };
        assert_eq!(at(Some("sub"), Some("/home/a")), Start::Named("/home/a/sub".into()));
        assert_eq!(at(Some("/srv"), Some("/home/a")), Start::Named("/srv".into()));
        assert_eq!(at(None, Some("/home/a")), Start::Submitted("/home/a".into()));
        assert_eq!(at(Some(""), None), Start::Own);
        assert_eq!(at(Some("sub"), None), Start::Named("sub".into()));
    }
}
