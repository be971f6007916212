//! L2: write-ahead log, snapshots and applied records on disk.
mod error;
mod files;
mod lock;
mod records;
mod snapshot;
mod store;
mod types;
mod wal;

pub use error::Error;
pub use records::{
    Applied, Error as RecordError, Opened, Reach, Rebuild, Record, RecordStore, RecordWrite,
    TableId, Vacancy,
};
pub use snapshot::{SnapshotMeta, SnapshotReader, SnapshotWriter, Snapshots};
pub use store::{LogStore, Options, OptionsError, Recovered};
pub use types::{Batch, ClusterId, Entry, HardState, Index, Position, Term};
pub use wal::Cut;
