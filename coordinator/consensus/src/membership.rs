//! Who belongs to the cluster, and how that may change.
//!
//! A membership is plain or joint. While it is joint, decisions need a majority of `voters` and a
//! majority of `outgoing` (joint consensus, Raft thesis section 4.3). Learners receive the log and
//! have no vote. Its byte form goes into snapshots and logs, so it has a version of its own.

use std::collections::BTreeSet;
use std::fmt;

use protobuf::Message as _;
use raft::eraftpb as pb;
use thiserror::Error as ThisError;

use crate::ids::MemberId;

/// The version of the byte form.
const FORMAT: u8 = 1;

/// The members of a cluster. Empty only in a node that is about to join one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Membership {
    /// Members with a vote.
    pub voters: BTreeSet<MemberId>,
    /// Members without a vote.
    pub learners: BTreeSet<MemberId>,
    /// The voters before the change under way; empty when the membership is not joint.
    pub outgoing: BTreeSet<MemberId>,
    /// Outgoing voters that become learners when the joint membership is left.
    pub learners_next: BTreeSet<MemberId>,
    /// Whether the leader leaves the joint membership on its own.
    pub auto_leave: bool,
}

/// One step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Adds a voter, or gives a learner a vote.
    Voter(MemberId),
    /// Adds a learner, or takes a voter's vote away.
    Learner(MemberId),
    /// Takes a member out.
    Remove(MemberId),
}

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes the steps. One step is done at once where that is safe; several go through a joint
    /// membership, which the leader leaves on its own as soon as it has taken effect.
    Now(Vec<Step>),
    /// Takes the steps through a joint membership that stays until [`Change::LeaveJoint`].
    Joint(Vec<Step>),
    /// Leaves a joint membership.
    LeaveJoint,
}

/// Why a membership, or its byte form, cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The bytes are not a membership.
    #[error("these bytes are not a membership: {0}")]
    Bytes(&'static str),
    /// Written by a newer program.
    #[error(
        "this membership has format {found} and this program reads up to {FORMAT}: use a newer one"
    )]
    Newer {
        /// The version in the bytes.
        found: u8,
    },
    /// The sets contradict each other.
    #[error("impossible membership: {0}")]
    Impossible(&'static str),
}

// === impl Membership ===

impl Membership {
    /// A plain membership of voters.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = MemberId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether two majorities are needed.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the member is part of the cluster in any way.
    #[must_use]
    pub fn contains(&self, member: MemberId) -> bool {
        self.voters.contains(&member)
            || self.learners.contains(&member)
            || self.outgoing.contains(&member)
    }

    /// Whether the member has a vote.
    #[must_use]
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.outgoing.contains(&member)
    }

    /// Checks that the sets fit together.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn validate(&self) -> Result<(), Error> {
        let everyone = || {
            self.voters
                .iter()
                .chain(&self.learners)
                .chain(&self.outgoing)
                .chain(&self.learners_next)
        };
        let rules = [
            (self.voters.is_empty() && everyone().next().is_some(), "members, but no voter"),
            (everyone().any(|member| *member == MemberId(0)), "member 0"),
            (!self.learners.is_disjoint(&self.voters), "a learner that is also a voter"),
            (!self.learners.is_disjoint(&self.outgoing), "a learner that is also outgoing"),
            (!self.learners_next.is_subset(&self.outgoing), "a next learner that is not outgoing"),
            (!self.learners_next.is_disjoint(&self.voters), "a next learner that stays a voter"),
            (self.auto_leave && !self.is_joint(), "leaves a joint membership without being in one"),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::Impossible(rule)),
            None => Ok(()),
        }
    }

    /// The byte form: version, flags, then each set as a count and its members, little endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, u8::from(self.auto_leave)];
        for set in [&self.voters, &self.learners, &self.outgoing, &self.learners_next] {
            bytes.extend_from_slice(&(set.len() as u32).to_le_bytes());
            for member in set {
                bytes.extend_from_slice(&member.0.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// When the bytes are cut, too long, from a newer program, or contradict themselves.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let [version, flags, rest @ ..] = bytes else {
            return Err(Error::Bytes("shorter than two bytes"));
        };
        if *version != FORMAT {
            return Err(Error::Newer { found: *version });
        }
        if *flags > 1 {
            return Err(Error::Bytes("unknown flags"));
        }
        let mut rest = rest;
        let mut set = || -> Result<BTreeSet<MemberId>, Error> {
            let (count, tail) = rest.split_first_chunk::<4>().ok_or(Error::Bytes("cut short"))?;
            let length = (u32::from_le_bytes(*count) as usize)
                .checked_mul(8)
                .filter(|length| *length <= tail.len())
                .ok_or(Error::Bytes("cut short"))?;
            let (members, tail) = tail.split_at(length);
            rest = tail;
            Ok(members
                .as_chunks::<8>()
                .0
                .iter()
                .map(|raw| MemberId(u64::from_le_bytes(*raw)))
                .collect())
        };
        let membership = Self {
            voters: set()?,
            learners: set()?,
            outgoing: set()?,
            learners_next: set()?,
            auto_leave: *flags == 1,
        };
        if !rest.is_empty() {
            return Err(Error::Bytes("bytes left over"));
        }
        membership.validate()?;
        Ok(membership)
    }

    pub(crate) fn from_raft(state: &pb::ConfState) -> Self {
        let set = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        Self {
            voters: set(state.get_voters()),
            learners: set(state.get_learners()),
            outgoing: set(state.get_voters_outgoing()),
            learners_next: set(state.get_learners_next()),
            auto_leave: state.auto_leave,
        }
    }

    pub(crate) fn to_raft(&self) -> pb::ConfState {
        let list = |set: &BTreeSet<MemberId>| set.iter().map(|member| member.0).collect();
        let mut state = pb::ConfState::default();
        state.set_voters(list(&self.voters));
        state.set_learners(list(&self.learners));
        state.set_voters_outgoing(list(&self.outgoing));
        state.set_learners_next(list(&self.learners_next));
        state.auto_leave = self.auto_leave;
        state
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<MemberId>| {
            set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        write!(f, "voters {}", list(&self.voters))?;
        if self.is_joint() {
            write!(f, "; outgoing {}", list(&self.outgoing))?;
        }
        if !self.learners.is_empty() {
            write!(f, "; learners {}", list(&self.learners))?;
        }
        if !self.learners_next.is_empty() {
            write!(f, "; next learners {}", list(&self.learners_next))?;
        }
        Ok(())
    }
}

// === impl Change ===

impl Change {
    pub(crate) fn to_raft(&self) -> pb::ConfChangeV2 {
        let mut change = pb::ConfChangeV2::default();
        let steps = match self {
            Self::Now(steps) => steps.as_slice(),
            Self::Joint(steps) => {
                change.set_transition(pb::ConfChangeTransition::Explicit);
                steps.as_slice()
            }
            Self::LeaveJoint => &[],
        };
        for step in steps {
            let (kind, member) = match *step {
                Step::Voter(member) => (pb::ConfChangeType::AddNode, member),
                Step::Learner(member) => (pb::ConfChangeType::AddLearnerNode, member),
                Step::Remove(member) => (pb::ConfChangeType::RemoveNode, member),
            };
            let mut single = pb::ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = member.0;
            change.mut_changes().push(single);
        }
        change
    }

    /// Whether any step names a member that cannot exist, or there is nothing to do.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let (Self::Now(steps) | Self::Joint(steps)) = self else { return Ok(()) };
        if steps.is_empty() {
            return Err("it has no step");
        }
        let member = |step: &Step| match *step {
            Step::Voter(member) | Step::Learner(member) | Step::Remove(member) => member,
        };
        if steps.iter().any(|step| member(step) == MemberId(0)) {
            return Err("member 0 does not exist");
        }
        let distinct: BTreeSet<_> = steps.iter().map(member).collect();
        if distinct.len() < steps.len() {
            return Err("one member is named twice");
        }
        Ok(())
    }
}

/// Reads the data of a membership entry, which a peer or a disk delivered.
pub(crate) fn decode_change(data: &[u8]) -> Option<pb::ConfChangeV2> {
    crate::wire::check_flat(data).ok()?;
    let mut change = pb::ConfChangeV2::default();
    change.merge_from_bytes(data).ok()?;
    Some(change)
}

#[cfg(test)]
mod tests;
