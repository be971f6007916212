//! The store against raw sockets: they pin every edge of the protocol.

mod client;
mod opening;
mod operations;
