//! Indexes and digest are what the tables say: a state that is exported and imported is the same.

use super::{Violation, violated};
use crate::state::State;

pub(super) fn check(state: &State) -> Result<(), Violation> {
    match State::import(state.applied(), state.export()) {
        Ok(again) if again == *state => Ok(()),
        Ok(again) => violated(
            "indexes follow from the tables",
            format!(
                "digest {} and, recomputed, {}; indexes equal: {}",
                state.digest(),
                again.digest(),
                state.indexes() == again.indexes()
            ),
        ),
        Err(error) => violated("indexes follow from the tables", error.to_string()),
    }
}
