//! What one replica runs: containers, their environment and their volumes, as far as any Muster
//! runtime acts on them. Field names follow the Kubernetes `core/v1` PodSpec.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::node_rules::{NodeRules, NodeTerm};
use crate::resources::Resources;
use crate::taint::Toleration;
use crate::time::Millis;

/// The pod template of a role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSpec {
    /// Labels of the template.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the template.
    pub annotations: BTreeMap<String, String>,
    /// Run one after the other, to their ends, before the containers start.
    pub init_containers: Vec<ContainerSpec>,
    /// Run together. The one at `main` decides how the replica ends.
    pub containers: Vec<ContainerSpec>,
    /// Index of the main container.
    pub main: usize,
    /// Directories that the containers share.
    pub volumes: Vec<Volume>,
    /// How long a replica may take to end after SIGTERM before it is killed.
    pub termination_grace: Millis,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// `affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`: one of these terms must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<Vec<NodeTerm>>,
    /// Which taints of a node do not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name, unique in the pod.
    pub name: String,
    /// The image; the process runtime maps it to an environment.
    pub image: String,
    /// The program and its first arguments. Empty: the image's own entry point, which only the
    /// container runtime knows.
    pub command: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Where it starts. `None`: see [`crate::LaunchSpec::submit_dir`].
    pub working_dir: Option<String>,
    /// The environment, in the order of the manifest; a later duplicate wins.
    pub env: Vec<EnvVar>,
    /// What the scheduler reserves. A resource with a limit and no request is requested as limited.
    pub requests: Resources,
    /// What the runtime enforces.
    pub limits: Resources,
    /// Where volumes appear.
    pub mounts: Vec<VolumeMount>,
    /// Named ports.
    pub ports: Vec<PortSpec>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: EnvSource,
}

/// Where the value of an environment variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvSource {
    /// A text, in which `$(NAME)` stands for a variable defined before it.
    Value(String),
    /// A field of the replica, such as `metadata.name` or `status.podIP`.
    Field(String),
}

/// A named port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The name, empty when it has none.
    pub name: String,
    /// The port number.
    pub port: u16,
}

/// A directory that containers of one replica share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name by which mounts refer to it.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// An empty directory that lives as long as the replica; in memory when `memory` is set.
    EmptyDir {
        /// Whether it is a tmpfs.
        memory: bool,
        /// Its size limit in bytes; enforced for tmpfs.
        size_limit: Option<u64>,
    },
    /// A path of the node.
    HostPath {
        /// The absolute path.
        path: String,
        /// What must be there.
        kind: HostPathKind,
    },
}

/// The `type` of a hostPath volume: what must be at the path before the replica starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathKind {
    /// Not checked.
    Any,
    /// A directory, made when it is missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made when it is missing.
    FileOrCreate,
    /// A file.
    File,
}

/// Where a volume appears in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
    /// A path below the volume's root, or empty.
    pub sub_path: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

impl PodSpec {
    /// The container that decides how the replica ends.
    ///
    /// # Panics
    /// Never for a spec that admission let through: it has the main container.
    #[must_use]
    pub fn main_container(&self) -> &ContainerSpec {
        &self.containers[self.main]
    }

    /// What the replica asks of its node beside resources.
    #[must_use]
    pub fn node_rules(&self) -> NodeRules {
        NodeRules {
            selector: self.node_selector.clone(),
            affinity: self.node_affinity.clone(),
            tolerations: self.tolerations.clone(),
        }
    }

    /// What a node must have free for the replica: the sum over its containers, or the largest
    /// init container where that is more (Kubernetes' effective request).
    #[must_use]
    pub fn request(&self) -> Resources {
        let mut sum = Resources::new();
        for container in &self.containers {
            sum.add(&container.requests);
        }
        self.init_containers.iter().fold(sum, |largest, init| largest.max(&init.requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_init_container_raises_the_request() {
        let container = |cpu| ContainerSpec {
            requests: Resources::new().with("cpu", cpu),
            ..ContainerSpec::default()
        };
        let pod = PodSpec {
            containers: vec![container(1000), container(500)],
            init_containers: vec![container(4000), container(100)],
            ..PodSpec::default()
        };
        assert_eq!(pod.request(), Resources::new().with("cpu", 4000));
    }
}
