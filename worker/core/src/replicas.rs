//! What an agent does about its replicas: orders and observations in, actions and reports out.
//!
//! Orders are level-triggered and fenced. The same order twice is one action; an order with a newer fence
//! means that whatever the agent still has under older fences goes first; what a full list of orders does not
//! name goes, too. The agent never decides about a job: it does as told and reports what it sees. Without a
//! coordinator it simply goes on.
//!
//! ```text
//!  order Prepare        Ready seen        order Run         Running seen
//!  -----------> Preparing -----> Ready ---------> Starting -----------> Running
//!                  |               |                  |                    |
//!                  +---------------+------ order Stop +--------------------+
//!                                          (stopping)        Exited seen --+--> Exited --order Clear--> gone
//! ```

use std::collections::BTreeMap;

use muster_model::{Exit, ExitStatus, Fence, GenerationContext, LaunchSpec, Millis, ReplicaId};

/// An order from the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Prepare and report ready.
    Prepare(Box<LaunchSpec>),
    /// The generation is open: run.
    Run(GenerationContext),
    /// Stop within the grace period.
    Stop(Millis),
    /// Forget; stop first what still runs.
    Clear,
    /// One that cannot be read, and why. A coordinator of another version may send it.
    Unreadable(String),
}

/// What the runtime saw of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It is prepared.
    Ready {
        /// The rendezvous store's port, if it holds the store.
        store_port: Option<u16>,
        /// A port reserved for its program, likewise.
        free_port: Option<u16>,
    },
    /// Its processes run.
    Running,
    /// It has ended, and nothing of it is left.
    Exited(Exit),
}

/// What the agent shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Let the runtime prepare a replica.
    Prepare(Box<LaunchSpec>),
    /// Let the runtime start a prepared replica.
    Start(ReplicaId, Fence, GenerationContext),
    /// Let the runtime stop a replica.
    Stop(ReplicaId, Fence, Millis),
    /// Let the runtime remove what is left of an ended replica.
    Remove(ReplicaId, Fence),
    /// Tell the coordinator.
    Report(ReplicaId, Fence, Observation),
}

/// How far a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// To be prepared once everything with an older fence is gone.
    Held,
    Preparing,
    Ready {
        store_port: Option<u16>,
        free_port: Option<u16>,
    },
    Starting,
    Running,
    Exited(Exit),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Local {
    spec: Box<LaunchSpec>,
    stage: Stage,
    /// Whether it is to be removed once it has ended.
    clear: bool,
}

/// All replicas of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replicas {
    known: BTreeMap<(ReplicaId, Fence), Local>,
}

impl Replicas {
    /// No replicas.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a replica that the runtime found when the agent started. `seen` is `None` while it is
    /// still being prepared.
    pub fn adopt(&mut self, spec: LaunchSpec, seen: Option<Observation>) {
        let stage = match seen {
            None => Stage::Preparing,
            Some(Observation::Ready { store_port, free_port }) => {
                Stage::Ready { store_port, free_port }
            }
            Some(Observation::Running) => Stage::Running,
            Some(Observation::Exited(exit)) => Stage::Exited(exit),
        };
        let key = (spec.id, spec.fence);
        self.known.insert(key, Local { spec: Box::new(spec), stage, clear: false });
    }

    /// Every replica that has not ended.
    pub fn live(&self) -> impl Iterator<Item = (ReplicaId, Fence, &LaunchSpec)> {
        let live = self.known.iter().filter(|(_, local)| !matches!(local.stage, Stage::Exited(_)));
        live.map(|((id, fence), local)| (*id, *fence, &*local.spec))
    }

    /// Whether any replica has not ended.
    #[must_use]
    pub fn any_live(&self) -> bool {
        self.known.values().any(|local| !matches!(local.stage, Stage::Exited(_)))
    }

    /// Everything that was seen, for a coordinator that may not know it yet.
    #[must_use]
    pub fn reports(&self) -> Vec<Action> {
        let told = |((id, fence), local): (&(ReplicaId, Fence), &Local)| {
            local.seen().map(|seen| Action::Report(*id, *fence, seen))
        };
        self.known.iter().filter_map(told).collect()
    }

    /// Takes orders. `full`: whatever is not named is to be cleared.
    pub fn ordered(
        &mut self,
        full: bool,
        orders: impl IntoIterator<Item = (ReplicaId, Fence, Order)>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut named = Vec::new();
        for (id, fence, order) in orders {
            named.push((id, fence));
            self.order((id, fence), order, &mut actions);
        }
        if full {
            named.sort_unstable();
            let unnamed: Vec<_> = self
                .known
                .keys()
                .filter(|key| named.binary_search(key).is_err())
                .copied()
                .collect();
            for key in unnamed {
                self.clear(key, &mut actions);
            }
        }
        actions
    }

    fn order(&mut self, key: (ReplicaId, Fence), order: Order, actions: &mut Vec<Action>) {
        let (id, fence) = key;
        if self.fences(id).any(|known| known > fence) {
            // Overtaken: a newer order for the same replica is here already.
            if order != Order::Clear {
                return;
            }
        } else {
            let older: Vec<Fence> = self.fences(id).filter(|known| *known < fence).collect();
            for old in older {
                self.clear((id, old), actions);
            }
        }
        if let Some(Local { stage: Stage::Exited(exit), .. }) = self.known.get(&key)
            && order != Order::Clear
        {
            actions.push(Action::Report(id, fence, Observation::Exited(exit.clone())));
            return;
        }
        match order {
            Order::Prepare(spec) => self.prepare(key, spec, actions),
            Order::Run(context) => self.run(key, context, actions),
            Order::Stop(grace) => self.stop(key, grace, actions),
            Order::Clear => self.clear(key, actions),
            // One that runs goes on: it was understood when it was begun.
            Order::Unreadable(why) if !self.known.contains_key(&key) => {
                let status = ExitStatus::StartFailed { why, permanent: true };
                let exit = Exit { status, after_stop: false };
                actions.push(Action::Report(id, fence, Observation::Exited(exit)));
            }
            Order::Unreadable(_) => {}
        }
    }

    fn fences(&self, id: ReplicaId) -> impl Iterator<Item = Fence> + '_ {
        self.known.keys().filter(move |(known, _)| *known == id).map(|(_, fence)| *fence)
    }

    fn prepare(
        &mut self,
        key: (ReplicaId, Fence),
        spec: Box<LaunchSpec>,
        actions: &mut Vec<Action>,
    ) {
        if self.known.contains_key(&key) {
            return;
        }
        let alone = self.fences(key.0).next().is_none();
        let stage = if alone { Stage::Preparing } else { Stage::Held };
        if alone {
            actions.push(Action::Prepare(spec.clone()));
        }
        self.known.insert(key, Local { spec, stage, clear: false });
    }

    fn run(
        &mut self,
        key: (ReplicaId, Fence),
        context: GenerationContext,
        actions: &mut Vec<Action>,
    ) {
        let (id, fence) = key;
        match self.known.get_mut(&key) {
            Some(local) => match local.stage {
                Stage::Ready { .. } => {
                    local.stage = Stage::Starting;
                    actions.push(Action::Start(id, fence, context));
                }
                Stage::Starting | Stage::Running | Stage::Exited(_) => {}
                // It was ready once, or its generation would not be open: what was prepared is lost.
                Stage::Preparing => {
                    let grace = local.spec.role.pod.termination_grace;
                    actions.push(Action::Stop(id, fence, grace));
                }
                Stage::Held => {
                    self.known.remove(&key);
                    actions.push(lost(key, false));
                }
            },
            None => actions.push(lost(key, false)),
        }
    }

    fn stop(&mut self, key: (ReplicaId, Fence), grace: Millis, actions: &mut Vec<Action>) {
        let (id, fence) = key;
        match self.known.get_mut(&key) {
            Some(local) if local.stage == Stage::Held => {
                self.known.remove(&key);
                let exit = Exit { status: ExitStatus::NeverStarted, after_stop: true };
                actions.push(Action::Report(id, fence, Observation::Exited(exit)));
            }
            Some(local) if matches!(local.stage, Stage::Exited(_)) => {}
            Some(_) => {
                actions.push(Action::Stop(id, fence, grace));
                if cfg!(sim_bug = "report_stopped_early") {
                    actions.push(lost(key, true));
                }
            }
            None => actions.push(lost(key, true)),
        }
    }

    fn clear(&mut self, key: (ReplicaId, Fence), actions: &mut Vec<Action>) {
        let (id, fence) = key;
        let Some(local) = self.known.get_mut(&key) else {
            return;
        };
        match local.stage {
            Stage::Held => {
                self.known.remove(&key);
            }
            Stage::Exited(_) => {
                actions.push(Action::Remove(id, fence));
                self.gone(key, actions);
            }
            _ if cfg!(sim_bug = "clear_without_stop") => {
                self.known.remove(&key);
            }
            _ if local.clear => {}
            _ => {
                local.clear = true;
                actions.push(Action::Stop(id, fence, local.spec.role.pod.termination_grace));
            }
        }
    }

    /// A replica is removed; one with a newer fence that waited for it can be prepared.
    fn gone(&mut self, key: (ReplicaId, Fence), actions: &mut Vec<Action>) {
        self.known.remove(&key);
        let id = key.0;
        let mut rest = self.known.iter_mut().filter(|((known, _), _)| *known == id);
        if let (Some((_, local)), None) = (rest.next(), rest.next())
            && local.stage == Stage::Held
        {
            local.stage = Stage::Preparing;
            actions.push(Action::Prepare(local.spec.clone()));
        }
    }

    /// Takes what the runtime saw.
    pub fn observed(&mut self, id: ReplicaId, fence: Fence, seen: Observation) -> Vec<Action> {
        let mut actions = Vec::new();
        let key = (id, fence);
        let Some(local) = self.known.get_mut(&key) else {
            return actions;
        };
        let next = match (&local.stage, &seen) {
            (Stage::Exited(_), _) => return actions,
            (Stage::Preparing, Observation::Ready { store_port, free_port }) => {
                Stage::Ready { store_port: *store_port, free_port: *free_port }
            }
            (_, Observation::Ready { .. }) => return actions,
            (_, Observation::Running) => Stage::Running,
            (_, Observation::Exited(exit)) => Stage::Exited(exit.clone()),
        };
        local.stage = next;
        let clear = local.clear && matches!(local.stage, Stage::Exited(_));
        actions.push(Action::Report(id, fence, seen));
        if clear {
            actions.push(Action::Remove(id, fence));
            self.gone(key, &mut actions);
        }
        actions
    }
}

impl Local {
    fn seen(&self) -> Option<Observation> {
        match &self.stage {
            Stage::Held | Stage::Preparing | Stage::Starting => None,
            Stage::Ready { store_port, free_port } => {
                Some(Observation::Ready { store_port: *store_port, free_port: *free_port })
            }
            Stage::Running => Some(Observation::Running),
            Stage::Exited(exit) => Some(Observation::Exited(exit.clone())),
        }
    }
}

fn lost((id, fence): (ReplicaId, Fence), after_stop: bool) -> Action {
    let exit = Exit { status: ExitStatus::Lost, after_stop };
    Action::Report(id, fence, Observation::Exited(exit))
}

#[cfg(test)]
mod tests;
