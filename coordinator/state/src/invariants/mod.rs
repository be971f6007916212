//! What must hold in every state and over every change, one file each. Checked after every step in tests and
//! in simulation; a violation means a bug in decide() and is found before it is proposed.

mod capacity;
mod final_jobs;
mod indexes;
mod ledger;
mod phases;
mod references;
mod tallies;
mod timers;
mod transitions;
mod whole_gangs;

use std::fmt;

use crate::state::State;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// Where and how.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant '{}' does not hold: {}", self.invariant, self.detail)
    }
}

impl std::error::Error for Violation {}

/// Checks everything that must hold in one state.
///
/// # Errors
/// The first violation.
pub fn check(state: &State) -> Result<(), Violation> {
    references::check(state)?;
    whole_gangs::check(state)?;
    tallies::check(state)?;
    phases::check(state)?;
    final_jobs::check(state)?;
    timers::check(state)?;
    ledger::check(state)?;
    indexes::check(state)
}

/// Checks everything that must hold between a state and the one that follows it.
///
/// # Errors
/// The first violation.
pub fn check_step(before: &State, after: &State) -> Result<(), Violation> {
    transitions::check(before, after)
}

/// Checks that no node has more reserved than it has. Holds as long as no node comes back with
/// less than it had.
///
/// # Errors
/// The first violation.
pub fn check_capacity(state: &State) -> Result<(), Violation> {
    capacity::check(state)
}

fn violated(invariant: &'static str, detail: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { invariant, detail: detail.into() })
}
