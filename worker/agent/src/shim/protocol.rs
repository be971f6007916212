//! What an agent and a shim say to each other: one JSON object a line, over the replica's socket.
//!
//! The shim says how far it is when a connection is made, and again at every change. Orders are idempotent:
//! a connection may break at any moment, and the agent repeats what still holds on the next one. An
//! agent must be able to talk to the shims of the version before it, so fields and variants are only
//! ever added; what a side does not understand it passes over.

use muster_model::{Exit, GenerationContext, Millis};
use serde::{Deserialize, Serialize};

/// The version of the protocol, for a reader of a broken conversation.
pub(crate) const VERSION: u32 = 1;

/// The longest line that is read, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<T> {
    pub(crate) v: u32,
    #[serde(flatten)]
    pub(crate) body: T,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The generation is open: run.
    Start(GenerationContext),
    /// Stop within the grace period, counted from now. A later end of the period than was ordered before
    /// changes nothing.
    Stop {
        /// The grace period.
        grace: Millis,
    },
    /// The replica may run until then, or for ever. What was said before does not count any more.
    Lease(Option<Until>),
}

/// Two moments of the machine's boot clock (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    /// When the processes are asked to end.
    pub stop: Millis,
    /// When what is left is killed.
    pub kill: Millis,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// How far the replica is.
    Stage(Stage),
    /// Something for the job's events.
    Notice {
        /// The sentence.
        text: String,
    },
}

/// How far a replica is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Mounts are made, init containers run.
    Preparing {
        /// What goes on.
        step: String,
    },
    /// Everything is there; waits for the generation to open.
    Ready {
        /// The port of the rendezvous store, if this replica holds it.
        store_port: Option<u16>,
        /// A port for the program.
        free_port: Option<u16>,
    },
    /// The processes run.
    Running,
    /// Nothing of the replica is left.
    Exited(Exit),
}

/// A message as it is sent.
pub(crate) fn line<T: Serialize>(body: &T) -> Vec<u8> {
    let line = Line { v: VERSION, body };
    let mut bytes = serde_json::to_vec(&line).expect("messages hold nothing that JSON cannot");
    bytes.push(b'\n');
    bytes
}

/// A message as it was received, without its newline; `None` when it is not understood.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Option<T> {
    serde_json::from_slice::<Line<T>>(line).ok().map(|line| line.body)
}

#[cfg(test)]
mod tests {
    use muster_model::{ExitStatus, Generation};

    use super::*;

    #[test]
    fn messages_are_read_back_and_stay_as_they_were() {
        let stop = Order::Stop { grace: Millis(500) };
        let text = line(&stop);
        assert_eq!(text, b"{\"v\":1,\"stop\":{\"grace\":500}}\n");
        assert_eq!(read::<Order>(&text), Some(stop));

        let start = Order::Start(GenerationContext {
            generation: Generation(2),
            leader_address: "::1".into(),
            store_port: Some(1),
            free_port: None,
            peers: Vec::new(),
        });
        assert_eq!(read::<Order>(&line(&start)), Some(start));

        let lease = Order::Lease(Some(Until { stop: Millis(7), kill: Millis(9) }));
        assert_eq!(line(&lease), b"{\"v\":1,\"lease\":{\"stop\":7,\"kill\":9}}\n");
        assert_eq!(read::<Order>(&line(&lease)), Some(lease));
        assert_eq!(read::<Order>(&line(&Order::Lease(None))), Some(Order::Lease(None)));

        let exited =
            Report::Stage(Stage::Exited(Exit { status: ExitStatus::Signal(9), after_stop: true }));
        assert_eq!(
            line(&exited),
            b"{\"v\":1,\"stage\":{\"exited\":{\"status\":{\"Signal\":9},\"after_stop\":true}}}\n"
        );
        assert_eq!(read::<Report>(&line(&exited)), Some(exited));
        let running = Report::Stage(Stage::Running);
        assert_eq!(read::<Report>(&line(&running)), Some(running));
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        assert_eq!(read::<Order>(b"{\"v\":9,\"dance\":{}}"), None);
        assert_eq!(read::<Order>(b"no json"), None);
        assert_eq!(
            read::<Order>(b"{\"v\":9,\"new\":1,\"stop\":{\"grace\":1,\"why\":\"x\"}}"),
            Some(Order::Stop { grace: Millis(1) })
        );
    }
}
