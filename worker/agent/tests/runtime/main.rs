//! The process runtime with real shims and real processes.

mod adoption;
mod contract;
mod crashes;
mod environments;
mod files;
mod full_disk;
mod gpus;
mod lab;
mod leftovers;
mod limits;
mod logs;
mod mounts;
mod pods;
mod ports;
mod programs;
mod remote;
mod replica;
mod speed;
mod testbed;
mod traces;
mod unprivileged;
#[path = "../../../environments/tests/store/wheel.rs"]
mod wheel;
