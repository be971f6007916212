//! Numbers about a running server.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers about a running server, as of its last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were accepted since the start.
    pub accepted: u64,
    /// Connections that were refused or closed by the server since the start.
    pub refused: u64,
    /// Requests that were answered since the start.
    pub requests: u64,
    /// Connections that wait for a key now.
    pub waiting: u64,
    /// Keys that have a value.
    pub keys: u64,
    /// Rounds of `init_process_group` since the start; 0 without [`Options::separate_inits`](crate::Options::separate_inits).
    pub inits: u64,
    /// Bytes held for clients, as [`Options::memory_limit`](crate::Options::memory_limit) counts them.
    pub memory: u64,
}

/// The same numbers, written by the server and read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Published {
    cells: [AtomicU64; 8],
}

impl Published {
    pub(crate) fn write(&self, stats: &Stats) {
        for (cell, number) in self.cells.iter().zip(stats.numbers()) {
            cell.store(number, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Stats {
        let [connections, accepted, refused, requests, waiting, keys, inits, memory] =
            std::array::from_fn(|i| self.cells[i].load(Ordering::Relaxed));
        Stats { connections, accepted, refused, requests, waiting, keys, inits, memory }
    }
}

impl Stats {
    fn numbers(&self) -> [u64; 8] {
        let Self { connections, accepted, refused, requests, waiting, keys, inits, memory } = *self;
        [connections, accepted, refused, requests, waiting, keys, inits, memory]
    }
}
