//! What an agent needs to know.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use muster_model::{NameError, NodeName};
use muster_trust::{Identity, JoinToken, Subject};
use thiserror::Error;

use crate::machine::{CgroupOptions, Overrides};
use crate::runtime::ShimCommand;

use super::environments::EnvironmentOptions;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The node's name is no DNS name.
    #[error("node name: {0}; choose one with --node-name")]
    NodeName(#[from] NameError),
    /// The coordinator's address has no host.
    #[error("{0:?} is no address of a coordinator; write it as https://HOST:PORT")]
    Coordinator(String),
    /// The agent's own address cannot be found out.
    #[error("the address of this node cannot be found out ({0}); give it with --address")]
    Address(std::io::Error),
}

/// Makes an identity for a node and an agent of these names.
pub type Certify = Arc<dyn Fn(&Subject) -> Result<Identity, String> + Send + Sync>;

/// What lets an agent in.
#[derive(Clone)]
pub enum Access {
    /// The token of the coordinator's data directory, in the clear, on loopback.
    OwnersToken(String),
    /// The certificate in the agent's data directory; the first one for this token.
    Joined {
        /// The token, if there is one.
        token: Option<JoinToken>,
    },
    /// A member in the same process.
    Here(Certify),
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OwnersToken(_) => "OwnersToken",
            Self::Joined { .. } => "Joined",
            Self::Here(_) => "Here",
        })
    }
}

/// What an agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where replicas, logs and the agent's identity lie.
    pub data: PathBuf,
    /// The coordinator's gRPC address, `https://HOST:PORT`, or with `http` on loopback.
    pub coordinator: String,
    /// What lets the agent in.
    pub access: Access,
    /// The node's name, unique in the cluster.
    pub node_name: NodeName,
    /// The address at which replicas of this node can be reached from others. `None`: the one from which the
    /// coordinator is reached.
    pub address: Option<IpAddr>,
    /// Capacities that replace or add to the detected ones.
    pub overrides: Overrides,
    /// Where environments lie and how images map to them.
    pub environments: EnvironmentOptions,
    /// Where control groups are made.
    pub cgroups: CgroupOptions,
    /// How shims are started.
    pub shim: ShimCommand,
    /// The agent's own environment variables, of which replicas see some.
    pub variables: Vec<(String, String)>,
}

impl Config {
    /// The address that the node announces.
    ///
    /// # Errors
    /// When it is not given and cannot be found out.
    pub(crate) fn announced_address(&self) -> Result<String, Error> {
        if let Some(address) = self.address {
            return Ok(address.to_string());
        }
        let mut failed = Error::Coordinator(self.coordinator.clone());
        for member in self.coordinator.split(',').map(str::trim) {
            let authority = member.split_once("://").map_or(member, |(_, authority)| authority);
            match self.address_towards(authority.trim_end_matches('/')) {
                Ok(address) => return Ok(address),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn address_towards(&self, authority: &str) -> Result<String, Error> {
        // Connecting a datagram socket sends nothing: it only asks the kernel which address it would use.
        let probe = |local: &str| -> std::io::Result<IpAddr> {
            let socket = UdpSocket::bind(local)?;
            socket.connect(authority)?;
            Ok(socket.local_addr()?.ip())
        };
        match probe("0.0.0.0:0").or_else(|_| probe("[::]:0")) {
            Ok(address) => Ok(address.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                Err(Error::Coordinator(self.coordinator.clone()))
            }
            Err(error) => Err(Error::Address(error)),
        }
    }
}

/// The machine's host name as a node name: lower case, odd characters replaced.
///
/// # Errors
/// When nothing usable is left.
pub fn default_node_name() -> Result<NodeName, NameError> {
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let clean: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    NodeName::new(clean.trim_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_name_becomes_a_node_name() {
        assert!(default_node_name().is_ok());
    }
}
