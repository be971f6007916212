//! L2: images as cached virtual environments of the process runtime.
