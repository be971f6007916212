//! L0: ids, quantities, gang specifications, phases and reasons.
