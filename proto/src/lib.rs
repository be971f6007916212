//! L0: wire types of the native API and the agent sessions, generated without protoc.
