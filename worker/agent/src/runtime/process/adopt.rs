//! What an agent finds in its data directory when it starts.
//!
//! | what lies there | what it means | what is done |
//! |---|---|---|
//! | no launch file | the preparation was broken off before any process was started | it is removed |
//! | an end | the replica has ended | it is told |
//! | somebody listens on the socket | its shim lives | it is asked, and followed from then on |
//! | nobody does, and no shim was ever there | as without a launch file | it is removed |
//! | nobody does, but a shim was there | the shim was killed, or the machine restarted | what is left is ended, and the replica told as lost |

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_agent_core::Observation;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::directory;
use super::replica::{self, Origin};
use super::shared::Shared;
use super::shim_link::ShimLink;
use super::sweep;
use crate::runtime::contract::Adopted;
use crate::shim::protocol::{Report, Stage};
use crate::shim::record::{self, EXIT, ExitRecord, LAUNCH, Launch, SHIM, ShimProcess};

/// How long the shims may take to answer, all of them together. One that does not is taken for dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long each of them has, however late its turn comes.
const LEAST: Duration = Duration::from_secs(1);

/// Why a runtime cannot be opened.
#[derive(Debug, Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("cannot use {path}: {source}; name another directory, or make it writable")]
    Directory {
        /// The directory, or a path in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a replica left cannot be understood.
    #[error(
        "the replica in {path} cannot be understood: {source}; it may still run, so this agent does not start beside it: \
         start the version of Muster that began it, or end its processes and remove that directory"
    )]
    Replica {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent runs.
    #[error(
        "{path} is in use by another agent; stop it, or give this one a data directory of its own"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// A replica's directory, as far as it can be told without asking.
enum Found {
    Incomplete,
    Ended(Box<Launch>, ExitRecord),
    Listening(Box<Launch>, std::os::unix::net::UnixStream),
    Lost(Box<Launch>),
}

/// Finds every replica, begins the tasks of those that are to be kept, and cleans up after the others.
pub(super) async fn adopt(shared: &Arc<Shared>) -> Result<Vec<Adopted>, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut adopted = Vec::new();
    let mut known = BTreeSet::new();
    let mut lost_ones = Vec::new();
    // All are looked at before any is asked, and what is lost is swept after that: sweeping takes its time.
    for (path, found) in look(shared)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match found {
            Found::Incomplete => {
                info!(directory = %path.display(), "an unfinished preparation is removed");
                remove(&path);
                continue;
            }
            Found::Ended(launch, record) => {
                adopted.push(ended(shared, launch, Observation::Exited(record.exit)));
            }
            Found::Listening(launch, stream) => {
                let link = ShimLink::new(stream).ok();
                // A slow one must not cost the next one its life.
                let own = deadline.max(Instant::now() + LEAST);
                match ask(shared, launch, link, own).await {
                    Ok(one) => adopted.push(one),
                    Err(launch) => lost_ones.push((path, launch)),
                }
            }
            Found::Lost(launch) => lost_ones.push((path, launch)),
        }
        known.extend(name);
    }
    for (path, launch) in lost_ones {
        adopted.push(lost(shared, &path, launch).await);
    }
    for name in shared.cgroups.replicas() {
        if !known.contains(&name) {
            let groups = shared.cgroups.named(&name);
            groups.kill();
            sweep::remove_groups(groups).await;
        }
    }
    Ok(adopted)
}

fn look(shared: &Shared) -> Result<Vec<(PathBuf, Found)>, Error> {
    let folder = shared.data.replicas();
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Directory { path, source }
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unusable(&folder))? {
        let path = entry.map_err(unusable(&folder))?.path();
        // One that cannot be understood may hold a replica that runs, of another version perhaps. Without knowing which,
        // this agent must not tell the coordinator that it has none of them: they would be started again beside it.
        let found =
            examine(&path).map_err(|source| Error::Replica { path: path.clone(), source })?;
        all.push((path, found));
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(all)
}

fn examine(path: &Path) -> io::Result<Found> {
    let Some(launch) = record::read::<Launch>(path, LAUNCH)? else {
        return Ok(Found::Incomplete);
    };
    let launch = Box::new(launch);
    let ended = || record::read::<ExitRecord>(path, EXIT);
    if let Some(record) = ended()? {
        return Ok(Found::Ended(launch, record));
    }
    match directory::connect(path) {
        Ok(stream) => return Ok(Found::Listening(launch, stream)),
        Err(error) if is_nobody(&error) => {}
        // Such as too many open files: it says nothing about the shim.
        Err(error) => return Err(error),
    }
    // It may have ended between the two looks.
    if let Some(record) = ended()? {
        return Ok(Found::Ended(launch, record));
    }
    match record::read::<ShimProcess>(path, SHIM)? {
        Some(_) => Ok(Found::Lost(launch)),
        None => Ok(Found::Incomplete),
    }
}

/// Whether an error of connecting means that nobody listens.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn ended(shared: &Arc<Shared>, launch: Box<Launch>, seen: Observation) -> Adopted {
    let spec = launch.spec.clone();
    replica::begin(shared, Origin::Ended(launch));
    Adopted { spec, seen: Some(seen) }
}

async fn lost(shared: &Arc<Shared>, path: &Path, launch: Box<Launch>) -> Adopted {
    // Whether it had been ordered to stop is not known any more.
    let swept = sweep::sweep(path, (&launch, false)).await;
    warn!(replica = %launch.spec.name, fence = %launch.spec.fence, "a replica has lost its shim");
    ended(shared, launch, Observation::Exited(swept.exit))
}

/// Asks a shim how far its replica is. One that does not answer gives its launch back.
async fn ask(
    shared: &Arc<Shared>,
    launch: Box<Launch>,
    link: Option<ShimLink>,
    deadline: Instant,
) -> Result<Adopted, Box<Launch>> {
    let mut link = link;
    while let Some(mut open) = link.take() {
        match timeout_at(deadline, open.next()).await {
            Ok(Some(Report::Stage(Stage::Exited(exit)))) => {
                return Ok(ended(shared, launch, Observation::Exited(exit)));
            }
            Ok(Some(Report::Stage(stage))) => return Ok(follow(shared, launch, open, stage)),
            Ok(Some(Report::Notice { .. })) => link = Some(open),
            // It hung up, or is too slow. If it ended meanwhile, the sweep finds its last word.
            Ok(None) | Err(_) => {}
        }
    }
    Err(launch)
}

fn follow(shared: &Arc<Shared>, launch: Box<Launch>, link: ShimLink, stage: Stage) -> Adopted {
    let spec = launch.spec.clone();
    let seen = match stage {
        Stage::Ready { store_port, free_port } => {
            Some(Observation::Ready { store_port, free_port })
        }
        Stage::Running => Some(Observation::Running),
        Stage::Preparing { .. } | Stage::Exited(_) => None,
    };
    shared.devices().note((spec.id, spec.fence), launch.gpus());
    let told = seen.clone();
    replica::begin(shared, Origin::Live { launch, link, told });
    Adopted { spec, seen }
}

fn remove(path: &Path) {
    if let Err(error) = sweep::remove_directory(path) {
        warn!(directory = %path.display(), %error, "cannot remove an unfinished preparation");
    }
}
