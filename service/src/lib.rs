//! L2: what every daemon shares: supervised tasks, drain, readiness, telemetry.
