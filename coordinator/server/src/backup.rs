//! Backups: the whole state in one file, from which a new cluster of one member can be made.
//!
//! ```text
//!   "MUSTERBK"  version (4 bytes)  length of the head (4 bytes)  head, JSON  the state, as in a snapshot
//! ```
//!
//! The state carries its digest, so that a file which was cut off or changed is noticed. Numbers are big-endian.

use std::path::{Path, PathBuf};

use muster_consensus::{Index as LogIndex, Position, Term};
use muster_state::{Change, Changes, Index, State};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use crate::brain;
use crate::clock::Clock;

const MAGIC: &[u8; 8] = b"MUSTERBK";
/// The version of the format.
const FORMAT: u32 = 1;
/// Pieces are about this large.
const PIECE: usize = 256 << 10;

/// Why a backup cannot be restored.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no backup, or not a whole one.
    #[error("{path} {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The directory is in use.
    #[error("{0} belongs to a member already; restore into an empty --data-dir")]
    InUse(PathBuf),
    /// The directory cannot be written.
    #[error("{0}")]
    Store(String),
}

/// What stands in front of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    cluster: String,
    index: u64,
    term: u64,
    taken_ms: u64,
    version: String,
}

/// What a restored backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The cluster's uid.
    pub cluster: String,
    /// The entry that it had applied.
    pub index: u64,
    /// When it was taken, in milliseconds since 1970.
    pub taken_ms: u64,
    /// How many jobs and nodes it knows.
    pub counts: (usize, usize),
}

/// A backup's bytes.
pub(crate) fn pieces(state: &State, (cluster, term): (&str, u64)) -> impl Iterator<Item = Vec<u8>> {
    let head = Head {
        cluster: cluster.to_owned(),
        index: state.applied().0,
        term,
        taken_ms: Clock.now().0,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let head = serde_json::to_vec(&head).expect("a head is plain data");
    let mut first = MAGIC.to_vec();
    first.extend(FORMAT.to_be_bytes());
    first.extend(u32::try_from(head.len()).expect("a head is short").to_be_bytes());
    first.extend(head);
    let mut rows = std::iter::once(first).chain(brain::snapshot_pieces(state));
    std::iter::from_fn(move || {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(row) = rows.next() else { break };
            piece.extend(row);
        }
        (!piece.is_empty()).then_some(piece)
    })
}

/// Makes the data directory of a cluster's only member from a backup. Other members join it as new ones; agents of the old
/// cluster know it again.
///
/// # Errors
/// See [`Error`]; the directory is left alone then, or is no member's.
pub fn restore(file: &Path, data: &Path) -> Result<Restored, Error> {
    let damaged = |what: String| Error::Damaged { path: file.to_path_buf(), what };
    let bytes =
        std::fs::read(file).map_err(|source| Error::File { path: file.to_path_buf(), source })?;
    let (head, rows) = split(&bytes).map_err(damaged)?;
    let mut state = brain::from_snapshot(Index(head.index), rows).map_err(damaged)?;
    let counts = (state.tables().jobs.len(), state.tables().nodes.len());
    // The members of old are gone; whoever starts from this directory tells where it is.
    let gone = state.tables().members.iter().map(|(id, _)| Change::Member(*id, None)).collect();
    let at = Position::new(LogIndex(head.index + 1), Term(head.term));
    state.apply(Index(at.index.0), &Changes::new(gone));
    let dir = data.join("coordinator");
    if brain::is_member(&dir) {
        return Err(Error::InUse(dir));
    }
    make_private(data).map_err(|source| Error::File { path: data.to_path_buf(), source })?;
    brain::make_from(&dir, (&head.cluster, at), &state)
        .map_err(|error| Error::Store(error.to_string()))?;
    Ok(Restored { cluster: head.cluster, index: head.index, taken_ms: head.taken_ms, counts })
}

fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn split(bytes: &[u8]) -> Result<(Head, &[u8]), String> {
    let no_backup = || "is no backup of Muster".to_owned();
    let short = || "ends too early: it is not a whole backup".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(no_backup)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let version = u32::from_be_bytes(*version);
    if version != FORMAT {
        return Err(format!("has format {version}, and this version of Muster reads {FORMAT}"));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| no_backup())?;
    let (head, rows) = rest.split_at_checked(length).ok_or_else(short)?;
    let head = serde_json::from_slice(head).map_err(|error| format!("is damaged: {error}"))?;
    Ok((head, rows))
}

#[cfg(test)]
mod tests {
    use muster_model::MemberId;
    use muster_state::{AnnounceMember, Body, Command, Policy, decide};

    use super::*;

    fn state() -> State {
        let announce =
            AnnounceMember { id: MemberId(1), address: "a:1".into(), version: "0".into() };
        let at = muster_model::Timestamp(1);
        let command = Command { request: None, at, body: Body::AnnounceMember(announce) };
        let mut state = State::new();
        let decision = decide(&state, &Policy::default(), &command);
        state.apply(Index(7), &decision.changes);
        state
    }

    #[test]
    fn a_backup_is_restored_without_its_members_and_never_over_a_member() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = uuid::Uuid::new_v4().to_string();
        let bytes: Vec<u8> = pieces(&state(), (&cluster, 3)).flatten().collect();
        let file = folder.path().join("backup");
        let data = folder.path().join("data");
        // Cut off anywhere, or changed anywhere behind the head, it is refused and nothing is made.
        for cut in [0, 5, 14, 40, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..cut]).unwrap();
            let error = restore(&file, &data).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            assert!(!data.exists());
        }
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &changed).unwrap();
        assert!(restore(&file, &data).is_err());
        std::fs::write(&file, &bytes).unwrap();
        let restored = restore(&file, &data).unwrap();
        assert_eq!((restored.cluster, restored.index), (cluster, 7));
        assert!(matches!(restore(&file, &data), Err(Error::InUse(_))));
    }
}
