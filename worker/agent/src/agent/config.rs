//! What an agent needs to know.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_agent_core::Promise;
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

/// How long after the last word of a leader everything that the agent runs has stopped, unless it is sure that nobody
/// leads. See `docs/adr/0014-cut-off-agents.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CutOff {
    /// [`CutOff::DEFAULT`], or never when all coordinators are on loopback: no network can come between.
    #[default]
    ByAddress,
    /// So long.
    After(Duration),
    /// Never: what runs goes on, and if its node is lost, somebody must say so.
    Never,
}

impl CutOff {
    /// What counts when nothing else is said.
    pub const DEFAULT: Duration = Duration::from_secs(60);
    /// Less would not outlast the election of a leader and the way to it.
    pub const SHORTEST: Duration = Duration::from_secs(10);
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
    /// When it stops what it runs after it was cut off.
    pub cut_off: CutOff,
    /// The port at which it answers other agents. `None`: any, and the same again after a restart.
    pub witness_port: Option<u16>,
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

    /// What the agent promises its cluster.
    pub(crate) fn promise(&self) -> Promise {
        match self.cut_off {
            CutOff::Never => Promise::Nothing,
            CutOff::After(after) => Promise::Stops(after.into()),
            CutOff::ByAddress if self.coordinator.split(',').all(is_loopback) => Promise::Nothing,
            CutOff::ByAddress => Promise::Stops(CutOff::DEFAULT.into()),
        }
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

/// Whether a URL names this machine by a loopback address.
fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority).trim();
    let host = authority.trim_end_matches('/').rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
    fn addresses_of_this_machine_are_known() {
        for url in
            ["http://127.0.0.1:7575", "https://[::1]:1/", "localhost:80", "http://127.3.2.1:9"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://10.0.0.1:7575", "https://[fe80::1]:1", "https://head:7575", ""] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn the_host_name_becomes_a_node_name() {
        assert!(default_node_name().is_ok());
    }
}
