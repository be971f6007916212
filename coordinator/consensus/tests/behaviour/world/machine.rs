//! The application: a chain of hashes over everything applied, so that equal chains at equal
//! indexes mean equal histories.

use bytes::Bytes;
use muster_consensus::{Committed, Index, Membership, Payload, SnapshotMeta};

use super::dice::{fold, fold_bytes};

/// The state of one member's application.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) applied: Index,
    pub(crate) chain: u64,
    pub(crate) membership: Membership,
}

impl Machine {
    pub(crate) fn at_start(meta: &SnapshotMeta) -> Self {
        Self { applied: meta.at.index, chain: 0, membership: meta.membership.clone() }
    }

    pub(crate) fn from_snapshot(meta: &SnapshotMeta, data: &[u8]) -> Self {
        let chain = u64::from_le_bytes(data.try_into().expect("a chain has eight bytes"));
        Self { chain, ..Self::at_start(meta) }
    }

    pub(crate) fn to_snapshot(&self) -> Bytes {
        Bytes::copy_from_slice(&self.chain.to_le_bytes())
    }

    pub(crate) fn apply(&mut self, entry: &Committed) {
        self.applied = entry.index;
        self.chain = fold(self.chain, fingerprint(entry));
        if let Payload::Membership { now, .. } = &entry.payload {
            self.membership = now.clone();
        }
    }
}

/// A hash of everything in a committed entry.
pub(crate) fn fingerprint(entry: &Committed) -> u64 {
    let hash = fold(fold(7, entry.index.0), entry.term.0);
    match &entry.payload {
        Payload::Nothing => fold(hash, 1),
        Payload::Data { data, context } => fold_bytes(fold_bytes(fold(hash, 2), data), context),
        Payload::Membership { now, context } => {
            fold_bytes(fold_bytes(fold(hash, 3), &now.to_bytes()), context)
        }
    }
}
