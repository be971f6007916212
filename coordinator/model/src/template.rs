//! Values that are known only when a generation opens: ranks, addresses, ports.
//!
//! A job kind writes its variables once per role, as texts with holes; the holes are filled on the agent, when
//! the coordinator has opened the generation and every address is final. So a gang of 10,000
//! ranks costs the replicated state one template per role and not 10,000 environments.

use serde::{Deserialize, Serialize};

use crate::gang::RoleIndex;

/// A variable that a job kind injects into every container of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvTemplate {
    /// The variable's name.
    pub name: String,
    /// Its value, with holes.
    pub value: Template,
    /// Whether a variable of the same name that the manifest sets stays as it is. Otherwise the
    /// injected one wins, as a later duplicate does in Kubernetes.
    pub user_wins: bool,
}

/// A file that a job kind puts into the containers of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTemplate {
    /// Where the program expects it: an absolute path. A runtime that cannot put it there keeps it
    /// below a folder of its own, and [`Variable::FilesRoot`] names that folder.
    pub path: String,
    /// Its permission bits, such as `0o555`.
    pub mode: u32,
    /// What is in it.
    pub content: Template,
}

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// This text.
    Text(String),
    /// The value of this variable.
    Hole(Variable),
    /// Something once for each of these replicas of the gang.
    Peers(Peers),
}

/// A list of replicas as a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// Which.
    pub of: PeerSet,
    /// What stands for each.
    pub each: Vec<PeerPart>,
    /// What stands between two.
    pub separator: String,
}

/// Replicas of a gang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerSet {
    /// All of a role, by index.
    Role(RoleIndex),
    /// The replica itself.
    Own,
}

/// A piece of what stands for one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerPart {
    /// This text.
    Text(String),
    /// Its index within its role.
    Index,
    /// The address of its node, bare.
    Address,
    /// As `Address`, but with brackets around IPv6, for `host:port` texts.
    Host,
    /// A port that was free on its node when the generation opened, and that only it was told to bind.
    Port,
}

/// Where a replica of an open generation is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The address of its node, bare.
    pub address: String,
    /// Its port, where the gang asks for one ([`crate::GangSpec::reserves_ports`]).
    pub port: Option<u16>,
}

/// All replicas of a gang as one of them sees them.
#[derive(Debug, Clone, Copy)]
pub struct Roster<'r> {
    /// By role and index.
    pub roles: &'r [Vec<Peer>],
    /// The role of the replica itself.
    pub own_role: RoleIndex,
    /// Its index within the role.
    pub own_index: u32,
}

impl<'r> Roster<'r> {
    /// For templates that name no peers.
    #[must_use]
    pub fn empty() -> Self {
        Self { roles: &[], own_role: RoleIndex(0), own_index: 0 }
    }

    fn replicas(&self, of: PeerSet) -> Vec<(u32, &'r Peer)> {
        let role = match of {
            PeerSet::Role(role) => role,
            PeerSet::Own => self.own_role,
        };
        let all = self.roles.get(role.0).into_iter().flatten();
        let wanted = |index: u32| of != PeerSet::Own || index == self.own_index;
        (0..).zip(all).filter(|(index, _)| wanted(*index)).collect()
    }
}

impl Peers {
    fn write(&self, roster: &Roster<'_>) -> String {
        let each = roster.replicas(self.of).into_iter().map(|(index, peer)| -> String {
            let part = |part: &PeerPart| match part {
                PeerPart::Text(text) => text.clone(),
                PeerPart::Index => index.to_string(),
                PeerPart::Address => peer.address.clone(),
                PeerPart::Host => host_of(&peer.address),
                PeerPart::Port => peer.port.map(|port| port.to_string()).unwrap_or_default(),
            };
            self.each.iter().map(part).collect()
        });
        each.collect::<Vec<_>>().join(&self.separator)
    }
}

/// An address as it stands in `host:port` texts: with brackets around IPv6 (RFC 3986, section 3.2.2).
#[must_use]
pub fn host_of(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// What a hole can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variable {
    /// The replica's place in the gang (torchrun's node rank).
    Rank,
    /// The process's place among all processes of the gang: rank x processes per replica + local
    /// rank. With one process per replica the same as `Rank`.
    ProcessRank,
    /// The process's place in its replica.
    LocalRank,
    /// The replica's index within its role.
    RoleIndex,
    /// The address of rank 0's node, bare (no brackets around IPv6).
    LeaderAddress,
    /// As `LeaderAddress`, but with brackets around IPv6, for `host:port` texts.
    LeaderHost,
    /// The port of the gang's rendezvous store.
    StorePort,
    /// A port on rank 0's node that is free when the generation opens and that a process there
    /// can bind.
    FreePort,
    /// How often the gang was restarted: generation - 1.
    RestartCount,
    /// The generation.
    Generation,
    /// The job's uid.
    JobUid,
    /// How many threads a process should use: the replica's CPU share divided by its processes,
    /// at least 1.
    Threads,
    /// The address of the replica's own node, bare. Known before the generation opens.
    NodeAddress,
    /// What stands in front of the paths of the role's files: nothing where the runtime could put
    /// them where they belong, else a folder. Known before the generation opens.
    FilesRoot,
}

impl Template {
    /// A text without holes.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// One hole.
    #[must_use]
    pub fn hole(variable: Variable) -> Self {
        Self(vec![Part::Hole(variable)])
    }

    /// Fills the holes. A replica that the roster does not have leaves no trace.
    #[must_use]
    pub fn fill(&self, roster: &Roster<'_>, value_of: impl Fn(Variable) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Hole(variable) => value_of(*variable),
                Part::Peers(peers) => peers.write(roster),
            })
            .collect()
    }

    /// Whether any hole stands for `variable`.
    #[must_use]
    pub fn mentions(&self, variable: Variable) -> bool {
        self.0.contains(&Part::Hole(variable))
    }

    /// Whether any part lists peers.
    #[must_use]
    pub fn mentions_peers(&self) -> bool {
        self.peers().next().is_some()
    }

    /// Whether it names the ports of `role` when a replica of `own` reads it.
    #[must_use]
    pub fn mentions_port_of(&self, role: RoleIndex, own: RoleIndex) -> bool {
        self.peers().any(|peers| {
            let is_meant = match peers.of {
                PeerSet::Role(listed) => listed == role,
                PeerSet::Own => own == role,
            };
            is_meant && peers.each.contains(&PeerPart::Port)
        })
    }

    fn peers(&self) -> impl Iterator<Item = &Peers> {
        self.0.iter().filter_map(|part| match part {
            Part::Peers(peers) => Some(peers),
            Part::Text(_) | Part::Hole(_) => None,
        })
    }
}

#[cfg(test)]
mod tests;
