//! A gang: replicas that are placed together, start together and restart together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::PodSpec;
use crate::ids::Rank;
use crate::policy::{RestartPolicy, RunPolicy, SchedulingPolicy};
use crate::resources::Resources;
use crate::template::EnvTemplate;

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
    /// How often the main container's command is started in each replica, each with a local rank
    /// of its own. 1 unless the job asks Muster to be its launcher.
    pub processes: u32,
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
}

impl SuccessRule {
    /// The role whose replicas decide.
    #[must_use]
    pub fn role(self) -> RoleIndex {
        match self {
            Self::All(role) | Self::Any(role) => role,
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
