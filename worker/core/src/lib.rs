//! L1: desired and observed replicas in, actions out.
