//! L1: every job kind: default, validate, expand to a gang, show status.
