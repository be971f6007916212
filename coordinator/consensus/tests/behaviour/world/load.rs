//! What happens besides faults: work, elections on request, changes, snapshots.

use bytes::Bytes;
use muster_consensus::{Change, MemberId, ReadId, Step};

use super::World;
use super::dice::Dice;
use super::ledger::Violation;

/// What happens besides faults, in a thousand a tick.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Proposals on whoever leads.
    pub(crate) propose: u64,
    /// Linearizable reads on whoever leads.
    pub(crate) read: u64,
    /// Leadership transfers.
    pub(crate) transfer: u64,
    /// Membership changes.
    pub(crate) change: u64,
    /// Entries after which a member makes a snapshot.
    pub(crate) snapshot_every: u64,
}

impl Load {
    pub(crate) fn none() -> Self {
        Self { propose: 0, read: 0, transfer: 0, change: 0, snapshot_every: u64::MAX }
    }

    pub(crate) fn full() -> Self {
        Self { propose: 600, read: 150, transfer: 4, change: 50, snapshot_every: 40 }
    }
}

impl World {
    pub(super) fn some_load(&mut self) -> Result<(), Violation> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let load = self.plan.load.clone();
        let mut dice = self.load_dice.clone();
        if dice.hits(load.propose) {
            for _ in 0..=dice.below(3) {
                let data = vec![dice.next() as u8; 1 + dice.below(300) as usize];
                let context = Bytes::copy_from_slice(&dice.next().to_le_bytes());
                self.lead(leader, |node| drop(node.propose(data.into(), context)));
            }
        }
        if dice.hits(load.read) {
            self.reads += 1;
            let read = ReadId(self.reads);
            // The promise is about what was committed before the read began.
            self.ledger.read_begins(read);
            self.lead(leader, |node| drop(node.read_index(read)));
        }
        if dice.hits(load.transfer)
            && let Some(to) = dice.pick(&self.ids())
        {
            self.lead(leader, |node| drop(node.transfer_leader(to)));
        }
        // A joint membership that was entered on purpose is left on purpose.
        let stuck = load.change == 0
            && self.leader_membership().is_some_and(|now| now.is_joint() && !now.auto_leave);
        if stuck || dice.hits(load.change) {
            self.some_change(leader, &mut dice);
        }
        self.load_dice = dice;
        self.drain(leader)
    }

    fn lead(&mut self, leader: MemberId, act: impl FnOnce(&mut muster_consensus::Node)) {
        if let Some(node) = self.members.get_mut(&leader).and_then(|member| member.node.as_mut()) {
            act(node);
        }
    }

    fn some_change(&mut self, leader: MemberId, dice: &mut Dice) {
        let Some(node) = self.members.get_mut(&leader).and_then(|member| member.node.as_mut())
        else {
            return;
        };
        let now = node.membership();
        let everyone: Vec<_> = self.plan_ids().collect();
        let outside: Vec<_> =
            everyone.iter().copied().filter(|member| !now.contains(*member)).collect();
        let voters: Vec<_> = now.voters.iter().copied().collect();
        let learners: Vec<_> = now.learners.iter().copied().collect();
        let change = match (dice.below(6), dice.pick(&outside), dice.pick(&learners)) {
            _ if now.is_joint() => Change::LeaveJoint,
            (0, Some(new), _) => Change::Now(vec![Step::Learner(new)]),
            (1, Some(new), _) => Change::Now(vec![Step::Voter(new)]),
            (2, _, Some(learner)) => Change::Now(vec![Step::Voter(learner)]),
            (3, Some(new), _) if voters.len() > 1 => {
                let old = dice.pick(&voters).expect("there are voters");
                Change::Now(vec![Step::Voter(new), Step::Remove(old)])
            }
            (4, _, Some(learner)) => {
                let old = dice.pick(&voters).expect("there are voters");
                Change::Joint(vec![Step::Voter(learner), Step::Learner(old)])
            }
            (5, ..) if voters.len() > 2 => {
                Change::Now(vec![Step::Remove(dice.pick(&voters).expect("there are voters"))])
            }
            _ => return,
        };
        let Some(node) = self.members.get_mut(&leader).and_then(|member| member.node.as_mut())
        else {
            return;
        };
        drop(node.propose_membership(&change, Bytes::new()));
    }

    fn plan_ids(&self) -> impl Iterator<Item = MemberId> + use<> {
        (1..=self.plan.members + self.plan.spares).map(MemberId)
    }

    /// Snapshots, compaction, and now and then a state that is kept.
    pub(super) fn housekeeping(&mut self) -> Result<(), Violation> {
        let every = self.plan.load.snapshot_every;
        for id in self.ids() {
            let (keeps, trail) = (self.load_dice.hits(30), self.load_dice.below(30));
            let Some(member) = self.members.get_mut(&id) else { continue };
            let Some(node) = &member.node else { continue };
            let wanted =
                node.snapshot_wanted().is_some_and(|w| w.at_least <= member.machine.applied);
            if keeps {
                member.keep_state();
            }
            let due =
                member.machine.applied.0 - member.disk.snapshot.at.index.0 >= every.min(1 << 40);
            if wanted || due {
                member.snapshot(trail);
                self.drain(id)?;
            }
        }
        Ok(())
    }
}
