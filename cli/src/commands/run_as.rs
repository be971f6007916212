//! Becoming another user before an agent starts, for good.
//!
//! Not the ranks alone but the whole agent: it builds environments, and whoever installs packages runs their code.

use std::ffi::CString;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::unistd::{Uid, User, chown, geteuid, initgroups, setgid, setuid};

use crate::exit::Failure;

/// The user that an agent shall run as; `None` when it stays who it is.
pub(super) fn wanted(named: Option<&str>, is_shared: bool) -> Result<Option<User>, Failure> {
    let own = geteuid();
    let Some(name) = named else {
        if own.is_root() && is_shared {
            return Err(Failure::usage(
                "an agent that root starts would run everybody's jobs as root; name the user that they run as with \
                 --run-as USER, or say --run-as root if that is what you want",
            ));
        }
        return Ok(None);
    };
    let user = User::from_name(name)
        .map_err(|error| Failure::usage(format!("--run-as {name}: {error}")))?;
    let user = user.ok_or_else(|| {
        Failure::usage(format!("--run-as {name}: there is no such user on this machine"))
    })?;
    if user.uid == own {
        return Ok(None);
    }
    if !own.is_root() {
        return Err(Failure::usage(format!(
            "--run-as {name}: only root can start an agent as somebody else"
        )));
    }
    Ok(Some(user))
}

/// Becomes that user. What lies in the data directory must be that user's, or the directory be new.
pub(super) fn become_user(user: &User, data: &Path) -> Result<(), Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::unreachable("M3001", format!("cannot become {}: {what}: {error}", user.name))
    };
    if !data.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(|error| failed(&data.display().to_string(), &error))?;
        chown(data, Some(user.uid), Some(user.gid)).map_err(|error| failed("chown", &error))?;
    }
    let name = CString::new(user.name.as_str()).map_err(|error| failed("its name", &error))?;
    initgroups(&name, user.gid).map_err(|error| failed("its groups", &error))?;
    setgid(user.gid).map_err(|error| failed("its group", &error))?;
    setuid(user.uid).map_err(|error| failed("its id", &error))?;
    // A way back would be a way for every rank.
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(failed("root could be had back", &"refusing to go on"));
    }
    Ok(())
}

/// A user's own variables in place of root's.
pub(super) fn variables_of(user: &User, variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_personal = |name: &str| {
        matches!(name, "HOME" | "USER" | "LOGNAME" | "SHELL" | "MAIL" | "TMPDIR")
            || name.starts_with("XDG_")
    };
    let own = [
        ("HOME", user.dir.to_string_lossy().into_owned()),
        ("USER", user.name.clone()),
        ("LOGNAME", user.name.clone()),
        ("SHELL", user.shell.to_string_lossy().into_owned()),
    ];
    let kept = variables.into_iter().filter(|(name, _)| !is_personal(name));
    kept.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}
