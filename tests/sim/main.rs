//! The simulator: the shipped cores of coordinator and agent, whole clusters of them, in one thread and in simulated
//! time, while network, disks, clocks, processes and machines fail as a seed says. `docs/testing.md` tells how to use it.

mod agent;
mod client;
mod coordinator;
mod desk;
mod dice;
mod disk;
mod history;
mod invariants;
mod jobs;
mod machine;
mod members;
mod network;
mod people;
mod plan;
mod processes;
mod run;
mod scenarios;
mod seeds;
mod time;
mod trace;
mod violation;
mod weather;
mod wire;
mod world;
