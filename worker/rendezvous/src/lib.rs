//! L2: a store that `torch.distributed` takes for its own: the c10d TCPStore protocol, served by one thread.
//!
//! The shim that holds rank 0 embeds it. The port is bound when the replica is prepared ([`Reservation`]) and
//! served when the generation opens ([`Server::start`]); it ends with the shim. A generation has a server, and
//! so a port and an empty store, of its own.
//!
//! # Rules
//! - **Never silent.** A client of torch waits without a limit of time for an answer, so a connection is
//!   accepted only by a server that can answer, and a server that ends closes every socket at once.
//! - **No names are resolved.** torch's own server looks up the name of every peer in its only thread, and one
//!   slow resolver stops a whole job.
//! - **Bounded.** One number, [`Options::memory_limit`], bounds all that clients can make the server hold:
//!   values, keys, half-received requests and replies that nobody reads. The client that would pass it is
//!   closed. A client that does not read its replies is not read from either.
//! - **One copy.** A value is held once, however many replies carry it.
//!
//! # The protocol
//! Little-endian; strings are a length of eight bytes and the bytes. torch 2.2 and newer open with a magic
//! number (`VALIDATE`), torch 2.5 and newer also with their process id (`PING`). Operations 0 to 18 are served;
//! a newer one closes the connection, as upstream's server does, and is reported. Upstream:
//! `torch/csrc/distributed/c10d/TCPStore.cpp`, `TCPStoreBackend.hpp`, `TCPStoreLibUvBackend.cpp` in
//! pytorch/pytorch. In five places this server is deliberately different from upstream's libuv one:
//! 1. a `VALIDATE` that arrives in pieces is waited for, not refused;
//! 2. nothing is executed, or kept open, without one;
//! 3. a failed `COMPARE_SET` wakes nobody;
//! 4. a second `WAIT` on one connection replaces the first;
//! 5. no reverse lookups.
//!
//! # Repeated initialisation
//! Processes that call `init_process_group` a second time must not read the addresses of the first. Each such
//! round gets a namespace of its own; the rules are at the top of `store/inits.rs`.

mod error;
mod event;
mod ledger;
mod options;
mod protocol;
mod reactor;
mod replies;
mod reservation;
mod server;
mod stats;
mod store;

pub use error::Error;
pub use event::Event;
pub use options::{EventSink, Options};
pub use protocol::Limit;
pub use reservation::Reservation;
pub use server::{Server, ServerHandle};
pub use stats::Stats;
pub use store::Wait;
