//! The mounts of one namespace while they are made.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{fchdir, pivot_root};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, mkdirat, openat, symlinkat};

use super::super::failure::Failure;
use super::point::{self, Missing};
use super::source;

/// More entries than a directory should have that is to be shown with one more in it.
const MOST_ENTRIES: usize = 10_000;

/// The bits of a directory such as `/tmp`, in which everybody may make files and only delete their own.
const STICKY_FOR_ALL: u32 = 0o1002;

/// One volume to be bound.
pub(super) struct Bind<'a> {
    pub(super) source: &'a OwnedFd,
    /// Whether the volume is the replica's own.
    pub(super) own: bool,
    pub(super) read_only: bool,
}

pub(super) struct Table {
    /// Holds the directory in which covers are kept.
    backing: OwnedFd,
    backing_path: PathBuf,
    covers: usize,
    /// Directories in which mount points may be made as they stand.
    open: BTreeSet<PathBuf>,
    /// Bound volumes: the path, and whether mount points may be made anywhere below.
    bound: Vec<(PathBuf, bool)>,
    /// What becomes read-only in the end.
    read_only: Vec<PathBuf>,
    /// The machine's root, once another has taken its place.
    old_root: Option<OwnedFd>,
    notices: Vec<String>,
}

impl Table {
    /// `backing` is a directory for what covers are made of; it is made.
    pub(super) fn new(backing: &Path) -> Result<Self, Failure> {
        let made = fs::create_dir_all(backing).and_then(|()| Ok(hold(backing)?));
        Ok(Self {
            backing: made.map_err(|error| {
                Failure::passing(format!("cannot make {}: {error}", backing.display()))
            })?,
            backing_path: backing.to_owned(),
            covers: 0,
            open: BTreeSet::new(),
            bound: Vec::new(),
            read_only: Vec::new(),
            old_root: None,
            notices: Vec::new(),
        })
    }

    /// Binds a volume at a path, making the path if it is missing.
    pub(super) fn bind(&mut self, path: &Path, bind: &Bind<'_>) -> Result<(), Failure> {
        let directory = source::is_directory(bind.source);
        let target = match point::find(path, directory)? {
            Ok(target) => target,
            Err(missing) => self.make(&missing, directory)?,
        };
        bind_fd(bind.source, &target).map_err(|error| Failure::passing(error.to_string()))?;
        if bind.read_only {
            self.read_only.push(target.clone());
        }
        // Made for this volume, and now hidden by it.
        self.open.remove(&target);
        self.bound.push((target, bind.own && directory));
        Ok(())
    }

    /// Makes a mount point that is missing.
    fn make(&mut self, missing: &Missing, directory: bool) -> Result<PathBuf, Failure> {
        if !self.is_open(&missing.parent) {
            let covered = match missing.parent.parent() {
                None => self.cover_root(),
                Some(_) => self.cover(&missing.parent, missing),
            };
            covered.map_err(|error| {
                Failure::passing(format!(
                    "{} does not exist on this node and cannot be made for the replica alone: {error}; create it",
                    missing.path().display()
                ))
            })?;
        }
        let made = missing.make(directory, |made| {
            self.open.insert(made.to_owned());
        });
        made.map_err(|error| Failure::passing(format!("cannot make the mount point: {error}")))
    }

    /// Whether mount points may be made in a directory without touching anything of the machine's.
    fn is_open(&self, directory: &Path) -> bool {
        let within = self.bound.iter().filter(|(path, _)| directory.starts_with(path));
        let innermost = within.max_by_key(|(path, _)| path.components().count());
        self.open.contains(directory) || innermost.is_some_and(|(_, open)| *open)
    }

    /// A fresh directory for a cover, held; with the mode of what it covers.
    fn fresh(&mut self, like: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
        let name = self.covers.to_string();
        self.covers += 1;
        let mode = Mode::from_raw_mode(rustix::fs::fstat(like).map_err(errno)?.st_mode & 0o7777);
        mkdirat(&self.backing, &name, Mode::RWXU).map_err(errno)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let made = openat(&self.backing, &name, flags, Mode::empty()).map_err(errno)?;
        rustix::fs::fchmod(&made, mode).map_err(errno)?;
        Ok(made)
    }

    /// Covers a directory with one that shows the same and has room for mount points.
    ///
    /// Every entry is bound to the machine's, so that what is written there arrives there. What would be
    /// written directly into the covered directory would be lost: so it becomes read-only, except for
    /// directories like `/tmp`, where nothing is meant to last.
    fn cover(&mut self, directory: &Path, missing: &Missing) -> nix::Result<()> {
        let below = hold(directory)?;
        let names = names(directory)?;
        let fresh = self.fresh(borrow(&below))?;
        bind_fd(&fresh, directory)?;
        for name in names {
            show(&below, &fresh, &name, directory)?;
        }
        self.open.insert(directory.to_owned());
        let mode = rustix::fs::fstat(&below).map_err(errno)?.st_mode;
        let (shown, wanted) = (directory.display(), missing.path());
        let effect = if mode & STICKY_FOR_ALL == STICKY_FOR_ALL {
            "files that the replica makes there go with it"
        } else {
            self.read_only.push(directory.to_owned());
            "the replica cannot make files directly there"
        };
        self.notices.push(format!(
            "{} does not exist on this node and was made for the replica alone; therefore it has its own view of \
             {shown}: {effect}; create {} on the node to avoid this",
            wanted.display(),
            wanted.display()
        ));
        Ok(())
    }

    /// Gives the namespace a root that shows the same as the machine's and has room for mount points.
    fn cover_root(&mut self) -> nix::Result<()> {
        let root = hold(Path::new("/"))?;
        let fresh = self.fresh(borrow(&root))?;
        let stage = self.backing_path.join((self.covers - 1).to_string());
        bind_fd(&fresh, &stage)?;
        let inside = hold(&stage)?;
        let mut names = names(Path::new("/"))?;
        // The entry that the stage itself lies in comes first: bound later, it would bring along all
        // that is mounted on the stage by then.
        let stage_in_root = stage.strip_prefix("/").unwrap_or(&stage);
        let first = stage_in_root.components().next();
        names.sort_by_key(|name| Some(name.as_os_str()) != first.map(|one| one.as_os_str()));
        for (index, name) in names.iter().enumerate() {
            show(&root, &inside, name, &stage)?;
            if index == 0 {
                let copy = stage.join(stage_in_root);
                let _ = umount2(&copy, MntFlags::MNT_DETACH);
            }
        }
        fchdir(&inside)?;
        pivot_root(".", ".")?;
        self.open.insert(PathBuf::from("/"));
        self.read_only.push(PathBuf::from("/"));
        self.old_root = Some(root);
        Ok(())
    }

    /// Makes read-only what is to be, and lets the machine's root go if it was replaced.
    pub(super) fn seal(self) -> Result<Vec<String>, Failure> {
        for path in &self.read_only {
            make_read_only(path).map_err(|error| {
                Failure::passing(format!("cannot make {} read-only: {error}", path.display()))
            })?;
        }
        if let Some(root) = &self.old_root {
            fchdir(root).and_then(|()| umount2(".", MntFlags::MNT_DETACH)).map_err(|error| {
                Failure::passing(format!("cannot let go of the old root: {error}"))
            })?;
        }
        Ok(self.notices)
    }
}

fn errno(error: rustix::io::Errno) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error())
}

fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

fn hold(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(errno)
}

fn names(directory: &Path) -> nix::Result<Vec<std::ffi::OsString>> {
    let raw = |error: std::io::Error| {
        nix::Error::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(raw)? {
        names.push(entry.map_err(raw)?.file_name());
        if names.len() > MOST_ENTRIES {
            return Err(nix::Error::E2BIG);
        }
    }
    Ok(names)
}

/// Shows an entry of the directory `below` in the directory `fresh`, which is seen at `at`.
fn show(below: &OwnedFd, fresh: &OwnedFd, name: &OsStr, at: &Path) -> nix::Result<()> {
    let stat = match rustix::fs::statat(below, name, AtFlags::SYMLINK_NOFOLLOW) {
        // It went away meanwhile.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other.map_err(errno)?,
    };
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() {
        let target = rustix::fs::readlinkat(below, name, Vec::new()).map_err(errno)?;
        return symlinkat(target, fresh, name).map_err(errno);
    }
    if kind.is_dir() {
        mkdirat(fresh, name, Mode::RWXU).map_err(errno)?;
    } else {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(fresh, name, flags, Mode::RUSR).map_err(errno)?;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let source = match openat(below, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other.map_err(errno)?,
    };
    bind_fd(&source, &at.join(name))
}

fn bind_fd(source: &OwnedFd, target: &Path) -> nix::Result<()> {
    let path = format!("/proc/self/fd/{}", source.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(path.as_str()), target, None::<&str>, flags, None::<&str>)
}

/// A remount must repeat the flags that the mount has: in a user namespace it may not take any away.
fn make_read_only(path: &Path) -> nix::Result<()> {
    let have = rustix::fs::statvfs(path).map_err(errno)?.f_flag;
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (had, flag) in [
        (StatVfsMountFlags::NOSUID, MsFlags::MS_NOSUID),
        (StatVfsMountFlags::NODEV, MsFlags::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, MsFlags::MS_NOEXEC),
        (StatVfsMountFlags::NOATIME, MsFlags::MS_NOATIME),
        (StatVfsMountFlags::NODIRATIME, MsFlags::MS_NODIRATIME),
        (StatVfsMountFlags::RELATIME, MsFlags::MS_RELATIME),
    ] {
        if have.contains(had) {
            flags |= flag;
        }
    }
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
}
