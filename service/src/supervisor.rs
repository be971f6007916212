//! Supervised tasks. Nothing else in the daemons spawns.
//!
//! Each kind of task declares what its own end means (a server that stops is the end of the daemon, a
//! connection that closes is not) and what a stop of the daemon means for it (wait for it, or abort it). A
//! panic counts as an end with an error. The stop is ordered: the token is cancelled, tasks that
//! are waited for finish within the grace period, the others are dropped.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

/// What a stop of the daemon means for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It watches the token and ends by itself; the stop waits for it.
    Wait,
    /// It is dropped at its next await.
    Abort,
}

/// What the end of a task means for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEnd {
    /// The daemon stops, whatever the reason: it cannot work without this task.
    StopDaemon,
    /// An error is logged.
    Log,
}

/// A kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskKind {
    /// Its name in logs.
    pub name: &'static str,
    /// What a stop means for it.
    pub on_stop: OnStop,
    /// What its end means for the daemon.
    pub on_end: OnEnd,
}

/// Why a daemon stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to.
    Asked,
    /// A task that it cannot work without has ended.
    TaskEnded {
        /// Which.
        task: &'static str,
        /// How.
        why: String,
    },
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked to stop"),
            Self::TaskEnded { task, why } => write!(f, "{task} has ended: {why}"),
        }
    }
}

/// Spawns tasks under a supervisor; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    token: CancellationToken,
    waited: TaskTracker,
    ended: mpsc::Sender<Stopped>,
}

/// Owns the tasks of a daemon.
#[derive(Debug)]
pub struct Supervisor {
    tasks: Tasks,
    ended: mpsc::Receiver<Stopped>,
}

// === impl Tasks ===

impl Tasks {
    /// Spawns a task. Its error, or its panic, is handled as its kind declares.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F, E>(&self, kind: TaskKind, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let inner = match kind.on_stop {
            OnStop::Wait => tokio::spawn(self.waited.track_future(future)),
            OnStop::Abort => {
                let token = self.token.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = token.cancelled() => Ok(()),
                        ended = future => ended,
                    }
                })
            }
        };
        let (ended, token) = (self.ended.clone(), self.token.clone());
        tokio::spawn(async move {
            let why = match inner.await {
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(join) if join.is_cancelled() => return,
                Err(join) => format!("it panicked: {join}"),
            };
            let stopping = token.is_cancelled();
            match kind.on_end {
                OnEnd::StopDaemon if !stopping => {
                    error!(task = kind.name, %why, "a task that must run has ended");
                    let _ = ended.try_send(Stopped::TaskEnded { task: kind.name, why });
                }
                _ if why == "it returned" => debug!(task = kind.name, "task ended"),
                _ => warn!(task = kind.name, %why, "task ended"),
            }
        });
    }

    /// Cancelled when the daemon stops.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

// === impl Supervisor ===

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    pub fn new() -> Self {
        let (ended_tx, ended) = mpsc::channel(8);
        let tasks =
            Tasks { token: CancellationToken::new(), waited: TaskTracker::new(), ended: ended_tx };
        Self { tasks, ended }
    }

    /// For spawning.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits until a task that must run has ended.
    pub async fn failed(&mut self) -> Stopped {
        // The sender lives in self, so the channel cannot close.
        self.ended.recv().await.unwrap_or(Stopped::Asked)
    }

    /// Stops everything: cancels the token, which drops the tasks that are not waited for, and waits up to
    /// `grace` for the others. Answers whether all tasks that were waited for ended in time.
    pub async fn stop(self, grace: Duration) -> bool {
        self.tasks.token.cancel();
        self.tasks.waited.close();
        let in_time = tokio::time::timeout(grace, self.tasks.waited.wait()).await.is_ok();
        if !in_time {
            warn!(left = self.tasks.waited.len(), "tasks did not stop within {grace:?}");
        }
        in_time
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::oneshot;

    use super::*;

    const MUST_RUN: TaskKind =
        TaskKind { name: "must-run", on_stop: OnStop::Wait, on_end: OnEnd::StopDaemon };
    const CONNECTION: TaskKind =
        TaskKind { name: "connection", on_stop: OnStop::Abort, on_end: OnEnd::Log };

    #[tokio::test]
    async fn a_task_that_must_run_and_panics_stops_the_daemon() {
        let mut supervisor = Supervisor::new();
        supervisor.tasks().spawn(CONNECTION, async { Err("closed") });
        supervisor.tasks().spawn(MUST_RUN, async {
            assert!(std::hint::black_box(false), "boom");
            Ok::<(), Infallible>(())
        });
        let Stopped::TaskEnded { task, why } = supervisor.failed().await else {
            panic!("nobody asked")
        };
        assert_eq!(task, "must-run");
        assert!(why.contains("panicked"), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_those_that_finish_and_aborts_the_others() {
        let supervisor = Supervisor::new();
        let token = supervisor.tasks().token().clone();
        let (done, finished) = oneshot::channel();
        supervisor.tasks().spawn(MUST_RUN, async move {
            token.cancelled().await;
            let _ = done.send(());
            Ok::<(), Infallible>(())
        });
        let (held, aborted) = oneshot::channel::<()>();
        supervisor.tasks().spawn(CONNECTION, async move {
            let _held = held;
            std::future::pending::<Result<(), Infallible>>().await
        });
        assert!(supervisor.stop(Duration::from_secs(5)).await);
        assert!(finished.await.is_ok());
        assert!(aborted.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_given_up_after_the_grace() {
        let supervisor = Supervisor::new();
        supervisor.tasks().spawn(MUST_RUN, std::future::pending::<Result<(), Infallible>>());
        assert!(!supervisor.stop(Duration::from_secs(5)).await);
    }
}
