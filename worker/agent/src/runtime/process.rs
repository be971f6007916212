//! The runtime that runs replicas as processes of the machine, each under a shim of its own.
//!
//! The runtime itself holds nothing that is not also in the replicas' directories or known to their shims. Each
//! replica has one task here, which prepares it, talks to its shim, and tells what it sees; the calls
//! of the trait only change what is wanted of it.

mod adopt;
mod config;
mod devices;
mod directory;
mod prepare;
mod replica;
mod shared;
mod shim_link;
mod sweep;

use std::sync::Arc;

use muster_model::{Fence, GenerationContext, LaunchSpec, Millis, ReplicaId, Uid};
use muster_service::Tasks;

use super::contract::{Opened, Runtime, Until};
use super::images::Images;
use super::logs::{LogError, LogQuery, LogStream};
pub use adopt::Error;
pub use config::{Config, ShimCommand};
use replica::Origin;
use shared::Shared;

/// The process runtime. Its calls must be made within the tokio runtime of `Tasks`.
#[derive(Debug)]
pub struct ProcessRuntime {
    shared: Arc<Shared>,
}

impl ProcessRuntime {
    /// Opens the runtime on its data directory and finds out about every replica in it.
    ///
    /// When `tasks` are stopped, the runtime does no more; the replicas go on under their shims.
    ///
    /// # Errors
    /// When the directory cannot be used, or another agent uses it.
    pub async fn open(
        config: Config,
        images: Arc<dyn Images>,
        tasks: Tasks,
    ) -> Result<Opened<Self>, Error> {
        let (shared, events) = Shared::open(config, images, tasks).await?;
        let adopted = adopt::adopt(&shared).await?;
        Ok(Opened { runtime: Self { shared }, adopted, events })
    }
}

impl Runtime for ProcessRuntime {
    fn prepare(&self, spec: LaunchSpec) {
        replica::begin(&self.shared, Origin::New(Box::new(spec)));
    }

    fn start(&self, id: ReplicaId, fence: Fence, context: GenerationContext) {
        self.shared.order((id, fence), |orders| {
            orders.start.get_or_insert(context);
        });
    }

    fn stop(&self, id: ReplicaId, fence: Fence, grace: Millis) {
        self.shared.order((id, fence), |orders| orders.stop_within(grace));
    }

    fn lease(&self, id: ReplicaId, fence: Fence, until: Option<Until>) {
        self.shared.order((id, fence), |orders| orders.lease = Some(until));
    }

    fn remove(&self, id: ReplicaId, fence: Fence) {
        self.shared.order((id, fence), |orders| {
            orders.remove = true;
            orders.stop_within(Millis(0));
        });
    }

    fn forget_logs(&self, job: &Uid) {
        self.shared.forget_logs(job);
    }

    fn jobs_with_logs(&self) -> Vec<Uid> {
        self.shared.jobs_with_logs()
    }

    fn logs(&self, query: &LogQuery) -> Result<LogStream, LogError> {
        self.shared.logs(query)
    }
}
