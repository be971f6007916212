//! The task of one replica: from its preparation, or its adoption, to its removal.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_agent_core::Observation;
use muster_model::{Exit, ExitStatus, LaunchSpec, Millis};
use muster_service::{OnEnd, OnStop, TaskKind};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::directory::{self, connect};
use super::prepare::{self, Begun, Environments};
use super::shared::{Handle, Key, Orders, Shared};
use super::shim_link::ShimLink;
use super::sweep;
use crate::machine::cgroup::Limits;
use crate::runtime::contract::Seen;
use crate::shim::Failure;
use crate::shim::protocol::{Order, Report, Stage};
use crate::shim::record::{self, EXIT, ExitRecord, LAUNCH, Launch};

const REPLICA: TaskKind = TaskKind { name: "replica", on_stop: OnStop::Abort, on_end: OnEnd::Log };
const START: TaskKind = TaskKind { name: "start", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// Where a replica comes from.
#[derive(Debug)]
pub(super) enum Origin {
    /// It is to be prepared.
    New(Box<LaunchSpec>),
    /// It was found with a shim that answers.
    Live {
        launch: Box<Launch>,
        link: ShimLink,
        /// What has been told of it.
        told: Option<Observation>,
    },
    /// It was found ended, and that has been told.
    Ended(Box<Launch>),
}

impl Origin {
    fn spec(&self) -> &LaunchSpec {
        match self {
            Self::New(spec) => spec,
            Self::Live { launch, .. } | Self::Ended(launch) => &launch.spec,
        }
    }
}

/// Begins the task of a replica, unless it has one.
pub(super) fn begin(shared: &Arc<Shared>, origin: Origin) {
    let spec = origin.spec();
    let key = (spec.id, spec.fence);
    let log = shared.data.log(&spec.job_uid, &spec.short_name, spec.fence.generation);
    let (orders_tx, orders) = watch::channel(Orders::default());
    let (ended_tx, ended) = watch::channel(matches!(origin, Origin::Ended(_)));
    {
        let mut replicas = shared.replicas();
        if replicas.contains_key(&key) {
            return;
        }
        replicas.insert(key, Handle::new(orders_tx, log, ended));
    }
    let path = shared.data.replica(&directory::name(spec));
    let replica = Replica { shared: Arc::clone(shared), key, path, orders, ended: ended_tx };
    shared.tasks.spawn(REPLICA, async move {
        replica.live(origin).await;
        Ok::<(), Infallible>(())
    });
}

struct Replica {
    shared: Arc<Shared>,
    key: Key,
    path: PathBuf,
    orders: watch::Receiver<Orders>,
    ended: watch::Sender<bool>,
}

/// A replica that has, or had, a shim.
struct Held {
    launch: Launch,
    /// The shim's process, when this agent started it.
    child: Option<Child>,
    told: Option<Observation>,
    /// Dropped when the shim has said something: then the next one may start, and the shim itself has noted
    /// which environments it uses.
    starting: Option<(Starting, Environments)>,
}

/// A replica's turn to start. Starting costs processor time only, so that more at once than there are cores would
/// help none of them, and keep everything else on the machine waiting.
type Starting = oneshot::Sender<Infallible>;

/// A shim that says nothing for so long is no longer waited for by the next.
const TURN: Duration = Duration::from_secs(1);

impl Replica {
    async fn live(mut self, origin: Origin) {
        let exit = match origin {
            Origin::New(spec) => Some(self.prepare(*spec).await),
            Origin::Live { launch, link, told } => {
                let held = Held { launch: *launch, child: None, told, starting: None };
                Some(self.follow(held, link).await)
            }
            Origin::Ended(_) => None,
        };
        if let Some(exit) = exit {
            self.shared.devices().free(self.key);
            self.shared.tell_end(self.key, &self.ended, exit).await;
        }
        let removed = self.orders.wait_for(|orders| orders.remove).await.is_ok();
        if removed {
            self.remove().await;
        }
    }

    async fn prepare(&mut self, spec: LaunchSpec) -> Exit {
        let begun = self.begin(spec).await.and_then(|begun| {
            let Some((begun, starting)) = begun else { return Ok(None) };
            let link = ShimLink::new(begun.stream).map_err(|error| {
                Failure::passing(format!("cannot talk to the replica's shim: {error}"))
            })?;
            let held = Held {
                launch: begun.launch,
                child: Some(begun.child),
                told: None,
                starting: Some((starting, begun.environments)),
            };
            Ok(Some((held, link)))
        });
        match begun {
            Ok(Some((held, link))) => self.follow(held, link).await,
            Ok(None) => Exit { status: ExitStatus::NeverStarted, after_stop: true },
            Err(failure) => Exit { status: failure.into(), after_stop: false },
        }
    }

    /// Starts the shim; `None` when the replica was stopped before there was anything of it.
    async fn begin(&self, spec: LaunchSpec) -> Result<Option<(Begun, Starting)>, Failure> {
        if !directory::is_plain(&directory::name(&spec)) || !directory::is_plain(&spec.short_name) {
            return Err(Failure::permanent(format!(
                "the job's uid {:?} or the replica's name {:?} cannot be a file name",
                spec.job_uid.0, spec.short_name
            )));
        }
        let pod = &spec.role.pod;
        self.tell_shortcoming(&spec).await;
        let mut orders = self.orders.clone();
        let stopped = orders.wait_for(|orders| orders.stop.is_some());
        let made = async {
            let environments = prepare::environments(&self.shared, self.key, pod).await?;
            Ok::<_, Failure>((environments, self.turn().await))
        };
        let (environments, starting) = tokio::select! {
            made = made => made?,
            // An environment that is being made is finished all the same, for whoever needs it next.
            _ = stopped => return Ok(None),
        };
        let gpus = self.shared.devices().take(self.key, prepare::gpus_needed(pod))?;
        // From here on there may be a shim: a stop is a matter between it and this task.
        let shared = Arc::clone(&self.shared);
        let begun =
            tokio::task::spawn_blocking(move || prepare::begin(&shared, spec, environments, &gpus));
        begun
            .await
            .unwrap_or_else(|panic| {
                Err(Failure::passing(format!("the preparation has failed: {panic}")))
            })
            .map(|begun| Some((begun, starting)))
    }

    /// Waits for the replica's turn to start, which lasts until what is returned is dropped, but no longer than
    /// [`TURN`].
    async fn turn(&self) -> Starting {
        let permit = Arc::clone(&self.shared.starts).acquire_owned().await;
        let (starting, over) = oneshot::channel();
        self.shared.tasks.spawn(START, async move {
            // Nothing is ever sent: it ends when the sender is gone, or too late.
            let _ = tokio::time::timeout(TURN, over).await;
            drop(permit);
            Ok::<(), Infallible>(())
        });
        starting
    }

    async fn tell_shortcoming(&self, spec: &LaunchSpec) {
        let pod = &spec.role.pod;
        let limited = pod.init_containers.iter().chain(&pod.containers);
        if !limited.map(Limits::of).any(|one| one.limits_anything()) {
            return;
        }
        if let Some(text) = self.shared.cgroups.shortcoming()
            && self.shared.is_first_to_tell(&spec.job_uid)
        {
            self.shared.tell(self.key, Seen::Notice { text }).await;
        }
    }

    /// Talks with the shim until the replica has ended.
    async fn follow(&mut self, mut held: Held, mut link: ShimLink) -> Exit {
        loop {
            let told = self.converse(&mut held, &mut link).await;
            if let Some(exit) = told.or_else(|| self.written()) {
                reap(held.child).await;
                return exit;
            }
            if self.is_overdue() {
                warn!(replica = %self.key.0, fence = %self.key.1, "a shim does not stop its replica");
                break;
            }
            // It hung up without a last word: it was killed, or it dropped this connection only.
            match connect(&self.path).and_then(ShimLink::new) {
                Ok(again) => link = again,
                Err(_) => break,
            }
        }
        let was_ordered = self.orders.borrow().stop.is_some();
        let swept = sweep::sweep(&self.path, (&held.launch, was_ordered)).await;
        reap(held.child).await;
        if let Some(text) = prepare::complaint(&self.path) {
            warn!(replica = %self.key.0, fence = %self.key.1, complaint = %text, "a shim was lost");
        }
        if swept.leftovers {
            let text = format!(
                "processes of {} do not die although they were killed; they hang in the kernel",
                held.launch.spec.name
            );
            self.shared.tell(self.key, Seen::Notice { text }).await;
        }
        swept.exit
    }

    /// Whether the replica should have ended long ago.
    fn is_overdue(&self) -> bool {
        let patience = self.shared.config.stop_patience;
        self.orders.borrow().stop.is_some_and(|until| Instant::now() >= until + patience)
    }

    fn written(&self) -> Option<Exit> {
        let record = record::read::<ExitRecord>(&self.path, EXIT).ok().flatten();
        record.map(|record| record.exit)
    }

    /// One connection's conversation. `None` when the shim has hung up before it told the end, or does not
    /// end the replica although its time is over.
    async fn converse(&mut self, held: &mut Held, link: &mut ShimLink) -> Option<Exit> {
        let mut started = false;
        let mut stopped: Option<Instant> = None;
        let mut leased = None;
        loop {
            let orders = self.orders.borrow_and_update().clone();
            // Before anything is started.
            if let Some(until) = orders.lease
                && leased != Some(until)
            {
                leased = Some(until);
                link.send(&Order::Lease(until)).await;
            }
            if let Some(context) = orders.start
                && !started
            {
                started = true;
                link.send(&Order::Start(context)).await;
            }
            if let Some(until) = orders.stop
                && stopped.is_none_or(|earlier| until < earlier)
            {
                stopped = Some(until);
                let left = until.saturating_duration_since(Instant::now());
                let grace = Millis::from(left);
                link.send(&Order::Stop { grace }).await;
            }
            tokio::select! {
                report = link.next() => match self.report(report?, held).await {
                    Some(exit) => return Some(exit),
                    None => continue,
                },
                changed = self.orders.changed() => changed.ok()?,
                () = reached(stopped.map(|until| until + self.shared.config.stop_patience)) => {
                    return None;
                }
            }
        }
    }

    async fn report(&self, report: Report, held: &mut Held) -> Option<Exit> {
        held.starting = None;
        let stage = match report {
            Report::Notice { text } => {
                self.shared.tell(self.key, Seen::Notice { text }).await;
                return None;
            }
            Report::Stage(stage) => stage,
        };
        let observation = match stage {
            Stage::Preparing { step } => {
                self.shared.mention(self.key, step);
                return None;
            }
            Stage::Exited(exit) => return Some(exit),
            Stage::Ready { store_port, free_port } => Observation::Ready { store_port, free_port },
            Stage::Running => Observation::Running,
        };
        // A new connection begins with what was told on the last.
        if held.told.as_ref() != Some(&observation) {
            held.told = Some(observation.clone());
            self.shared.observe(self.key, observation).await;
        }
        None
    }

    async fn remove(self) {
        // The file knows where the groups were made, perhaps by an agent that was configured otherwise.
        let launch = record::read::<Launch>(&self.path, LAUNCH).ok().flatten();
        if let Some(launch) = launch {
            sweep::remove_groups(launch.groups).await;
        }
        let path = self.path.clone();
        let removed = tokio::task::spawn_blocking(move || sweep::remove_directory(&path)).await;
        if let Ok(Err(error)) = removed {
            warn!(directory = %self.path.display(), %error, "cannot remove what a replica left behind");
        }
        self.shared.replicas().remove(&self.key);
    }
}

/// Waits for a moment, or for ever.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// How long a shim that has said its last word, or was killed, may take to be gone.
const GONE: Duration = Duration::from_secs(20);

/// Collects the shim's process; it has ended, or is about to. One that hangs in the kernel, such as on the file
/// system of its log, is left to itself: the replica's end is told all the same.
async fn reap(child: Option<Child>) {
    if let Some(child) = child
        && !has_ended(child, GONE).await
    {
        warn!("a shim does not go away although it was killed; it hangs in the kernel");
    }
}

/// Waits for the end of a child, without holding a thread up.
async fn has_ended(mut child: Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(pause).await,
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_child_that_does_not_end_holds_nobody_up() {
        let begin = |program: &str| Command::new(program).arg("1000").spawn().expect("it is there");
        let slow = begin("sleep");
        let pid = rustix::process::Pid::from_child(&slow);
        assert!(!has_ended(slow, Duration::from_millis(20)).await);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
        let waited = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        assert!(waited.is_ok_and(|ended| ended.is_some()));
        assert!(has_ended(begin("true"), Duration::from_secs(60)).await);
    }
}
