//! What an embedder may set.

use std::fmt;

use crate::event::Event;

/// Told of what a user must hear. Called on the server's thread: it must return soon.
pub type EventSink = Box<dyn FnMut(Event) + Send>;

/// How a server behaves.
pub struct Options {
    /// How many processes the job has. Used for clients that do not say who they are (torch before 2.5, or
    /// [`Options::distinct_pids`] unset); the rules are at the top of `store/inits.rs`.
    pub world_size: Option<u32>,
    /// Whether each round of `init_process_group` gets a namespace of its own. Without it the store behaves
    /// as upstream's, where a second round may read the addresses of the first.
    pub separate_inits: bool,
    /// Whether an address and a process id name one process. Unset it where several replicas of one node run
    /// in containers that share the node's network but not its process ids.
    pub distinct_pids: bool,
    /// How many bytes clients can make the server hold, in values, keys, half-received requests and unread
    /// replies together. Beside it there are the kernel's socket buffers and less than a kilobyte for each
    /// connection.
    pub memory_limit: usize,
    /// Told of what a user must hear.
    pub events: Option<EventSink>,
}

/// The default of [`Options::memory_limit`]: 2 GiB.
const MEMORY_LIMIT: usize = 2 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            world_size: None,
            separate_inits: true,
            distinct_pids: true,
            memory_limit: MEMORY_LIMIT,
            events: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("world_size", &self.world_size)
            .field("separate_inits", &self.separate_inits)
            .field("distinct_pids", &self.distinct_pids)
            .field("memory_limit", &self.memory_limit)
            .field("events", &self.events.is_some())
            .finish()
    }
}
