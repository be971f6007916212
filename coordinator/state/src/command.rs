//! Commands: everything that can happen to the state, with time and randomness inside.

use std::collections::BTreeMap;

use muster_model::{
    Exit, Fence, GangSpec, JobId, JobKey, JoinRole, MemberId, Millis, NodeId, NodeName, ObjectKey,
    Placement, Reason, ReplicaId, RequestId, Resources, TaintChange, Timestamp, TokenId, Uid,
};

use crate::change::Changes;
use crate::record::TokenPurpose;
use crate::table::Index;

/// Something that happened or is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The request that it answers, if a client asked.
    pub request: Option<RequestId>,
    /// When, by the leader's clock.
    pub at: Timestamp,
    /// What.
    pub body: Body,
}

/// What a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Manifests to create or change jobs from: all of them, or none.
    Apply(Vec<Apply>),
    /// A job shall go.
    DeleteJob(DeleteJob),
    /// The scheduler found a place for a whole gang.
    BindGang(BindGang),
    /// An agent says what became of its replicas.
    ReportReplicas(ReportReplicas),
    /// An agent opened a session.
    RegisterNode(RegisterNode),
    /// An agent has learned where the members are.
    NodeKnows(NodeKnows),
    /// An agent's lease ran out.
    NodeUnreachable(NodeUnreachable),
    /// An unreachable agent has surely stopped what it ran of some jobs.
    CutOff(CutOff),
    /// An operator says that a node will not come back and that nothing runs on it.
    RemoveNode(RemoveNode),
    /// An operator keeps new gangs off a node, or lets them on it again.
    CordonNode(CordonNode),
    /// An operator sets labels of a node.
    LabelNode(LabelNode),
    /// An operator taints a node.
    TaintNode(TaintNode),
    /// An operator drains a node that the gang has ranks on.
    EvictGang(EvictGang),
    /// A member says where it is; it must belong to the cluster.
    AnnounceMember(AnnounceMember),
    /// A member is to join.
    AddMember(AddMember),
    /// A member is to leave.
    RemoveMember(RemoveMember),
    /// A member that was to leave has neither vote nor log any more.
    MemberLeft(MemberLeft),
    /// A token is to count.
    CreateToken(CreateToken),
    /// A token is to count no more.
    RemoveToken(RemoveToken),
    /// A machine wants to join with a token.
    UseToken(UseToken),
    /// Certificates are taken back.
    Revoke(Revoke),
    /// An object is to be kept as it was sent.
    PutObject(PutObject),
    /// Such an object is to go.
    DeleteObject(DeleteObject),
    /// A timer is due.
    Tick,
}

/// What one manifest does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// A new job.
    Create(Box<CreateJob>),
    /// A changed manifest of a job that exists.
    Update(Box<UpdateJob>),
}

/// See [`Apply::Create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateJob {
    /// Its kind, namespace and name.
    pub key: JobKey,
    /// Its uid, drawn by the leader.
    pub uid: Uid,
    /// The manifest as stored.
    pub manifest: String,
    /// What it means.
    pub gang: GangSpec,
    /// See [`muster_model::LaunchSpec::submit_dir`].
    pub submit_dir: Option<String>,
    /// Whether another controller manages it.
    pub external: bool,
    /// What the front door found worth a warning; becomes events.
    pub warnings: Vec<String>,
}

/// See [`Apply::Update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateJob {
    /// The job.
    pub key: JobKey,
    /// The version that the change was made from; a job that has changed since is refused.
    pub based_on: Index,
    /// The new manifest.
    pub manifest: String,
    /// What it means.
    pub gang: GangSpec,
    /// Whether `spec` differs from before, and not only metadata.
    pub spec_changed: bool,
}

/// See [`Body::DeleteJob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteJob {
    /// The job.
    pub key: JobKey,
    /// The uid that it must have, if the caller cares.
    pub uid: Option<Uid>,
}

/// See [`Body::BindGang`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindGang {
    /// The place of every rank.
    pub placement: Placement,
}

/// See [`Body::ReportReplicas`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportReplicas {
    /// The node that reports; a report about another node's replica is dropped.
    pub node: NodeId,
    /// What it reports, in the order in which it happened.
    pub reports: Vec<ReplicaReport>,
}

/// One thing that happened to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The replica.
    pub id: ReplicaId,
    /// The fence under which it was ordered.
    pub fence: Fence,
    /// What happened.
    pub what: Reported,
}

/// What an agent can report of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// It is prepared.
    Ready {
        /// The rendezvous store's port, when it holds it.
        store_port: Option<u16>,
        /// A port that its program may bind, likewise.
        free_port: Option<u16>,
    },
    /// Its process runs.
    Running,
    /// It ended.
    Exited(Exit),
    /// Something its owner should know.
    Notice(String),
}

/// See [`Body::RegisterNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterNode {
    /// Its name.
    pub name: NodeName,
    /// See [`crate::Node::address`].
    pub address: String,
    /// What it has.
    pub capacity: Resources,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its agent's version.
    pub version: String,
    /// See [`crate::Node::agent`].
    pub agent: String,
    /// See [`crate::Node::cut_off`].
    pub cut_off: Option<Millis>,
    /// See [`crate::Node::witness`].
    pub witness: String,
    /// See [`crate::Node::members`].
    pub members: Vec<String>,
}

/// See [`Body::NodeKnows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKnows {
    /// The node.
    pub node: NodeId,
    /// See [`crate::Node::members`].
    pub members: Vec<String>,
}

/// See [`Body::NodeUnreachable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUnreachable {
    /// The node.
    pub node: NodeId,
}

/// See [`Body::CutOff`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// The node.
    pub node: NodeId,
    /// Since when it was unreachable when that was found: had it been back in between, nothing follows.
    pub since: Timestamp,
    /// The jobs.
    pub jobs: Vec<JobId>,
}

/// See [`Body::RemoveNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveNode {
    /// Its name.
    pub name: String,
}

/// See [`Body::CordonNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CordonNode {
    /// Its name.
    pub name: String,
    /// Whether new gangs are kept away.
    pub cordon: bool,
}

/// See [`Body::LabelNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelNode {
    /// Its name.
    pub name: String,
    /// The new values; `None` takes a label away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Whether a label that has another value is changed instead of refused.
    pub overwrite: bool,
}

/// See [`Body::TaintNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaintNode {
    /// Its name.
    pub name: String,
    /// What changes: all of it, or nothing.
    pub changes: Vec<TaintChange>,
    /// Whether a taint that has another value is changed instead of refused.
    pub overwrite: bool,
}

/// See [`Body::EvictGang`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvictGang {
    /// The gang's job.
    pub job: JobId,
    /// The name of the node that is drained.
    pub node: String,
    /// See [`crate::Gang::stop_grace`].
    pub grace: Option<Millis>,
    /// Whether a gang leaves even though its `restartPolicy` is `Never`.
    pub force: bool,
}

/// See [`Body::AnnounceMember`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceMember {
    /// The member.
    pub id: MemberId,
    /// See [`crate::Member::address`].
    pub address: String,
    /// See [`crate::Member::version`].
    pub version: String,
}

/// See [`Body::AddMember`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddMember {
    /// See [`crate::Member::address`].
    pub address: String,
    /// See [`crate::Member::version`].
    pub version: String,
}

/// See [`Body::RemoveMember`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveMember {
    /// The member.
    pub id: MemberId,
}

/// See [`Body::CreateToken`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateToken {
    /// What it is known by.
    pub id: TokenId,
    /// See [`crate::Token::hash`].
    pub hash: [u8; 32],
    /// What it is for.
    pub purpose: TokenPurpose,
    /// How long it counts; none: for ever.
    pub life: Option<Millis>,
}

/// See [`Body::RemoveToken`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveToken {
    /// Which.
    pub id: TokenId,
}

/// See [`Body::UseToken`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseToken {
    /// Which.
    pub id: TokenId,
    /// The hash of the secret that was shown.
    pub hash: [u8; 32],
    /// What the machine wants to be.
    pub role: JoinRole,
    /// SHA-256 of the machine's public key.
    pub key: [u8; 32],
}

/// See [`Body::Revoke`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// Whose certificates, as in the certificate: `agent/<node>/<agent>` and the like.
    pub subject: String,
}

/// See [`Body::PutObject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutObject {
    /// Its name.
    pub key: ObjectKey,
    /// The version that the change was made from; none: it must be new.
    pub based_on: Option<Index>,
    /// The uid of a new one, drawn by the leader.
    pub uid: Uid,
    /// See [`crate::Object::json`].
    pub json: String,
}

/// See [`Body::DeleteObject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteObject {
    /// Its name.
    pub key: ObjectKey,
    /// The uid that it must have, if the caller cares.
    pub uid: Option<Uid>,
}

/// See [`Body::MemberLeft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLeft {
    /// The member.
    pub id: MemberId,
}

/// What decide() says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer, to be given once the changes are committed.
    pub reply: Reply,
    /// What changes. Empty when the command was refused or has no effect.
    pub changes: Changes,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Accepted(Accepted),
    /// Refused; nothing has changed.
    Rejected(Reason),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// These jobs were created or changed, in the order of the manifests; now, or earlier by the
    /// same request.
    Applied(Vec<JobId>),
    /// A job goes or is gone.
    Deleted(JobId),
    /// A gang is placed.
    Bound(JobId),
    /// A node is registered.
    Registered(NodeId),
    /// A node is as an operator wants it.
    NodeChanged,
    /// A member has this id.
    Member(MemberId),
    /// Nothing more to say.
    Done,
}

impl Reply {
    /// The answer as a result.
    ///
    /// # Errors
    /// The reason of a refusal.
    pub fn into_result(self) -> Result<Accepted, Reason> {
        match self {
            Self::Accepted(accepted) => Ok(accepted),
            Self::Rejected(reason) => Err(reason),
        }
    }
}
