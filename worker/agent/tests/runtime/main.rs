//! The process runtime with real shims and real processes.

mod contract;
mod lab;
mod remote;
mod replica;
mod speed;
mod traces;
