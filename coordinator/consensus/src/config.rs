//! What a node is told when it starts.

use thiserror::Error as ThisError;

use crate::ids::MemberId;

/// Room that an encoded message needs beside its entries: headers, positions and lengths.
const ENVELOPE_BYTES: usize = 64 << 10;

/// How a node behaves. All members of a cluster should use equal limits and ticks.
///
/// A tick is whatever length the driver gives it (100 ms is usual); the node only counts them.
/// Pre-vote and check-quorum are always on (Raft thesis sections 9.6 and 6.2): a member that was cut
/// off does not disturb the others when it comes back, and a leader that lost its quorum steps down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This member. Not zero.
    pub id: MemberId,
    /// Election timeouts are a pure function of this seed, the member and the term.
    pub seed: u64,
    /// The least ticks without a leader before an election; each timeout is in `[n, 2n)`.
    pub election_ticks: u32,
    /// A leader sends heartbeats every so many ticks. Less than `election_ticks`.
    pub heartbeat_ticks: u32,
    /// Entries are packed into messages of about this many bytes; one larger entry travels alone.
    pub max_message_bytes: usize,
    /// Larger messages from peers are refused unread. A message that carries a snapshot must fit too.
    pub max_receive_bytes: usize,
    /// Append messages that may be under way to one follower before the leader waits for answers.
    pub max_inflight: usize,
    /// The most that data and context of one proposal may measure together.
    pub max_entry_bytes: usize,
    /// Proposals are refused while this many bytes of data wait to be committed.
    pub max_uncommitted_bytes: usize,
    /// About so many bytes of committed entries are handed out at a time.
    pub max_apply_bytes: usize,
}

/// A configuration that cannot work; says which field and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("consensus configuration: `{field}` {problem}")]
pub struct Error {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

// === impl Config ===

impl Config {
    /// The default configuration for one member.
    #[must_use]
    pub fn new(id: MemberId) -> Self {
        Self { id, ..Self::default() }
    }

    /// Checks every field against its own bounds and the others.
    ///
    /// # Errors
    /// Names the first field that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |field, problem: String| Err(Error { field, problem });
        if self.id == MemberId(0) {
            return refuse("id", "must not be 0: give every member a number of its own".into());
        }
        if self.heartbeat_ticks == 0 {
            return refuse("heartbeat_ticks", "must be at least 1".into());
        }
        if self.election_ticks <= self.heartbeat_ticks {
            return refuse(
                "election_ticks",
                format!(
                    "is {} and must be more than heartbeat_ticks ({}), better five times as much",
                    self.election_ticks, self.heartbeat_ticks
                ),
            );
        }
        if self.election_ticks > 1 << 20 {
            return refuse("election_ticks", "must be at most 1048576".into());
        }
        for (field, value) in [
            ("max_message_bytes", self.max_message_bytes),
            ("max_inflight", self.max_inflight),
            ("max_entry_bytes", self.max_entry_bytes),
            ("max_apply_bytes", self.max_apply_bytes),
        ] {
            if value == 0 {
                return refuse(field, "must be at least 1".into());
            }
        }
        if self.max_uncommitted_bytes < self.max_message_bytes.max(self.max_entry_bytes) {
            return refuse(
                "max_uncommitted_bytes",
                "must be at least max_message_bytes and at least max_entry_bytes".into(),
            );
        }
        let needed = self.max_message_bytes.max(self.max_entry_bytes) + ENVELOPE_BYTES;
        if self.max_receive_bytes < needed {
            return refuse(
                "max_receive_bytes",
                format!(
                    "is {} and must be at least {needed}, or peers could send what is refused here",
                    self.max_receive_bytes
                ),
            );
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: MemberId(0),
            seed: 0,
            election_ticks: 10,
            heartbeat_ticks: 2,
            max_message_bytes: 1 << 20,
            max_receive_bytes: 8 << 20,
            max_inflight: 256,
            max_entry_bytes: 4 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_apply_bytes: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_with_a_member_is_valid() {
        assert_eq!(Config::new(MemberId(1)).validate(), Ok(()));
    }

    #[test]
    fn each_impossible_field_is_named() {
        let good = Config::new(MemberId(1));
        let cases = [
            ("id", Config { id: MemberId(0), ..good.clone() }),
            ("heartbeat_ticks", Config { heartbeat_ticks: 0, ..good.clone() }),
            ("election_ticks", Config { election_ticks: 2, ..good.clone() }),
            ("election_ticks", Config { election_ticks: u32::MAX, ..good.clone() }),
            ("max_message_bytes", Config { max_message_bytes: 0, ..good.clone() }),
            ("max_inflight", Config { max_inflight: 0, ..good.clone() }),
            ("max_entry_bytes", Config { max_entry_bytes: 0, ..good.clone() }),
            ("max_apply_bytes", Config { max_apply_bytes: 0, ..good.clone() }),
            ("max_uncommitted_bytes", Config { max_uncommitted_bytes: 1, ..good.clone() }),
            ("max_receive_bytes", Config { max_receive_bytes: 1 << 20, ..good }),
        ];
        for (field, config) in cases {
            assert_eq!(config.validate().map_err(|e| e.field), Err(field));
        }
    }
}
