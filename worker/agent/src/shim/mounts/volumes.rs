//! What the volumes of a replica are made of.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_model::{HostPathKind, Volume, VolumeMount, VolumeSource};
use nix::mount::{MsFlags, mount};

use super::super::failure::Failure;
use super::{Need, source};

/// Where programs share memory; a volume in memory that is mounted there has something like it already.
const SHARED_MEMORY: &str = "/dev/shm";

#[derive(Debug)]
pub(super) struct Volumes(BTreeMap<String, Root>);

/// The root of a volume.
#[derive(Debug)]
enum Root {
    /// A directory of the replica's own.
    Disk(PathBuf),
    /// A directory of the replica's own over which a tmpfs is mounted.
    Memory {
        at: PathBuf,
        /// In bytes.
        limit: Option<u64>,
    },
    /// A path of the machine.
    Host(PathBuf),
}

impl Volumes {
    /// Makes the volumes' directories below `directory`, and checks and makes the paths of the machine.
    pub(super) fn make(volumes: &[Volume], directory: &Path) -> Result<Self, Failure> {
        let mut roots = BTreeMap::new();
        for (index, volume) in volumes.iter().enumerate() {
            let root = match &volume.source {
                VolumeSource::EmptyDir { memory, size_limit } => {
                    // By number: a name that came from outside makes no path.
                    let at = directory.join(index.to_string());
                    DirBuilder::new().recursive(true).mode(0o777).create(&at).map_err(|error| {
                        Failure::passing(format!(
                            "cannot make volume {}: {}: {error}",
                            volume.name,
                            at.display()
                        ))
                    })?;
                    match memory {
                        true => Root::Memory { at, limit: *size_limit },
                        false => Root::Disk(at),
                    }
                }
                VolumeSource::HostPath { path, kind } => {
                    check_host(&volume.name, Path::new(path), *kind)?;
                    Root::Host(PathBuf::from(path))
                }
            };
            roots.insert(volume.name.clone(), root);
        }
        Ok(Self(roots))
    }

    fn root(&self, mount: &VolumeMount) -> Result<&Root, Failure> {
        self.0.get(&mount.volume).ok_or_else(|| {
            Failure::permanent(format!(
                "the mount at {} names the volume {}, which the pod does not have",
                mount.path, mount.volume
            ))
        })
    }

    /// How much a mount needs a namespace.
    pub(super) fn need(&self, mount: &VolumeMount) -> Result<Need, Failure> {
        let same = |path: &Path| {
            let source = path.join(&mount.sub_path);
            let (source, target) = (fs::canonicalize(source), fs::canonicalize(&mount.path));
            matches!((source, target), (Ok(source), Ok(target)) if source == target)
        };
        Ok(match self.root(mount)? {
            Root::Host(path) if same(path) && !mount.read_only => Need::None,
            Root::Host(path) if same(path) => Need::Wish,
            Root::Memory { .. } if mount.path == SHARED_MEMORY && mount.sub_path.is_empty() => {
                Need::Wish
            }
            _ => Need::Must,
        })
    }

    /// Whether the volume is the replica's own, so that anything may be made in it.
    pub(super) fn is_own(&self, mount: &VolumeMount) -> bool {
        !matches!(self.0.get(&mount.volume), Some(Root::Host(_)))
    }

    /// Mounts the volumes in memory in the namespace of this thread.
    pub(super) fn mount_memory(&self) -> Result<(), Failure> {
        for (name, root) in &self.0 {
            let Root::Memory { at, limit } = root else {
                continue;
            };
            let options = match limit {
                Some(bytes) => format!("mode=1777,size={bytes}"),
                None => "mode=1777".to_owned(),
            };
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("muster"), at, Some("tmpfs"), flags, Some(options.as_str())).map_err(
                |error| {
                    Failure::passing(format!(
                        "cannot make the memory of volume {name} ({options}): {error}"
                    ))
                },
            )?;
        }
        Ok(())
    }

    /// Holds what a mount is made of, in the namespace of this thread.
    pub(super) fn open(&self, mount: &VolumeMount) -> Result<OwnedFd, Failure> {
        let root = match self.root(mount)? {
            Root::Disk(path) | Root::Memory { at: path, .. } | Root::Host(path) => path,
        };
        let may_make = !matches!(self.root(mount)?, Root::Host(_)) || !mount.read_only;
        source::open(root, &mount.sub_path, may_make).map_err(|error| {
            Failure::permanent(match error {
                source::Error::Escapes => format!(
                    "subPath {:?} of volume {} leads out of the volume; it must stay within",
                    mount.sub_path, mount.volume
                ),
                source::Error::Open(path, error) => {
                    format!("volume {} cannot be opened: {}: {error}", mount.volume, path.display())
                }
            })
        })
    }
}

/// Does what the type of a hostPath asks for before the replica starts.
fn check_host(name: &str, path: &Path, kind: HostPathKind) -> Result<(), Failure> {
    let fail = |what: String| {
        let path = path.display();
        Err(Failure::permanent(format!("volume {name}: hostPath {path} {what}")))
    };
    let make = |made: io::Result<()>| match made {
        Ok(()) => Ok(()),
        Err(error) => fail(format!("cannot be made: {error}")),
    };
    match (fs::metadata(path), kind) {
        (Ok(found), HostPathKind::Directory | HostPathKind::DirectoryOrCreate)
            if !found.is_dir() =>
        {
            fail("is no directory".into())
        }
        (Ok(found), HostPathKind::File | HostPathKind::FileOrCreate) if !found.is_file() => {
            fail("is no file".into())
        }
        (Ok(_), _) => Ok(()),
        (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
            fail(format!("cannot be looked at: {error}"))
        }
        (Err(_), HostPathKind::DirectoryOrCreate) => {
            make(DirBuilder::new().recursive(true).mode(0o755).create(path))
        }
        (Err(_), HostPathKind::FileOrCreate) => make(
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(path)
                .map(drop),
        ),
        (Err(_), HostPathKind::Any | HostPathKind::Directory | HostPathKind::File) => {
            fail("does not exist on this node; create it, or use the type DirectoryOrCreate".into())
        }
    }
}
