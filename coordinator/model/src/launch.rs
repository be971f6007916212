//! What an agent is told about a replica: everything about it that does not change while its
//! generation lasts, and, once the generation opens, what was only known then.

use serde::{Deserialize, Serialize};

use crate::gang::{RoleIndex, RoleSpec};
use crate::ids::{Fence, Generation, ReplicaId, Uid};
use crate::names::JobKey;
use crate::template::Peer;

/// A replica as its agent prepares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// Which replica of which job.
    pub id: ReplicaId,
    /// The placement and generation that this is for.
    pub fence: Fence,
    /// The job's uid.
    pub job_uid: Uid,
    /// The job's kind, namespace and name.
    pub job: JobKey,
    /// The replica's full name: `<job>-<role>-<index>`.
    pub name: String,
    /// The short name in front of log lines: `<role>-<index>`.
    pub short_name: String,
    /// The role's place in the gang.
    pub role_index: RoleIndex,
    /// The replica's index within its role.
    pub index_in_role: u32,
    /// The role: what to run and the variables to inject.
    pub role: RoleSpec,
    /// How many replicas the gang has.
    pub gang_size: u32,
    /// How many replicas of the gang were placed on this replica's node, itself included.
    pub replicas_on_node: u32,
    /// Whether this replica's node holds the gang's rendezvous store (rank 0 of a gang that has one).
    pub holds_store: bool,
    /// Whether the replica must hold a free port ready before it reports ready, for the others to be told of.
    #[serde(default)]
    pub reserves_port: bool,
    /// Where the agents of the gang's other nodes answer whether they hear a leader, as HOST:PORT; empty for one that
    /// does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// The directory that the manifest was submitted from. A container without `workingDir` starts
    /// there, and a relative one is taken from there, as Slurm does with the submission directory.
    pub submit_dir: Option<String>,
}

/// What is known once every agent of a gang has reported ready and the generation opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationContext {
    /// The generation.
    pub generation: Generation,
    /// The address of rank 0's node, bare.
    pub leader_address: String,
    /// The port of the rendezvous store on that node.
    pub store_port: Option<u16>,
    /// A free port on that node.
    pub free_port: Option<u16>,
    /// All replicas, by role and index; empty for a gang whose templates name none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Vec<Peer>>,
}
