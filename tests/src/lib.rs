//! L4: whole-system tests with real processes.
