//! L2: the agent daemon: processes, shims, environments, GPUs, logs.
