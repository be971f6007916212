//! A gang: replicas that are placed together, start together and restart together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::PodSpec;
use crate::ids::Rank;
use crate::names::JobName;
use crate::policy::{RestartPolicy, RunPolicy, SchedulingPolicy};
use crate::resources::Resources;
use crate::template::{EnvTemplate, FileTemplate, Template};

/// A replica type's name in its canonical case, such as `Master`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleName(pub String);

impl RoleName {
    /// The name as it appears in replica names and labels.
    #[must_use]
    pub fn lower(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role's place in its gang's list of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleIndex(pub usize);

/// Replicas of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// The type's name.
    pub name: RoleName,
    /// How many there are.
    pub replicas: u32,
    /// What a failure of one of them means.
    pub restart: RestartPolicy,
    /// What each of them runs.
    pub pod: PodSpec,
    /// The variables that the job kind injects into every container.
    pub env: Vec<EnvTemplate>,
    /// The variables that it injects into the main container only, after `env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub main_env: Vec<EnvTemplate>,
    /// The files that it puts into every container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileTemplate>,
    /// How often the main container's command is started in each replica, each with a local rank
    /// of its own. 1 unless the job asks Muster to be its launcher.
    pub processes: u32,
    /// How its replicas are called.
    #[serde(default, skip_serializing_if = "Naming::is_default")]
    pub naming: Naming,
}

impl RoleSpec {
    /// The full name of one of the replicas.
    #[must_use]
    pub fn replica_name(&self, job: &JobName, index: u32) -> String {
        let role = self.name.lower();
        match self.naming {
            Naming::RoleAndIndex => format!("{job}-{role}-{index}"),
            Naming::Role => format!("{job}-{role}"),
            Naming::ReplicatedJob => format!("{job}-{role}-0-{index}"),
            Naming::Index => format!("{job}-{index}"),
            Naming::Job => job.to_string(),
        }
    }

    /// Every text with holes that the kind wrote for the role.
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let env = self.env.iter().chain(&self.main_env).map(|variable| &variable.value);
        env.chain(self.files.iter().map(|file| &file.content))
    }
}

/// How the replicas of a role are called. The names are those that upstream gives to the pods of the kind (without
/// the random end that some have).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Naming {
    /// `<job>-<role>-<index>`, as the v1 training operators do.
    #[default]
    RoleAndIndex,
    /// `<job>-<role>`: the launcher of an MPIJob.
    Role,
    /// `<job>-<role>-0-<index>`: the only replica of a JobSet's replicated job.
    ReplicatedJob,
    /// `<job>-<index>`: a `batch/v1` Job.
    Index,
    /// `<job>`: a bare Pod.
    Job,
}

impl Naming {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the ranks of a gang find each other through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rendezvous {
    /// Nothing that Muster provides.
    None,
    /// A c10d store beside rank 0, fresh for every generation.
    TorchStore,
}

/// When a job has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuccessRule {
    /// When every replica of the role has ended well; other roles are ignored.
    All(RoleIndex),
    /// When any replica of the role has ended well.
    Any(RoleIndex),
    /// When the first replica of the role has ended well.
    First(RoleIndex),
}

impl SuccessRule {
    /// The role whose replicas decide.
    #[must_use]
    pub fn role(self) -> RoleIndex {
        match self {
            Self::All(role) | Self::Any(role) | Self::First(role) => role,
        }
    }
}

/// Everything Muster needs to know to run a job, whatever kind of manifest it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangSpec {
    /// The roles, in the order of their ranks.
    pub roles: Vec<RoleSpec>,
    /// How ranks find each other.
    pub rendezvous: Rendezvous,
    /// When the job has succeeded. The same role decides when it counts as running.
    pub success: SuccessRule,
    /// When to retry, to give up, to clean up.
    pub run_policy: RunPolicy,
    /// Queue and priority.
    pub scheduling: SchedulingPolicy,
}

impl GangSpec {
    /// How many replicas there are.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.roles.iter().map(|role| role.replicas).sum()
    }

    /// A role by its place.
    ///
    /// # Panics
    /// When the index is not of this gang.
    #[must_use]
    pub fn role(&self, index: RoleIndex) -> &RoleSpec {
        &self.roles[index.0]
    }

    /// The role of a rank and the index within it; `None` beyond the last rank.
    #[must_use]
    pub fn place(&self, rank: Rank) -> Option<(RoleIndex, u32)> {
        let mut rest = rank.0;
        for (index, role) in self.roles.iter().enumerate() {
            if rest < role.replicas {
                return Some((RoleIndex(index), rest));
            }
            rest -= role.replicas;
        }
        None
    }

    /// All ranks with their roles and indices within them, in order.
    pub fn ranks(&self) -> impl Iterator<Item = (Rank, RoleIndex, u32)> + '_ {
        let places =
            self.roles.iter().enumerate().flat_map(|(role, spec)| {
                (0..spec.replicas).map(move |index| (RoleIndex(role), index))
            });
        places.zip(0..).map(|((role, index), rank)| (Rank(rank), role, index))
    }

    /// Whether any template of the gang names peers: then every replica must be told of all of them
    /// when the generation opens.
    #[must_use]
    pub fn mentions_peers(&self) -> bool {
        self.roles.iter().flat_map(RoleSpec::templates).any(Template::mentions_peers)
    }

    /// Whether every replica of a role must hold a free port ready for the generation, because a
    /// template of the gang names it.
    #[must_use]
    pub fn reserves_ports(&self, role: RoleIndex) -> bool {
        let names_port = |(place, spec): (usize, &RoleSpec)| {
            spec.templates().any(|template| template.mentions_port_of(role, RoleIndex(place)))
        };
        self.roles.iter().enumerate().any(names_port)
    }

    /// A replica's full name; `None` beyond the last rank.
    #[must_use]
    pub fn replica_name(&self, job: &JobName, rank: Rank) -> Option<String> {
        let (role, index) = self.place(rank)?;
        Some(self.role(role).replica_name(job, index))
    }

    /// What the whole gang asks for.
    #[must_use]
    pub fn request(&self) -> Resources {
        let mut sum = Resources::new();
        for role in &self.roles {
            let one = role.pod.request();
            sum.add(
                &one.iter()
                    .map(|(name, amount)| {
                        (name.clone(), amount.saturating_mul(u64::from(role.replicas)))
                    })
                    .collect(),
            );
        }
        sum
    }

    /// A rank's short name, as logs and tables show it: `master-0`.
    #[must_use]
    pub fn rank_name(&self, rank: Rank) -> String {
        match self.place(rank) {
            Some((role, index)) => format!("{}-{index}", self.role(role).name.lower()),
            None => format!("rank-{rank}"),
        }
    }
}
