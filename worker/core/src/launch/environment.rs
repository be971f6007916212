//! The environment of a container's process.
//!
//! Layers, each of which overrides the ones before it:
//!
//! 1. the marker of the replica ([`super::MARKER_VARIABLE`]);
//! 2. `PATH` with the image's environment in front, and the portable variables of the agent;
//! 3. the host variables of the agent, when the image is mapped to no environment;
//! 4. the variables of the image's environment;
//! 5. what the manifest sets, in its order: `$(NAME)` stands for a variable that is defined before it, in
//!    any layer;
//! 6. what the job kind injects, except where it yields to the manifest (`user_wins`);
//! 7. `MUSTER_*`, which tell a program where it runs;
//! 8. the visible GPUs: their indices, or nothing on a node that has GPUs for other replicas.
//!
//! Before the generation is open (init containers, checks) the variables of layer 6 that need an
//! address or a port are left out.

use std::collections::BTreeMap;

use muster_model::{
    ContainerSpec, EnvSource, GenerationContext, LaunchSpec, ResourceName, Roster, Template,
    Variable, host_of,
};
use serde::{Deserialize, Serialize};

use super::MARKER_VARIABLE;
use super::base::path_of;
use super::error::Error;
use super::expand::expand;
use super::field::field_value;
use super::threads::threads;

/// What the node adds to every container's environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The address by which other nodes reach it.
    pub address: String,
    /// Its cores, in thousandths.
    pub millicores: u64,
    /// Whether it has GPUs.
    pub has_gpus: bool,
    /// The agent's `PATH`.
    pub path: Option<String>,
    /// The agent's variables for every container ([`super::portable_variables`]).
    pub portable: Vec<(String, String)>,
    /// The agent's variables for containers of unmapped images ([`super::host_variables`]).
    pub host: Vec<(String, String)>,
}

/// What an image stands for on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Toolbox {
    /// Folders that come first in `PATH`. None: the machine's own environment.
    pub path_prefix: Vec<String>,
    /// Variables that it needs.
    pub variables: Vec<(String, String)>,
}

/// Everything that a container's environment is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The replica.
    pub spec: &'a LaunchSpec,
    /// The container, one of the replica's.
    pub container: &'a ContainerSpec,
    /// The node.
    pub node: &'a NodeFacts,
    /// What the container's image stands for.
    pub toolbox: &'a Toolbox,
    /// What is known since the generation is open; `None` before.
    pub opened: Option<&'a GenerationContext>,
    /// The process's place in its replica.
    pub local_rank: u32,
    /// The indices of the GPUs that the container may use.
    pub gpus: &'a [u32],
    /// The replica's marker.
    pub marker: &'a str,
    /// What stands in front of the paths of the role's files ([`Variable::FilesRoot`]).
    pub files_root: &'a str,
}

/// The value of a variable in a composed environment.
#[must_use]
pub fn value_of<'e>(environment: &'e [(String, String)], name: &str) -> Option<&'e str> {
    let found = environment.iter().find(|(have, _)| have == name);
    found.map(|(_, value)| value.as_str())
}

/// The environment, every name once, in the order in which the names were first set.
///
/// # Errors
/// When a variable refers to an unknown field, has an unusable name or value, or needs a port that
/// the generation was opened without.
pub fn compose(inputs: &Inputs<'_>) -> Result<Vec<(String, String)>, Error> {
    let mut layers = Layers::default();
    layers.set(MARKER_VARIABLE, inputs.marker);
    let path = path_of(&inputs.toolbox.path_prefix, inputs.node.path.as_deref());
    layers.set("PATH", &path);
    layers.set_all(&inputs.node.portable);
    if inputs.toolbox.path_prefix.is_empty() {
        layers.set_all(&inputs.node.host);
    }
    layers.set_all(&inputs.toolbox.variables);
    let manifest = manifest(inputs, &mut layers)?;
    injected(inputs, &manifest, &mut layers)?;
    own(inputs, &mut layers);
    gpus(inputs, &mut layers);
    let bad = |value: &str| value.contains('\0');
    match layers.pairs.iter().find(|(_, value)| bad(value)) {
        Some((name, _)) => Err(Error::Nul {
            container: inputs.container.name.clone(),
            what: format!("env {name}"),
        }),
        None => Ok(layers.pairs),
    }
}

/// Applies the manifest's variables and answers their names.
fn manifest<'a>(inputs: &Inputs<'a>, layers: &mut Layers) -> Result<Vec<&'a str>, Error> {
    let mut names = Vec::new();
    for variable in &inputs.container.env {
        let name = variable.name.as_str();
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::BadName {
                container: inputs.container.name.clone(),
                variable: name.to_owned(),
            });
        }
        let value = match &variable.source {
            EnvSource::Value(text) => expand(text, |other| layers.get(other)),
            EnvSource::Field(field) => {
                field_value(field, inputs.spec, inputs.node).ok_or_else(|| Error::UnknownField {
                    container: inputs.container.name.clone(),
                    variable: name.to_owned(),
                    field: field.clone(),
                })?
            }
        };
        layers.set(name, &value);
        names.push(name);
    }
    Ok(names)
}

fn injected(inputs: &Inputs<'_>, manifest: &[&str], layers: &mut Layers) -> Result<(), Error> {
    use Variable::{FreePort, LeaderAddress, LeaderHost, StorePort};
    let role = &inputs.spec.role;
    let is_main = role.pod.main_container().name == inputs.container.name;
    let of_main = if is_main { role.main_env.as_slice() } else { &[] };
    for template in role.env.iter().chain(of_main) {
        if template.user_wins && manifest.contains(&template.name.as_str()) {
            continue;
        }
        let mentions = |variable| template.value.mentions(variable);
        let needs_opening = template.value.mentions_peers()
            || [LeaderAddress, LeaderHost, StorePort, FreePort].into_iter().any(mentions);
        let value = match inputs.opened {
            None if needs_opening => continue,
            opened => {
                let port = |variable, port: Option<u16>, name| {
                    if mentions(variable) && port.is_none() {
                        return Err(Error::NoPort { variable: template.name.clone(), port: name });
                    }
                    Ok(())
                };
                if let Some(opened) = opened {
                    port(StorePort, opened.store_port, "rendezvous store's port")?;
                    port(FreePort, opened.free_port, "free port")?;
                }
                fill(&template.value, inputs)
            }
        };
        layers.set(&template.name, &value);
    }
    Ok(())
}

/// A template of the job's kind as this replica reads it. What is known only once the generation is open is empty
/// before.
#[must_use]
pub fn fill(template: &Template, inputs: &Inputs<'_>) -> String {
    let roster = Roster {
        roles: inputs.opened.map_or(&[], |opened| &opened.peers),
        own_role: inputs.spec.role_index,
        own_index: inputs.spec.index_in_role,
    };
    template.fill(&roster, |variable| hole(variable, inputs))
}

fn hole(variable: Variable, inputs: &Inputs<'_>) -> String {
    let spec = inputs.spec;
    let address = || inputs.opened.map(|opened| opened.leader_address.clone()).unwrap_or_default();
    let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
    match variable {
        Variable::Rank => spec.id.rank.to_string(),
        Variable::ProcessRank => {
            let first = u64::from(spec.id.rank.0) * u64::from(spec.role.processes.max(1));
            (first + u64::from(inputs.local_rank)).to_string()
        }
        Variable::LocalRank => inputs.local_rank.to_string(),
        Variable::RoleIndex => spec.index_in_role.to_string(),
        Variable::LeaderAddress => address(),
        Variable::LeaderHost => host_of(&address()),
        Variable::StorePort => port(inputs.opened.and_then(|opened| opened.store_port)),
        Variable::FreePort => port(inputs.opened.and_then(|opened| opened.free_port)),
        Variable::RestartCount => spec.fence.generation.0.saturating_sub(1).to_string(),
        Variable::Generation => spec.fence.generation.to_string(),
        Variable::JobUid => spec.job_uid.to_string(),
        Variable::Threads => threads(spec, inputs.node.millicores).to_string(),
        Variable::NodeAddress => inputs.node.address.clone(),
        Variable::FilesRoot => inputs.files_root.to_owned(),
    }
}

/// `MUSTER_*`.
fn own(inputs: &Inputs<'_>, layers: &mut Layers) {
    let spec = inputs.spec;
    layers.set("MUSTER_JOB", spec.job.name.as_str());
    layers.set("MUSTER_JOB_KIND", &spec.job.kind.to_string());
    layers.set("MUSTER_JOB_UID", &spec.job_uid.to_string());
    layers.set("MUSTER_NAMESPACE", spec.job.namespace.as_str());
    layers.set("MUSTER_REPLICA", &spec.name);
    layers.set("MUSTER_ROLE", &spec.role.name.to_string());
    layers.set("MUSTER_ROLE_INDEX", &spec.index_in_role.to_string());
    layers.set("MUSTER_RANK", &spec.id.rank.to_string());
    layers.set("MUSTER_GANG_SIZE", &spec.gang_size.to_string());
    layers.set("MUSTER_ATTEMPT", &spec.fence.attempt.to_string());
    layers.set("MUSTER_GENERATION", &spec.fence.generation.to_string());
    layers.set("MUSTER_CONTAINER", &inputs.container.name);
    layers.set("MUSTER_LOCAL_RANK", &inputs.local_rank.to_string());
    layers.set("MUSTER_NODE", &inputs.node.name);
    // Said again, so that no manifest can take the mark off.
    layers.set(MARKER_VARIABLE, inputs.marker);
}

fn gpus(inputs: &Inputs<'_>, layers: &mut Layers) {
    let asked = inputs.container.requests.get(&ResourceName::nvidia_gpu()) > 0
        || inputs.container.limits.get(&ResourceName::nvidia_gpu()) > 0;
    if !asked && !inputs.node.has_gpus {
        return;
    }
    let indices: Vec<String> = inputs.gpus.iter().map(u32::to_string).collect();
    layers.set("CUDA_VISIBLE_DEVICES", &indices.join(","));
    // The indices are NVML's, which counts by bus id; CUDA by itself counts the fastest first.
    layers.set("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
}

/// Variables in the order of their first setting.
#[derive(Debug, Default)]
struct Layers {
    pairs: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
}

impl Layers {
    fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => self.pairs[*place].1 = value.to_owned(),
            None => {
                self.places.insert(name.to_owned(), self.pairs.len());
                self.pairs.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn set_all(&mut self, pairs: &[(String, String)]) {
        for (name, value) in pairs {
            self.set(name, value);
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let place = self.places.get(name)?;
        Some(&self.pairs[*place].1)
    }
}

#[cfg(test)]
pub(super) mod tests;
