//! The brain under test: scenarios that read like stories, and random histories with shrinking.

mod cut_off;
mod nodes;
mod peers;
mod random;
mod scenarios;
mod world;
