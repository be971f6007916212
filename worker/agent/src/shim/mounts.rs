//! The volumes of a replica, mounted where its containers expect them and nowhere else.
//!
//! Each container with volumes gets a mount namespace of its own; containers without stay in that of the
//! machine. The namespaces are made by short-lived threads, each of which leaves the shim's file system
//! view, mounts, and hands back a descriptor of what it made; the kernel drops the namespace, and with it
//! every mount, when the last process and descriptor are gone, so that nothing is left behind however
//! the replica ends. The machine's own mounts are never touched: a namespace gets news of them and sends none.
//!
//! The shim may do this as root, or, where the kernel lets ordinary users, in a user namespace. Where it may
//! not, a volume that already is what it should be (`hostPath` at its own path, memory at `/dev/shm`) is
//! left alone, and any other fails with a sentence.

mod point;
mod source;
mod table;
mod volumes;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use muster_model::{ContainerSpec, PodSpec, VolumeMount};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::failure::Failure;
use super::record::{MOUNTS, VOLUMES};
use table::Table;
use volumes::Volumes;

/// What the containers of a replica see.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// One for each init container and then one for each container; `None` is the machine's own.
    containers: Vec<Option<OwnedFd>>,
    /// Things to know.
    pub(super) notices: Vec<String>,
}

/// A container's mounts, outermost first, with what each is made of.
struct Wanted<'a> {
    index: usize,
    container: &'a ContainerSpec,
    mounts: Vec<&'a VolumeMount>,
}

/// How much a mount needs a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// It is already there.
    None,
    /// Something like it is already there.
    Wish,
    /// It is not there.
    Must,
}

impl Namespaces {
    /// Makes the volumes and mounts them. `directory` is the replica's.
    ///
    /// Must be called while the process has one thread: only then can it enter a user namespace.
    pub(super) fn make(pod: &PodSpec, directory: &Path) -> Result<Self, Failure> {
        let all = || pod.init_containers.iter().chain(&pod.containers);
        let mut made = Self { containers: all().map(|_| None).collect(), notices: Vec::new() };
        let volumes = Volumes::make(&pod.volumes, &directory.join(VOLUMES))?;
        let mut wanted = Vec::new();
        for (index, container) in all().enumerate() {
            let mut mounts: Vec<_> = container.mounts.iter().collect();
            mounts.sort_by_key(|mount| Path::new(&mount.path).components().count());
            if needs(&mounts, &volumes)? > Need::None {
                wanted.push(Wanted { index, container, mounts });
            }
        }
        if wanted.is_empty() {
            return Ok(made);
        }
        let backing = directory.join(MOUNTS);
        fs::create_dir_all(&backing).map_err(|error| {
            Failure::passing(format!("cannot make {}: {error}", backing.display()))
        })?;
        match permitted() {
            Ok(()) => {
                for (index, fd, notices) in build(&wanted, &volumes, &backing)? {
                    made.containers[index] = Some(fd);
                    made.notices.extend(notices);
                }
                Ok(made)
            }
            Err(error) => {
                made.notices = without(&wanted, &volumes, &error)?;
                Ok(made)
            }
        }
    }

    /// The namespace of a container; `None` when it is the shim's own.
    pub(super) fn of(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let fd = self.containers.get(index)?.as_ref();
        fd.map(AsFd::as_fd)
    }

    /// Looks at the file system as a container sees it.
    pub(super) fn within<T: Send>(
        &self,
        index: usize,
        look: impl FnOnce() -> T + Send,
    ) -> io::Result<T> {
        let Some(namespace) = self.of(index) else {
            return Ok(look());
        };
        in_thread(|| {
            unshare(CloneFlags::CLONE_FS)?;
            setns(namespace, CloneFlags::CLONE_NEWNS)?;
            Ok(look())
        })
    }
}

/// Runs something on a thread of its own, which may leave the shim's file system view.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let joined = scope.spawn(work).join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn needs(mounts: &[&VolumeMount], volumes: &Volumes) -> Result<Need, Failure> {
    let mut most = Need::None;
    for mount in mounts {
        most = most.max(volumes.need(mount)?);
    }
    Ok(most)
}

/// What to do without namespaces: nothing, when everything is there already.
fn without(
    wanted: &[Wanted<'_>],
    volumes: &Volumes,
    error: &nix::Error,
) -> Result<Vec<String>, Failure> {
    let mut notices = Vec::new();
    for one in wanted {
        for mount in &one.mounts {
            match volumes.need(mount)? {
                Need::None => {}
                Need::Wish => notices.push(format!(
                    "volume {} at {} is the machine's own {} (this agent may not make mount namespaces: {error})",
                    mount.volume, mount.path, mount.path
                )),
                Need::Must => {
                    return Err(Failure::permanent(format!(
                        "volume {} cannot be mounted at {} in container {}: the agent may not make mount namespaces \
                         ({error}); run the agent as root, allow user namespaces on the node (sysctl \
                         user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0), or use a \
                         hostPath volume at its own path",
                        mount.volume, mount.path, one.container.name
                    )));
                }
            }
        }
    }
    Ok(notices)
}

/// Finds out whether mount namespaces can be made, entering a user namespace if that is what it takes.
fn permitted() -> nix::Result<()> {
    let attempt = || in_thread(private_view);
    if attempt().is_ok() {
        return Ok(());
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    leave_user_namespace()?;
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|_| nix::Error::EPERM)
    };
    map("setgroups", "deny".into())?;
    map("uid_map", format!("{user} {user} 1"))?;
    map("gid_map", format!("{group} {group} 1"))?;
    attempt()
}

/// Enters a new user namespace. The kernel allows it to a process with one thread only, and counts a thread
/// that has just been joined until it is wholly gone.
fn leave_user_namespace() -> nix::Result<()> {
    let mut tries = 1000;
    loop {
        match unshare(CloneFlags::CLONE_NEWUSER) {
            Err(nix::Error::EINVAL) if tries > 0 => thread::yield_now(),
            other => return other,
        }
        tries -= 1;
    }
}

/// Gives this thread a mount namespace of its own, which hears of the machine's mounts and sends none.
fn private_view() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

type Built = (usize, OwnedFd, Vec<String>);

/// Makes the namespaces. They are copies of one in which the volumes in memory are mounted, so that all
/// containers see the same.
fn build(wanted: &[Wanted<'_>], volumes: &Volumes, backing: &Path) -> Result<Vec<Built>, Failure> {
    in_thread(|| {
        let view = |error| Failure::passing(format!("cannot make a mount namespace: {error}"));
        private_view().map_err(view)?;
        volumes.mount_memory()?;
        let mut built = Vec::new();
        for one in wanted {
            built.push(in_thread(|| -> Result<Built, Failure> {
                private_view().map_err(view)?;
                let namespace = File::open("/proc/thread-self/ns/mnt").map_err(|error| {
                    Failure::passing(format!("cannot hold a mount namespace: {error}"))
                })?;
                let backing = backing.join(one.index.to_string());
                let notices = mount_all(one, volumes, &backing)?;
                Ok((one.index, OwnedFd::from(namespace), notices))
            })?);
        }
        Ok(built)
    })
}

/// Mounts the volumes of one container in the namespace of this thread.
fn mount_all(
    wanted: &Wanted<'_>,
    volumes: &Volumes,
    backing: &Path,
) -> Result<Vec<String>, Failure> {
    // Everything is opened first: a mount may hide what a later one is made of.
    let mut sources = Vec::new();
    for mount in &wanted.mounts {
        sources.push((volumes.open(mount)?, volumes.is_own(mount)));
    }
    let mut table = Table::new(backing)?;
    for (mount, (source, own)) in wanted.mounts.iter().zip(&sources) {
        let bind = table::Bind { source, own: *own, read_only: mount.read_only };
        table.bind(&PathBuf::from(&mount.path), &bind).map_err(|failure| Failure {
            why: format!(
                "volume {} cannot be mounted at {} in container {}: {}",
                mount.volume, mount.path, wanted.container.name, failure.why
            ),
            permanent: failure.permanent,
        })?;
    }
    table.seal()
}
