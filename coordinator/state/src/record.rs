//! The typed records that the state is made of. Fields are added with a default and never
//! reused: a record written by an older version must still decode.

use std::collections::BTreeMap;

use muster_model::{
    Attempt, Conditions, EventId, ExitStatus, Fence, GangPhase, GangSpec, Generation, Grant, JobId,
    JobKey, JobPhase, JoinRole, MemberId, Millis, NodeFacts, NodeId, NodeName, NodeRules, Obstacle,
    Peer, Rank, ReplicaId, ReplicaPhase, RequestId, Resources, RoleIndex, Taint, Timestamp, Uid,
};
use serde::{Deserialize, Serialize};

/// Counters and facts of the cluster. There is one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The id of the next job.
    pub next_job: JobId,
    /// The id of the next node.
    pub next_node: NodeId,
    /// The id of the next event.
    pub next_event: EventId,
    /// The greatest id that a member ever had.
    #[serde(default)]
    pub last_member: MemberId,
    /// The latest time that any command carried; time never goes back in the state.
    pub now: Timestamp,
}

/// A job as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its uid.
    pub uid: Uid,
    /// Its kind, namespace and name.
    pub key: JobKey,
    /// When it was created.
    pub created: Timestamp,
    /// The manifest as stored, JSON.
    pub manifest: String,
    /// Counts the changes of the manifest's spec (`metadata.generation`).
    pub spec_generation: u64,
    /// What the manifest means.
    pub gang: GangSpec,
    /// See [`muster_model::LaunchSpec::submit_dir`].
    pub submit_dir: Option<String>,
    /// Whether another controller manages it (`managedBy`): it is stored and never acted on.
    pub external: bool,
    /// When its deletion was asked for; it goes once its gang holds nothing.
    pub deleting: Option<Timestamp>,
}

/// A job's progress as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Where the job is.
    pub phase: JobPhase,
    /// Its conditions.
    pub conditions: Conditions,
    /// When its gang was first placed since it was created or resumed.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// How often the gang was restarted after a failure.
    pub restarts: u32,
    /// How many failures came in a row without a stable run between them.
    pub streak: u32,
    /// How many of those the program itself caused.
    pub program_streak: u32,
}

/// A job's gang: the machine that drives its agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gang {
    /// The current placement.
    pub attempt: Attempt,
    /// The current generation.
    pub generation: Generation,
    /// Where the gang is.
    pub phase: GangPhase,
    /// Since when it is there.
    pub since: Timestamp,
    /// When the current generation opened.
    pub opened: Option<Timestamp>,
    /// What the ranks of the current generation find each other through.
    pub rendezvous: Option<OpenRendezvous>,
    /// How many replicas of each role are where; in the order of roles.
    pub tally: Vec<RoleTally>,
    /// The failure that the current generation ended with, until it is judged.
    pub failure: Option<Failure>,
    /// How long its ranks have between SIGTERM and SIGKILL while it is evicted, where an operator has said so. Otherwise
    /// the pod templates say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<Millis>,
}

/// The addresses of an open generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRendezvous {
    /// The address of rank 0's node.
    pub leader_address: String,
    /// The rendezvous store's port there.
    pub store_port: Option<u16>,
    /// A port there that the program may bind.
    pub free_port: Option<u16>,
    /// Where all replicas are, by role and index; empty for a gang whose templates do not ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Vec<Peer>>,
}

/// How many replicas of a role are in which phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoleTally {
    /// Being prepared.
    pub assigned: u32,
    /// Prepared.
    pub ready: u32,
    /// Running.
    pub running: u32,
    /// Ended well, and by themselves.
    pub succeeded: u32,
    /// Ended badly by themselves.
    pub failed: u32,
    /// Ended because they were told to, however.
    pub stopped: u32,
}

/// Why a generation ended before its job did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The rank that is blamed: the first that failed, unless a later one was killed from outside,
    /// because then the first has only noticed the loss.
    pub rank: Rank,
    /// How it ended.
    pub status: ExitStatus,
    /// How many ranks failed by themselves, the blamed one included.
    pub count: u32,
}

/// One replica of a gang.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its role.
    pub role: RoleIndex,
    /// Its node.
    pub node: NodeId,
    /// The placement and generation that its phase speaks of.
    pub fence: Fence,
    /// Where it is.
    pub phase: ReplicaPhase,
    /// Whether what it asks for is reserved on its node.
    pub holds: bool,
}

/// A node that has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its unique name.
    pub name: NodeName,
    /// The address at which its replicas can be reached from other nodes, bare.
    pub address: String,
    /// What its replicas may use together.
    pub capacity: Resources,
    /// The labels that its agent registered with; the next registration replaces them.
    pub labels: BTreeMap<String, String>,
    /// What operators have set over those: a value, or nothing to hide the agent's label. Registrations leave it alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_labels: BTreeMap<String, Option<String>>,
    /// Since when an operator keeps new gangs away; `None`: they are welcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<Timestamp>,
    /// Its taints, in the order of keys and effects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<NodeTaint>,
    /// The version of its agent.
    pub version: String,
    /// The id that its agent drew when its data directory was made: what tells it from another machine of the same
    /// name. Empty in a record of before there were such ids.
    #[serde(default)]
    pub agent: String,
    /// So long after the last word of a leader its agent has stopped everything there, unless it is sure that nobody leads.
    /// `None`: it promises nothing, and what it ran may run for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Millis>,
    /// Where its agent answers other agents, as HOST:PORT; empty when it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// The addresses of members that its agent would ask for a leader, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// When it first registered.
    pub created: Timestamp,
    /// Whether its agent has a session.
    pub phase: NodePhase,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTaint {
    /// The taint.
    pub taint: Taint,
    /// Since when.
    pub added: Timestamp,
}

/// A member of the replicated coordinator. Who votes is consensus' own business and follows from these records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where its gRPC door can be reached by the others, by agents and by clients, as HOST:PORT.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// When it was added.
    pub joined: Timestamp,
    /// Whether it shall stay.
    pub phase: MemberPhase,
}

/// A token that somebody may be let in with. The secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of what it is for, its id and its secret.
    pub hash: [u8; 32],
    /// What it is for.
    pub purpose: TokenPurpose,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it counts; none: for ever.
    pub expires: Option<Timestamp>,
}

/// An object that is kept as it was sent: a config map, a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its uid.
    pub uid: Uid,
    /// When it was created.
    pub created: Timestamp,
    /// Counts the changes of what it says.
    pub generation: u64,
    /// The object in JSON, without what only a server writes.
    pub json: String,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenPurpose {
    /// A machine may join with it.
    Join {
        /// As what.
        role: JoinRole,
        /// How many machines.
        uses: u32,
        /// SHA-256 of the keys of those that have: one whose answer was lost asks again.
        used_by: Vec<[u8; 32]>,
    },
    /// It is a user.
    User {
        /// What the user may do.
        grants: Vec<Grant>,
    },
}

/// A subject's certificates that were made before do not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Before when.
    pub before: Timestamp,
}

/// Whether a member shall stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberPhase {
    /// It belongs to the cluster: without a vote until it has caught up, then with one.
    Staying,
    /// It is on its way out; the record goes once it has neither vote nor log.
    Leaving,
}

/// Whether a node's agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodePhase {
    /// Its agent has a session.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// Its agent's session ended and was not renewed within its lease. What it ran may still run.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
}

/// What a timer is for. One of each kind per job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimerKind {
    /// `activeDeadlineSeconds`.
    Deadline,
    /// `ttlSecondsAfterFinished`.
    TimeToLive,
    /// The end of a restart's delay.
    Backoff,
    /// The end of the time that leftover ranks of a succeeded job have.
    Drain,
    /// A `NoExecute` taint is no longer tolerated.
    Evict,
}

/// A timer's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerKey {
    /// The job that it belongs to.
    pub job: JobId,
    /// What it is for.
    pub kind: TimerKind,
}

/// A durable timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// When it is due.
    pub at: Timestamp,
}

/// What became of a request, so that its retry is answered alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// When it was decided.
    pub at: Timestamp,
    /// The jobs that it was about.
    pub jobs: Vec<JobId>,
}

impl RoleTally {
    /// The counter that a phase belongs to.
    pub(crate) fn slot(&mut self, phase: &ReplicaPhase) -> &mut u32 {
        match phase {
            ReplicaPhase::Assigned => &mut self.assigned,
            ReplicaPhase::Ready { .. } => &mut self.ready,
            ReplicaPhase::Running { .. } => &mut self.running,
            // A program that ends with 0 because it was told to stop has not finished its work.
            ReplicaPhase::Exited { exit, .. } if exit.after_stop => &mut self.stopped,
            ReplicaPhase::Exited { exit, .. } if exit.status.is_success() => &mut self.succeeded,
            ReplicaPhase::Exited { .. } => &mut self.failed,
        }
    }

    /// How many have ended.
    #[must_use]
    pub fn exited(&self) -> u32 {
        self.succeeded + self.failed + self.stopped
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.assigned + self.ready + self.running + self.exited()
    }
}

impl Gang {
    /// The current fence.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { attempt: self.attempt, generation: self.generation }
    }

    /// Whether every replica has ended.
    #[must_use]
    pub fn all_exited(&self) -> bool {
        self.tally.iter().all(|role| role.exited() == role.total())
    }

    /// Whether every replica is prepared.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        self.tally.iter().all(|role| role.ready == role.total())
    }
}

impl Node {
    /// The labels that selectors see: the agent's, with what operators have set over them.
    #[must_use]
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for (key, value) in &self.set_labels {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        labels
    }

    /// What keeps a role off the node, whatever is free there.
    #[must_use]
    pub fn obstacle(&self, rules: &NodeRules) -> Option<Obstacle> {
        if !self.phase.is_ready() {
            return Some(Obstacle::Unreachable);
        }
        if self.cordoned.is_some() {
            return Some(Obstacle::Cordoned);
        }
        let taints: Vec<Taint> = self.taints.iter().map(|mark| mark.taint.clone()).collect();
        let labels = self.all_labels();
        rules.obstacle(NodeFacts { name: &self.name, labels: &labels, taints: &taints })
    }
}

impl NodePhase {
    /// Whether the node can be used.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// The id of a replica from its job and rank.
pub(crate) fn replica_id(job: JobId, rank: Rank) -> ReplicaId {
    ReplicaId { job, rank }
}

/// Requests are pruned in the order of their times.
pub(crate) type RequestTime = (Timestamp, RequestId);
