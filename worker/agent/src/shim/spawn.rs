//! Starts one process of a container. The only file of the agent with `unsafe` code: what happens between
//! fork and exec cannot be said otherwise.
//!
//! The child becomes the leader of a session of its own, dies with the shim (`PR_SET_PDEATHSIG`), has every
//! signal at its default, is in its control groups and its mount namespace, and stands in its directory.
#![allow(
    unsafe_code,
    reason = "pre_exec; every call in it is async-signal-safe, see the SAFETY comments"
)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use rustix::process::Pid;

/// What to start.
pub(super) struct Start<'a> {
    /// The file to execute, as seen in the namespace.
    pub(super) program: &'a Path,
    /// The arguments, the first of them the name that the program is told.
    pub(super) argv: &'a [String],
    /// The whole environment.
    pub(super) environment: &'a [(String, String)],
    /// The directory, as seen in the namespace.
    pub(super) directory: &'a str,
    /// The mount namespace, when it is not the shim's.
    pub(super) namespace: Option<BorrowedFd<'a>>,
    /// The control groups' member files.
    pub(super) join: &'a [PathBuf],
}

/// A started process. It is waited for by pid, together with whatever it leaves behind.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Where a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no process to be had, or no pipe.
    Fork,
    /// The control groups.
    Join,
    /// The mount namespace.
    Namespace,
    /// The directory.
    Directory,
    /// The program itself.
    Execute,
}

impl Step {
    const IN_CHILD: [Self; 3] = [Self::Join, Self::Namespace, Self::Directory];
}

/// Starts a process.
///
/// Must be called on the shim's main thread: the child dies with the thread that forked it.
pub(super) fn spawn(start: &Start<'_>) -> Result<Started, (Step, io::Error)> {
    let fork = |error| (Step::Fork, error);
    let (mut failed_read, failed_write) = io::pipe().map_err(fork)?;
    let join = open_all(start.join).map_err(|error| (Step::Join, error))?;
    let directory = CString::new(start.directory)
        .map_err(|error| (Step::Directory, io::Error::other(error)))?;
    let child_side = ChildSide {
        parent: rustix::process::getpid().as_raw_pid(),
        join: join.iter().map(|file| file.as_raw_fd()).collect(),
        namespace: start.namespace.map(|fd| fd.as_raw_fd()),
        directory,
        failed: failed_write.as_raw_fd(),
    };
    let mut command = Command::new(start.program);
    if let Some((name, rest)) = start.argv.split_first() {
        command.arg0(name).args(rest);
    }
    command
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe functions
    // may be called and nothing may be allocated. `ChildSide::run` makes system calls on memory and file
    // descriptors that were prepared before the fork, and nothing else.
    unsafe {
        command.pre_exec(move || child_side.run());
    }
    let spawned = command.spawn();
    drop(failed_write);
    match spawned {
        Ok(mut child) => {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            Ok(Started {
                pid: pid.expect("a child has a positive pid"),
                stdout: stdout.expect("its stdout was asked to be a pipe").into(),
                stderr: stderr.expect("its stderr was asked to be a pipe").into(),
            })
        }
        Err(error) => {
            // The closure, and with it the write end's number, is dropped with the command; the end itself
            // above. A failed fork or exec writes nothing.
            drop(command);
            let mut byte = [0];
            let step = match failed_read.read(&mut byte) {
                Ok(1) => Step::IN_CHILD[usize::from(byte[0]).min(2)],
                _ if error.raw_os_error() == Some(libc::EAGAIN)
                    || error.raw_os_error() == Some(libc::ENOMEM) =>
                {
                    Step::Fork
                }
                _ => Step::Execute,
            };
            Err((step, error))
        }
    }
}

fn open_all(files: &[PathBuf]) -> io::Result<Vec<File>> {
    let open = |file: &PathBuf| File::options().write(true).open(file);
    files.iter().map(open).collect()
}

/// What the child needs before it executes the program, as plain numbers and bytes.
struct ChildSide {
    parent: i32,
    join: Vec<RawFd>,
    namespace: Option<RawFd>,
    directory: CString,
    failed: RawFd,
}

impl ChildSide {
    fn run(&self) -> io::Result<()> {
        // SAFETY: setsid(2) takes no memory. It fails only for a group leader, which a fresh child is not.
        unsafe { libc::setsid() };
        self.die_with_parent()?;
        default_signals();
        unblock_signals();
        for fd in &self.join {
            // SAFETY: one byte of static memory is written to a descriptor that the parent holds open.
            let written = unsafe { libc::write(*fd, b"0".as_ptr().cast(), 1) };
            self.check(0, written >= 0)?;
        }
        if let Some(namespace) = self.namespace {
            // SAFETY: setns(2) takes a descriptor, which the parent holds open. The child has one thread.
            let done = unsafe { libc::setns(namespace, libc::CLONE_NEWNS) };
            self.check(1, done == 0)?;
        }
        // SAFETY: the path is a NUL-terminated string that the closure owns.
        let done = unsafe { libc::chdir(self.directory.as_ptr()) };
        self.check(2, done == 0)
    }

    fn die_with_parent(&self) -> io::Result<()> {
        // SAFETY: prctl(2) with this option takes a number.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: getppid(2) takes nothing and cannot fail.
        let parent = unsafe { libc::getppid() };
        // The shim may have died before the call above: then no signal will come.
        if set != 0 || parent != self.parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    }

    /// Answers the last error when `good` is false, after telling the parent at which step it was.
    fn check(&self, step: u8, good: bool) -> io::Result<()> {
        if good {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // SAFETY: one byte of the stack is written to a descriptor that the parent holds open.
        unsafe { libc::write(self.failed, (&raw const step).cast(), 1) };
        Err(error)
    }
}

/// The shim keeps signals blocked for its own loop, which a fork inherits and an exec keeps.
fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) writes the whole set before it is read, and sigprocmask(2) only reads it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// An agent that was started with `nohup` or in the background of a shell ignores signals, and what is
/// ignored stays so over an exec: a rank must not inherit it.
fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL is a valid disposition for every signal; the call fails harmlessly for
            // those that the C library keeps for itself.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Closes every descriptor but the standard three.
///
/// An agent's libraries may leave files open for those that it starts. The shim outlives the agent: it must not
/// hold on to them, and its ranks must not see them.
pub(super) fn close_inherited() {
    // SAFETY: called when the process has just started and has opened nothing itself, so that nobody owns a
    // descriptor that is closed here.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}
