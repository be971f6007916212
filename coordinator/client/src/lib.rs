//! L2: a typed client of the native API.
