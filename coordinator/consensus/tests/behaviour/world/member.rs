//! One member: node, disk and application, driven as the coordinator's pump drives them.

use muster_consensus::{
    Boot, Config, Index, MemberId, Message, Node, Persisted, Snapshot, SnapshotMeta, StepError,
};

use super::disk::Disk;
use super::ledger::{Ledger, Violation};
use super::machine::Machine;

/// A mistake of a driver that the world must notice, or it would prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// Says that a write is durable and forgets the entries in a crash.
    ForgetsWrites,
    /// Answers peers before it writes.
    AnswersFirst,
}

/// When the power goes, relative to the write of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    BeforeWrite,
    AfterWrite,
}

/// A member of the simulated cluster.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
    config: Config,
    mistake: Mistake,
    /// The state as its record store last kept it, which may be behind.
    kept: Machine,
    /// What the disk would be had the last write not happened.
    before_write: Option<Disk>,
}

impl Member {
    pub(crate) fn new(config: Config, boot: Boot, mistake: Mistake) -> Self {
        let machine = Machine::at_start(&boot.snapshot);
        let disk = Disk::new(boot, machine.to_snapshot());
        let id = config.id;
        let kept = machine.clone();
        Self { id, node: None, disk, machine, config, mistake, kept, before_write: None }
    }

    pub(crate) fn start(&mut self) {
        let snapshot = Machine::from_snapshot(&self.disk.snapshot, &self.disk.snapshot_data);
        self.machine =
            if self.kept.applied >= snapshot.applied { self.kept.clone() } else { snapshot };
        let boot = self.disk.boot(self.machine.applied);
        let node = Node::new(self.config.clone(), boot).expect("the disk holds a healthy member");
        assert_eq!(node.membership(), self.machine.membership);
        self.node = Some(node);
    }

    pub(crate) fn crash(&mut self, lazy_survives: bool) {
        self.node = None;
        if self.mistake == Mistake::ForgetsWrites
            && let Some(before) = self.before_write.take()
        {
            // Only the log is forgotten: the state must not be ahead of it.
            self.kept = Machine::from_snapshot(&before.snapshot, &before.snapshot_data);
            self.disk = before;
        }
        self.disk.crash(lazy_survives);
    }

    /// Lets the record store keep the present state.
    pub(crate) fn keep_state(&mut self) {
        self.kept = self.machine.clone();
    }

    pub(crate) fn tick(&mut self) {
        if let Some(node) = &mut self.node {
            node.tick();
        }
    }

    pub(crate) fn step(&mut self, message: &Message) -> Result<(), StepError> {
        match &mut self.node {
            Some(node) => node.step(&message.bytes),
            None => Ok(()),
        }
    }

    /// Does everything that the node has to do. Returns the messages to send.
    pub(crate) fn drain(
        &mut self,
        cut: Cut,
        ledger: &mut Ledger,
    ) -> Result<Vec<Message>, Violation> {
        let mut outbox = Vec::new();
        let Some(mut node) = self.node.take() else { return Ok(outbox) };
        while let Some(mut ready) = node.ready() {
            outbox.extend(ready.take_messages());
            if let Some(standing) = ready.standing() {
                ledger.standing(self.id, standing)?;
            }
            for entry in ready.take_committed() {
                ledger.committed(self.id, &entry)?;
                self.machine.apply(&entry);
                ledger.applied(self.id, &self.machine)?;
            }
            for read in ready.take_reads() {
                ledger.read_ends(read.id, read.index)?;
            }
            let write = ready.write().clone();
            let mut persisted = None;
            if self.mistake == Mistake::AnswersFirst && write.snapshot.is_none() {
                let Persisted { messages, committed } = ready.persisted();
                outbox.extend(messages);
                if cut == Cut::BeforeWrite && !write.is_empty() {
                    return Ok(outbox);
                }
                self.disk.write(&write);
                persisted = Some(committed);
            } else {
                if cut == Cut::BeforeWrite && !write.is_empty() {
                    return Ok(outbox);
                }
                if write.sync {
                    self.before_write = Some(self.disk.clone());
                }
                self.disk.write(&write);
                if let Some(Snapshot { meta, data }) = &write.snapshot {
                    self.machine = Machine::from_snapshot(meta, data);
                    ledger.snapshots_installed += 1;
                    ledger.applied(self.id, &self.machine)?;
                }
                if cut == Cut::AfterWrite && !write.is_empty() {
                    return Ok(outbox);
                }
                let Persisted { messages, committed } = ready.persisted();
                outbox.extend(messages);
                persisted.replace(committed);
            }
            for entry in persisted.unwrap_or_default() {
                ledger.committed(self.id, &entry)?;
                self.machine.apply(&entry);
                ledger.applied(self.id, &self.machine)?;
            }
        }
        assert_eq!(node.membership(), self.machine.membership);
        self.node = Some(node);
        Ok(outbox)
    }

    /// Makes a snapshot of the present state, and forgets the log up to `keep` entries before it.
    pub(crate) fn snapshot(&mut self, keep: u64) {
        let Some(node) = &mut self.node else { return };
        let entries = self.disk.boot(self.machine.applied).entries;
        let at = self.machine.applied;
        let Some(entry) = entries.iter().find(|entry| entry.index == at) else { return };
        let meta =
            SnapshotMeta { at: entry.position(), membership: self.machine.membership.clone() };
        let data = self.machine.to_snapshot();
        self.disk.save_snapshot(meta.clone(), data.clone());
        let to = Index(at.0.saturating_sub(keep));
        self.disk.compact(to);
        node.compact(to).expect("what is applied can be compacted");
        node.supply_snapshot(Snapshot { meta, data }).expect("a snapshot of the applied state");
    }
}
