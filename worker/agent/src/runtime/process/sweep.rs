//! What is done about a replica whose shim was killed: everything that it left behind is ended, and its end
//! is written down.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_model::{Exit, ExitStatus};

use crate::machine::cgroup::Groups;
use crate::machine::processes;
use crate::shim::record::{self, EXIT, ExitRecord, Launch, SHIM, ShimProcess};

/// How long processes may take to die. One that takes longer hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(20);

const AGAIN: Duration = Duration::from_millis(5);

/// After how many rounds in which nothing is found nothing is left; see [`processes::kill_marked`].
const QUIET_ROUNDS: u32 = 2;

/// How a sweep ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) exit: Exit,
    /// Whether processes were left that could not be killed.
    pub(super) leftovers: bool,
}

/// Ends everything of a replica whose shim is gone, or does not answer, and answers how it ended. One that had been
/// ordered to stop is not to blame.
pub(super) async fn sweep(directory: &Path, (launch, after_stop): (&Launch, bool)) -> Swept {
    if let Ok(Some(shim)) = record::read::<ShimProcess>(directory, SHIM) {
        processes::kill_exactly(shim.pid, shim.started);
    }
    let clean = end_all(&launch.groups, &launch.marker).await;
    // The shim may have written its last word just before it went.
    let written = record::read::<ExitRecord>(directory, EXIT).ok().flatten();
    let exit = written.map(|record| record.exit).unwrap_or_else(|| {
        let exit = Exit {
            status: ExitStatus::Lost,
            after_stop,
        };
        let record = ExitRecord { exit: exit.clone() };
        if let Err(error) = record::write(directory, EXIT, &record) {
            tracing::warn!(directory = %directory.display(), %error, "cannot note that a replica is lost");
        }
        exit
    });
    Swept { exit, leftovers: !clean }
}

async fn end_all(groups: &Groups, marker: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = 0;
    loop {
        let (groups, marker) = (groups.clone(), marker.to_owned());
        let round = tokio::task::spawn_blocking(move || {
            if !groups.is_empty() {
                groups.kill();
            }
            processes::kill_marked(&marker) == 0 && groups.is_empty()
        });
        // Even to look at a process that hangs in the kernel may hang.
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(round) = tokio::time::timeout(left, round).await else { return false };
        quiet = if round.unwrap_or(false) { quiet + 1 } else { 0 };
        if quiet == QUIET_ROUNDS {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Removes control groups. They can be busy for a moment after their last process has died.
pub(super) async fn remove_groups(groups: Groups) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = groups.clone();
        let gone = tokio::task::spawn_blocking(move || now.remove()).await;
        if gone.unwrap_or(true) || Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Removes a replica's directory. What a container wrote into its volumes may be unwritable even to its
/// owner; then the way is opened first.
pub(super) fn remove_directory(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_ways(directory);
            fs::remove_dir_all(directory)
        }
        other => other,
    }
}

fn open_ways(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_ways(&entry.path());
        }
    }
}
