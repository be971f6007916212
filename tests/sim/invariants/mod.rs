//! What must hold, one file each. A check sees everything: all members, all machines, all that was ever told to anybody.

pub(crate) mod brain;
pub(crate) mod exactly_once;
pub(crate) mod one_history;
pub(crate) mod one_leader;
pub(crate) mod one_live_attempt;
pub(crate) mod reads;
pub(crate) mod reports_are_true;
pub(crate) mod room;
pub(crate) mod whole_gangs_start;
