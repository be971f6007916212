//! The whole system with real processes: what a user does, and what goes wrong around it.

mod bad_input;
mod chaos;
mod command_line;
mod following;
mod kinds;
mod kubernetes;
mod lifecycle;
mod machines;
mod many;
mod members;
mod nodes;
mod training;
mod trust;
