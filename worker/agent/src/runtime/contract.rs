//! What an agent expects of a runtime.
//!
//! * Every call returns at once and may be repeated: the same call twice has the effect of one. What comes
//!   of it is told as events.
//! * A replica is named by its id and its fence. Calls for one that the runtime does not know have no effect,
//!   except for `prepare`, which makes it known.
//! * A removed replica does not come again: whatever is prepared later has a newer fence.
//! * For each replica the states come in the order `Ready`, `Running`, `Exited`, each once at most, and
//!   nothing follows `Exited`. When `Exited` is told, no process of the replica exists any more, its GPUs are
//!   free, and its log is complete.
//! * A replica outlives the agent. A runtime that is opened again knows every replica that was not removed, and
//!   tells of each how far it is before it tells anything else.

use muster_agent_core::Observation;
use muster_model::{Fence, GenerationContext, LaunchSpec, Millis, ReplicaId, Uid};
use tokio::sync::mpsc;

use super::logs::{LogError, LogQuery, LogStream};
pub use crate::shim::Until;

/// Something that runs replicas.
pub trait Runtime: Send + Sync + 'static {
    /// Prepares a replica: everything up to `Ready`, or `Exited` with the reason why not.
    fn prepare(&self, spec: LaunchSpec);

    /// Starts a replica's processes, as soon as it is ready.
    fn start(&self, id: ReplicaId, fence: Fence, context: GenerationContext);

    /// Asks a replica to end, and kills what is left of it when the grace period is over. Ordered again,
    /// the earlier end of the period holds.
    fn stop(&self, id: ReplicaId, fence: Fence, grace: Millis);

    /// Says until when a replica may run; it is ended then, whether the agent lives or not. `None`: for ever. What was said
    /// before does not count any more.
    fn lease(&self, id: ReplicaId, fence: Fence, until: Option<Until>);

    /// Forgets a replica once it has ended, with everything that it left behind except its log. One that
    /// has not ended is killed first.
    fn remove(&self, id: ReplicaId, fence: Fence);

    /// Deletes the logs of a job.
    fn forget_logs(&self, job: &Uid);

    /// The jobs whose logs are kept here.
    fn jobs_with_logs(&self) -> Vec<Uid>;

    /// Reads a replica's log.
    ///
    /// # Errors
    /// When there is no such log.
    fn logs(&self, query: &LogQuery) -> Result<LogStream, LogError>;
}

/// Something about a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// How far it is.
    State(Observation),
    /// What goes on while it is being prepared; the latest is enough.
    Progress {
        /// As a phrase, such as `init container fetch (1 of 2)`.
        text: String,
    },
    /// Something that the owner of the job should know: a warning event.
    Notice {
        /// As a sentence.
        text: String,
    },
}

/// An event of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// The replica.
    pub id: ReplicaId,
    /// Its placement and generation.
    pub fence: Fence,
    /// What was seen.
    pub seen: Seen,
}

/// A replica that was there when the runtime was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// What it was prepared from.
    pub spec: LaunchSpec,
    /// How far it is; `None` while it is being prepared.
    pub seen: Option<Observation>,
}

/// A runtime that was opened.
#[derive(Debug)]
pub struct Opened<R> {
    /// The runtime.
    pub runtime: R,
    /// Every replica that it found.
    pub adopted: Vec<Adopted>,
    /// What it tells from now on.
    pub events: Events,
}

/// The events of a runtime, in order. They must be taken: a runtime waits when too many are not.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<RuntimeEvent>);

/// How many events may wait. Each replica has a handful in its life.
const WAITING: usize = 1024;

impl Events {
    pub(crate) fn channel() -> (mpsc::Sender<RuntimeEvent>, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (sender, Self(receiver))
    }

    /// The next event if one waits already.
    pub fn waiting(&mut self) -> Option<RuntimeEvent> {
        self.0.try_recv().ok()
    }

    /// The next event; `None` when the runtime is gone.
    pub async fn next(&mut self) -> Option<RuntimeEvent> {
        self.0.recv().await
    }
}
