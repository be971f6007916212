//! The contract of the store: what was acknowledged is found again, whatever happens in between.

mod damage;
mod disk_full;
mod history;
mod kill;
mod log;
mod model;
mod power_cut;
mod scratch;
mod writer;
