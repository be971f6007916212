//! Starts one process of a container. The only file of the agent with `unsafe` code: what happens between
//! fork and exec cannot be said otherwise, and the standard library's way cannot put a child into its control
//! group as it is made. To join one later costs a wait for every processor of the machine (10 ms and more).
//!
//! The child becomes the leader of a session of its own, dies with the shim (`PR_SET_PDEATHSIG`), has every
//! signal at its default, is in its control groups and its mount namespace, and stands in its directory.
#![allow(
    unsafe_code,
    reason = "fork and exec; the child only makes system calls on prepared memory, see the SAFETY comments"
)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use nix::libc::{self, c_char};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::machine::cgroup::Join;

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
    /// The control groups.
    pub(super) join: &'a Join,
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
    const ALL: [Self; 5] =
        [Self::Fork, Self::Join, Self::Namespace, Self::Directory, Self::Execute];
}

type Failed = (Step, io::Error);

/// Starts a process.
///
/// Must be called on the shim's main thread: the child dies with the thread that forked it.
pub(super) fn spawn(start: &Start<'_>) -> Result<Started, Failed> {
    let fork = |error| (Step::Fork, error);
    let program = Exec::new(start).map_err(|error| (Step::Execute, error))?;
    let join = |error| (Step::Join, error);
    let files: Result<Vec<File>, _> =
        start.join.files.iter().map(|file| File::options().write(true).open(file)).collect();
    let files = files.map_err(join)?;
    let group = start.join.unified.as_deref().map(File::open).transpose().map_err(join)?;
    let nothing = File::open("/dev/null").map_err(fork)?;
    let (stdout, stdout_write) = io::pipe().map_err(fork)?;
    let (stderr, stderr_write) = io::pipe().map_err(fork)?;
    let (failed, failed_write) = io::pipe().map_err(fork)?;
    let mut child = Child {
        parent: rustix::process::getpid().as_raw_pid(),
        standard: [nothing.as_raw_fd(), stdout_write.as_raw_fd(), stderr_write.as_raw_fd()],
        join: files.iter().map(|file| file.as_raw_fd()).collect(),
        namespace: start.namespace.map(|fd| fd.as_raw_fd()),
        failed: failed_write.as_raw_fd(),
        program,
    };
    let mut forked = child.fork(group.as_ref());
    let cannot_make_in_group = |error: &io::Error| {
        let errno = error.raw_os_error().unwrap_or_default();
        [libc::ENOSYS, libc::EINVAL, libc::E2BIG, libc::EPERM].contains(&errno)
    };
    let late;
    if let (Some(unified), Err(error)) = (&start.join.unified, &forked)
        && cannot_make_in_group(error)
    {
        // Before Linux 5.7, or where a sandbox forbids the call: it joins as it would a group of v1.
        late = File::options().write(true).open(unified.join("cgroup.procs")).map_err(join)?;
        child.join.push(late.as_raw_fd());
        forked = child.fork(None);
    }
    drop((stdout_write, stderr_write, failed_write));
    let pid = forked.map_err(fork)?;
    let pid = Pid::from_raw(pid).expect("a child has a positive pid");
    match outcome(failed) {
        None => Ok(Started { pid, stdout: stdout.into(), stderr: stderr.into() }),
        Some(failed) => {
            // It has nothing left to do but to end.
            let _ = waitpid(Some(pid), WaitOptions::empty());
            Err(failed)
        }
    }
}

/// What a child said of its failure; `None` when it has executed its program, which closes the pipe.
fn outcome(mut failed: PipeReader) -> Option<Failed> {
    let mut said = [0; 5];
    failed.read_exact(&mut said).ok()?;
    let [step, errno @ ..] = said;
    let step = Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Fork);
    Some((step, io::Error::from_raw_os_error(i32::from_ne_bytes(errno))))
}

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// From `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// fork(2), with the child in a group of the v2 tree from its first moment.
///
/// # Safety
/// As for fork(2): the child may only call async-signal-safe functions, and must not return.
unsafe fn fork_into(group: Option<RawFd>) -> io::Result<i32> {
    let result = match group {
        // SAFETY: see above; the C library's own fork.
        None => i64::from(unsafe { libc::fork() }),
        Some(group) => {
            let arguments = CloneArgs {
                flags: CLONE_INTO_CGROUP,
                exit_signal: u64::try_from(libc::SIGCHLD).unwrap_or_default(),
                cgroup: u64::try_from(group).unwrap_or_default(),
                ..CloneArgs::default()
            };
            // SAFETY: the kernel reads the arguments, whose size is given. Without CLONE_VM the child has
            // a copy of this memory and goes on on a copy of this stack, as after fork(2).
            unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) }
        }
    };
    match i32::try_from(result) {
        Ok(pid) if pid >= 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What execve(2) is given, in its shape.
struct Exec {
    program: CString,
    directory: CString,
    arguments: Strings,
    /// The same for the shell that runs a script which does not say what runs it, as execvp(3) does.
    shell_arguments: Strings,
    environment: Strings,
}

/// NUL-terminated strings, and pointers to them with a null behind the last.
struct Strings {
    pointers: Vec<*const c_char>,
    /// Keeps what is pointed to.
    _owned: Vec<CString>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|one| one.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

const SHELL: &std::ffi::CStr = c"/bin/sh";

impl Exec {
    fn new(start: &Start<'_>) -> io::Result<Self> {
        let program = CString::new(start.program.as_os_str().as_bytes())?;
        let mut arguments = Vec::new();
        for word in start.argv {
            arguments.push(CString::new(word.as_str())?);
        }
        let mut environment = Vec::new();
        for (name, value) in start.environment {
            environment.push(CString::new(format!("{name}={value}"))?);
        }
        let for_shell = [SHELL.to_owned(), program.clone()];
        let rest = arguments.iter().skip(1).cloned();
        Ok(Self {
            directory: CString::new(start.directory)?,
            shell_arguments: Strings::new(for_shell.into_iter().chain(rest).collect()),
            arguments: Strings::new(arguments),
            environment: Strings::new(environment),
            program,
        })
    }
}

/// The child between fork and exec: plain numbers and prepared memory.
struct Child {
    parent: i32,
    /// What becomes its standard input, output and error. All are above 2: the shim's own are open.
    standard: [RawFd; 3],
    join: Vec<RawFd>,
    namespace: Option<RawFd>,
    failed: RawFd,
    program: Exec,
}

impl Child {
    /// Forks; the child, and only the child, goes on with [`Self::run`].
    fn fork(&self, group: Option<&File>) -> io::Result<i32> {
        // SAFETY: in the child, `run` makes system calls on memory and descriptors that were prepared before and
        // never returns; it allocates nothing and takes no lock, which another thread may have held.
        unsafe {
            match fork_into(group.map(|group| group.as_raw_fd())) {
                Ok(0) => self.run(),
                other => other,
            }
        }
    }

    /// Becomes the program, or says why not and ends.
    fn run(&self) -> ! {
        let step = self.prepare().err().unwrap_or_else(|| self.execute());
        // SAFETY: errno is this thread's own; the byte buffer is on the stack; _exit(2) ends the process without
        // running anything of the shim's.
        unsafe {
            let errno = (*libc::__errno_location()).to_ne_bytes();
            let said = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            libc::write(self.failed, said.as_ptr().cast(), said.len());
            libc::_exit(127)
        }
    }

    fn prepare(&self) -> Result<(), Step> {
        // SAFETY: setsid(2) takes no memory. It fails only for a group leader, which a fresh child is not.
        unsafe { libc::setsid() };
        self.die_with_parent()?;
        default_signals();
        for (target, source) in (0..).zip(self.standard) {
            // SAFETY: both are descriptors of this process; the copy survives the exec.
            check(Step::Fork, unsafe { libc::dup2(source, target) } >= 0)?;
        }
        for fd in &self.join {
            // SAFETY: one byte of static memory is written to a descriptor that the parent holds open.
            let written = unsafe { libc::write(*fd, b"0".as_ptr().cast(), 1) };
            check(Step::Join, written == 1)?;
        }
        if let Some(namespace) = self.namespace {
            // SAFETY: setns(2) takes a descriptor, which the parent holds open. The child has one thread.
            let done = unsafe { libc::setns(namespace, libc::CLONE_NEWNS) };
            check(Step::Namespace, done == 0)?;
        }
        // SAFETY: the path is a NUL-terminated string that `self` owns.
        let done = unsafe { libc::chdir(self.program.directory.as_ptr()) };
        check(Step::Directory, done == 0)
    }

    /// Returns only when the program cannot be executed.
    fn execute(&self) -> Step {
        let environment = self.program.environment.pointers.as_ptr();
        // SAFETY: strings are NUL-terminated and lists end with a null; `self` owns all of it.
        unsafe {
            let arguments = self.program.arguments.pointers.as_ptr();
            libc::execve(self.program.program.as_ptr(), arguments, environment);
            if *libc::__errno_location() == libc::ENOEXEC {
                let arguments = self.program.shell_arguments.pointers.as_ptr();
                libc::execve(SHELL.as_ptr(), arguments, environment);
            }
        }
        Step::Execute
    }

    fn die_with_parent(&self) -> Result<(), Step> {
        // SAFETY: prctl(2) with this option takes a number.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: getppid(2) takes nothing and cannot fail.
        let parent = unsafe { libc::getppid() };
        // The shim may have died before the call above: then no signal will come.
        check(Step::Fork, set == 0 && parent == self.parent)
    }
}

fn check(step: Step, good: bool) -> Result<(), Step> {
    if good { Ok(()) } else { Err(step) }
}

/// An agent that was started with `nohup` or in the background of a shell ignores signals, and what is
/// ignored stays so over an exec; and the shim keeps signals blocked for its own loop. A rank must inherit neither.
fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL is a valid disposition for every signal; the call fails harmlessly for
            // those that the C library keeps for itself.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) writes the whole set before it is read, and sigprocmask(2) only reads it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
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
