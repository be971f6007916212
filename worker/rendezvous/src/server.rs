//! The server's thread, and the handle of whoever started it.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::event::{Event, Reporter};
use crate::reactor::{Epoll, Reactor, Setup};
use crate::stats::Published;
use crate::store::Rules;
use crate::{Error, Options, Reservation, Stats, Wait};

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A running server. When it is closed or dropped, all its sockets are closed before the call returns.
pub struct ServerHandle {
    shared: Arc<Shared>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stats: Published,
    stop: AtomicBool,
    questions: Mutex<Vec<Question>>,
    /// Makes the thread look at the other fields.
    bell: OwnedFd,
}

/// The keys that are waited for, at most so many.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) most: usize,
    pub(crate) answer: SyncSender<Vec<Wait>>,
}

/// The thread needs little: the deepest thing on its stack is a list of slices for the kernel.
const STACK: usize = 256 << 10;

/// How long an answer is waited for before the server is looked at.
const PATIENCE: Duration = Duration::from_millis(100);

impl Server {
    /// Serves a reserved port on a thread of its own.
    pub fn start(reservation: Reservation, options: Options) -> Result<ServerHandle, Error> {
        let port = reservation.port();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::start("eventfd", errno))?;
        let shared = Arc::new(Shared {
            stats: Published::default(),
            stop: AtomicBool::new(false),
            questions: Mutex::default(),
            bell,
        });
        let epoll = Epoll::new().map_err(|errno| Error::start("epoll", errno))?;
        let setup = Setup {
            epoll,
            listener: reservation.into_socket(),
            shared: Arc::clone(&shared),
            rules: Rules {
                separate: options.separate_inits,
                distinct_pids: options.distinct_pids,
                world_size: options.world_size,
            },
            memory_limit: options.memory_limit,
        };
        let reporter = Reporter::new(options.events);
        let thread = thread::Builder::new()
            .name("rendezvous".into())
            .stack_size(STACK)
            .spawn(move || run(setup, reporter))
            .map_err(|error| Error::start("its thread", error))?;
        Ok(ServerHandle { shared, port, thread: Some(thread) })
    }
}

/// Serves to the end. However it comes, all sockets are closed then, and an end that nobody asked for is told.
fn run(setup: Setup, mut reporter: Reporter) {
    let served = catch_unwind(AssertUnwindSafe(|| Reactor::new(setup, &mut reporter)?.run()));
    let reason = match served {
        Ok(Ok(())) => return,
        Ok(Err(errno)) => io::Error::from(errno).to_string(),
        Err(_) => "a fault in the server, see the message before this one".to_owned(),
    };
    reporter.tell(Event::Failed { reason });
}

// === impl ServerHandle ===

impl ServerHandle {
    /// The port that is served.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Numbers about the server.
    pub fn stats(&self) -> Stats {
        self.shared.stats.read()
    }

    /// The keys that connections wait for, the longest waited first, at most so many. In a rendezvous that hangs,
    /// they name the ranks that did not come.
    pub fn waits(&self, most: usize) -> Vec<Wait> {
        let (answer, answered) = sync_channel(1);
        self.shared.ask(Question { most, answer });
        loop {
            match answered.recv_timeout(PATIENCE) {
                Ok(waits) => return waits,
                // The server may have ended before it saw the question.
                Err(RecvTimeoutError::Timeout) if self.is_running() => {}
                Err(_) => return Vec::new(),
            }
        }
    }

    /// Whether the server still serves.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Closes every connection and the port. Clients see it at once, as a closed or a reset connection.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        // Its own panics are caught and told, so an error here is the event sink's.
        let _ = thread.join();
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("port", &self.port)
            .field("running", &self.is_running())
            .finish()
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn bell(&self) -> &OwnedFd {
        &self.bell
    }

    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn take_questions(&self) -> Vec<Question> {
        mem::take(&mut *self.questions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, question: Question) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        self.ring();
    }

    fn ring(&self) {
        // A full counter rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}
