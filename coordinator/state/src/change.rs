//! Changes: what one Raft entry carries. Puts and deletes of typed records, with their encoded form beside
//! them, so that a record is encoded once for the log, the record store and the digest.

use muster_model::{EventId, JobId, MemberId, NodeId, ObjectKey, ReplicaId, RequestId, TokenId};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, KeyCodec};
use crate::record::{
    Gang, Job, JobStatus, Member, Meta, Node, Object, Replica, RequestRecord, Revocation, Timer,
    TimerKey, Token,
};
use crate::table::{Index, Table, TableId};

/// An encoded put or delete, as log and record store hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The table's number.
    pub table: u8,
    /// The encoded key; keys sort as their records do.
    #[serde(with = "codec::bytes")]
    pub key: Vec<u8>,
    /// The encoded record, or nothing for a delete.
    #[serde(with = "codec::optional_bytes")]
    pub value: Option<Vec<u8>>,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $id:literal $field:ident: $variant:ident($key:ty => $value:ty);)*) => {
        /// All tables of the state.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Tables {
            $($(#[$doc])* pub $field: Table<$key, $value>,)*
        }

        /// A put (with a record) or a delete (without) of one key.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Change {
            $($(#[$doc])* $variant($key, Option<Box<$value>>),)*
        }

        impl Change {
            fn write(&self) -> Write {
                match self {
                    $(Self::$variant(key, value) => Write {
                        table: $id,
                        key: key.encode(),
                        value: value.as_ref().map(|value| codec::encode(value)),
                    },)*
                }
            }

            /// Reads an encoded change.
            ///
            /// # Errors
            /// When the table is unknown or the bytes are no record of it.
            pub fn read(write: &Write) -> Result<Self, CodecError> {
                match write.table {
                    $($id => Ok(Self::$variant(
                        <$key>::decode(&write.key)?,
                        write.value.as_deref().map(codec::decode).transpose()?,
                    )),)*
                    other => Err(CodecError::UnknownTable(TableId(other))),
                }
            }
        }

        impl Tables {
            /// Every record as the put that would write it, with the index that did.
            pub(crate) fn export(&self) -> impl Iterator<Item = (Index, Write)> + '_ {
                std::iter::empty()
                    $(.chain(self.$field.rows().map(|(key, version, value)| {
                        let value = Some(codec::encode(value));
                        (version, Write { table: $id, key: key.encode(), value })
                    })))*
            }
        }
    };
}

tables! {
    /// Counters.
    1 meta: Meta(() => Meta);
    /// Nodes.
    2 nodes: Node(NodeId => Node);
    /// Jobs as submitted.
    3 jobs: Job(JobId => Job);
    /// Jobs' progress.
    4 statuses: Status(JobId => JobStatus);
    /// Gangs.
    5 gangs: Gang(JobId => Gang);
    /// Replicas.
    6 replicas: Replica(ReplicaId => Replica);
    /// Timers.
    7 timers: Timer(TimerKey => Timer);
    /// Outcomes of requests.
    8 requests: Request(RequestId => RequestRecord);
    /// Events by job and number.
    9 events: Event((JobId, EventId) => muster_model::Event);
    /// Members of the coordinator.
    10 members: Member(MemberId => Member);
    /// Tokens.
    11 tokens: Token(TokenId => Token);
    /// Certificates that were taken back, by whom they name.
    12 revocations: Revocation(String => Revocation);
    /// Objects that are kept as they were sent.
    13 objects: Object(ObjectKey => Object);
}

/// What one Raft entry changes, in the order in which it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    list: Vec<(Change, Write)>,
}

impl Changes {
    /// From typed changes.
    #[must_use]
    pub fn new(changes: Vec<Change>) -> Self {
        let list = changes.into_iter().map(|change| {
            let write = change.write();
            (change, write)
        });
        Self { list: list.collect() }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many records change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The typed changes.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.list.iter().map(|(change, _)| change)
    }

    /// The encoded changes.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.list.iter().map(|(_, write)| write)
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = &(Change, Write)> {
        self.list.iter()
    }

    /// Adds the changes of a later command.
    pub fn append(&mut self, mut later: Self) {
        self.list.append(&mut later.list);
    }

    /// The payload of a Raft entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.writes().collect::<Vec<_>>())
    }

    /// Reads the payload of a Raft entry.
    ///
    /// # Errors
    /// When the bytes are no changes, for instance because a newer version wrote a table that
    /// this one does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let writes: Vec<Write> = codec::decode(bytes)?;
        let list = writes.into_iter().map(|write| Ok((Change::read(&write)?, write)));
        Ok(Self { list: list.collect::<Result<_, CodecError>>()? })
    }
}
