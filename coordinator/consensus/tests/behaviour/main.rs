//! How nodes behave together, seen through the public API only.

mod chaos;
mod elections;
mod memberships;
mod reads;
mod rounds;
mod snapshots;
mod sole;
mod world;
