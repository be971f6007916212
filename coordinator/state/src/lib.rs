//! L1: the replicated brain, decide() and apply().
