//! L0: the words of Muster. Ids, quantities, gang specifications, phases and reasons.
//!
//! Everything here is plain data with total functions on it: no I/O, no clock, no randomness. The
//! crate knows nothing of the wire format (`muster-proto`) and nothing of manifests
//! (`muster-kinds`); both translate into these types.

mod access;
mod condition;
mod container;
mod event;
mod exit;
mod field_error;
mod gang;
mod ids;
mod labels;
mod launch;
mod names;
mod node_rules;
mod phase;
mod policy;
mod quantity;
mod reason;
mod resources;
mod taint;
mod template;
mod time;
mod view;
mod wait;

pub use access::{AccessRole, Grant, JoinRole, TokenFault, TokenId};
pub use condition::{Condition, ConditionType, Conditions};
pub use container::{
    ContainerSpec, EnvSource, EnvVar, HostPathKind, PodSpec, PortSpec, Volume, VolumeMount,
    VolumeSource,
};
pub use event::{Event, EventReason, Severity};
pub use exit::{Cause, Exit, ExitStatus};
pub use field_error::{FieldError, FieldPath, Problem};
pub use gang::{GangSpec, Naming, Rendezvous, RoleIndex, RoleName, RoleSpec, SuccessRule};
pub use ids::{
    Attempt, EventId, Fence, Generation, JobId, MemberId, NodeId, ObjectKey, Rank, ReplicaId,
    RequestId, Uid,
};
pub use labels::{LABEL_KEY, LABEL_VALUE, LabelChange, LabelError, is_label_key, is_label_value};
pub use launch::{GenerationContext, LaunchSpec};
pub use names::{
    JobKey, JobKind, JobName, NameError, Namespace, NodeName, is_dns1035_label,
    is_dns1123_subdomain,
};
pub use node_rules::{
    Excluded, LabelRule, NameRule, NodeFacts, NodeRules, NodeTerm, Obstacle, Rule,
};
pub use phase::{AfterStop, GangPhase, JobPhase, ReplicaPhase};
pub use policy::{CleanPodPolicy, RestartPolicy, RunPolicy, SchedulingPolicy, Verdict};
pub use quantity::{Quantity, QuantityError};
pub use reason::{Code, Reason};
pub use resources::{ResourceName, Resources};
pub use taint::{Taint, TaintChange, TaintEffect, TaintError, Tolerated, Toleration};
pub use template::{
    EnvTemplate, FileTemplate, Part, Peer, PeerPart, PeerSet, Peers, Roster, Template, Variable,
    host_of,
};
pub use time::{Millis, Timestamp};
pub use view::{GangView, NodeView, Placement, RoleView, View};
pub use wait::{Shortage, Wait};
