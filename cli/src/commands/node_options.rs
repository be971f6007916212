//! What `muster up` and `muster agent` make of the flags that describe a node.

use std::net::IpAddr;
use std::path::Path;

use muster_agent::agent::{Access, Config, EnvironmentOptions, default_node_name};
use muster_agent::machine::{CgroupOptions, Overrides};
use muster_agent::runtime::ShimCommand;
use muster_environments::{EnvironmentStore, Machine};
use muster_model::NodeName;

use crate::args::Node;
use crate::exit::Failure;

/// The coordinator that an agent belongs to.
pub(super) struct Home {
    pub(super) coordinator: String,
    pub(super) access: Access,
    pub(super) address: Option<IpAddr>,
}

/// An agent's configuration.
pub(super) fn agent_config(data: &Path, node: &Node, home: Home) -> Result<Config, Failure> {
    let node_name = match &node.node_name {
        Some(name) => NodeName::new(name.clone()),
        None => default_node_name(),
    };
    let node_name = node_name.map_err(|error| Failure::usage(format!("--node-name: {error}")))?;
    let overrides = match &node.capacity {
        Some(text) => text
            .parse::<Overrides>()
            .map_err(|error| Failure::usage(format!("--capacity: {error}")))?,
        None => Overrides::default(),
    };
    Ok(Config {
        data: data.join("agent"),
        coordinator: home.coordinator,
        access: home.access,
        node_name,
        address: home.address,
        overrides,
        environments: EnvironmentOptions {
            root: environments_root(data),
            map: image_map(data, node.images.as_deref()),
        },
        cgroups: CgroupOptions { disabled: node.no_cgroups, ..CgroupOptions::default() },
        shim: ShimCommand::own(),
        cut_off: node.cut_off_after.unwrap_or_default(),
        witness_port: node.witness_port,
        variables: variables(),
    })
}

/// Where environments lie: shared by all data directories of a user, because they are large.
pub(super) fn environments_root(data: &Path) -> std::path::PathBuf {
    if let Some(root) = std::env::var_os("MUSTER_ENVIRONMENTS").filter(|root| !root.is_empty()) {
        return root.into();
    }
    EnvironmentStore::default_root(&Machine::from_process())
        .unwrap_or_else(|| data.join("environments"))
}

/// The image map that is named, or the one in the data directory.
pub(super) fn image_map(data: &Path, named: Option<&Path>) -> Option<std::path::PathBuf> {
    let own = data.join("images.yaml");
    named.map(Path::to_path_buf).or_else(|| own.is_file().then_some(own))
}

fn variables() -> Vec<(String, String)> {
    let text = |value: std::ffi::OsString| value.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}
