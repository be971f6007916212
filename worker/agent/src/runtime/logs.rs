//! The logs of replicas, as they are read: from the beginning, the last lines, or live.
//!
//! Nothing is buffered for a reader: it asks for the next piece and gets what the file has, at most a quarter
//! of a megabyte. A live reader waits for the kernel's word that something changed; so it costs nothing while
//! nothing is written, and holds nobody up when it is slow.

mod files;
pub(crate) mod line;
mod query;
mod stream;
mod tail;
mod watcher;

pub(crate) use files::forget_old;
pub use line::{Entry, Stamp, Stream};
pub use query::{LogError, LogQuery};
pub use stream::{LogChunk, LogStream};
pub(crate) use watcher::Watcher;
