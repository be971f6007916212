//! The encoding of keys and records.
//!
//! Records are MessagePack maps with field names: self-describing, so that a field added with a
//! default reads from older bytes, and canonical, because structs have a fixed order and all maps
//! are ordered. Keys are big-endian, so that encoded keys sort as keys do.

use muster_model::{
    EventId, JobId, MemberId, NodeId, ObjectKey, Rank, ReplicaId, RequestId, TokenId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::record::{TimerKey, TimerKind};
use crate::table::TableId;

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The table is not known to this version.
    #[error("table {} is not known to this version of Muster; it was written by a newer one: use that one", .0.0)]
    UnknownTable(TableId),
    /// A key has the wrong shape.
    #[error("a key of {0} bytes does not belong to its table")]
    Key(usize),
    /// A record does not decode.
    #[error("a record does not decode: {0}")]
    Record(#[from] rmp_serde::decode::Error),
}

/// Encodes a record.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value)
        .expect("records are plain data with string-keyed maps, which always encode")
}

/// Decodes a record.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// A key's bytes.
pub(crate) trait KeyCodec: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|_| CodecError::Key(bytes.len()))
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8], [u8; N]), CodecError> {
    let at = bytes.len().checked_sub(N).ok_or(CodecError::Key(bytes.len()))?;
    Ok((&bytes[..at], array(&bytes[at..])?))
}

impl KeyCodec for () {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        array::<0>(bytes).map(|_| ())
    }
}

impl KeyCodec for JobId {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(u64::from_be_bytes(array(bytes)?)))
    }
}

impl KeyCodec for MemberId {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(u64::from_be_bytes(array(bytes)?)))
    }
}

impl KeyCodec for String {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_utf8(bytes.to_vec()).map_err(|_| CodecError::Key(bytes.len()))
    }
}

impl KeyCodec for ObjectKey {
    /// The parts hold no zero byte, which stands between them, so that keys sort as their parts do.
    fn encode(&self) -> Vec<u8> {
        format!("{}\0{}\0{}", self.resource, self.namespace, self.name).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let text = String::decode(bytes)?;
        let mut parts = text.splitn(3, '\0').map(str::to_owned);
        let (resource, namespace, name) = (parts.next(), parts.next(), parts.next());
        match (resource, namespace, name) {
            (Some(resource), Some(namespace), Some(name)) => Ok(Self { resource, namespace, name }),
            _ => Err(CodecError::Key(bytes.len())),
        }
    }
}

impl KeyCodec for TokenId {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        String::decode(bytes).map(Self)
    }
}

impl KeyCodec for NodeId {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(u32::from_be_bytes(array(bytes)?)))
    }
}

impl KeyCodec for ReplicaId {
    fn encode(&self) -> Vec<u8> {
        [&self.job.0.to_be_bytes()[..], &self.rank.0.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (job, rank) = split::<4>(bytes)?;
        Ok(Self { job: JobId::decode(job)?, rank: Rank(u32::from_be_bytes(rank)) })
    }
}

impl KeyCodec for RequestId {
    fn encode(&self) -> Vec<u8> {
        [self.0.to_be_bytes(), self.1.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (high, low) = split::<8>(bytes)?;
        Ok(Self(u64::from_be_bytes(array(high)?), u64::from_be_bytes(low)))
    }
}

impl KeyCodec for (JobId, EventId) {
    fn encode(&self) -> Vec<u8> {
        [self.0.0.to_be_bytes(), self.1.0.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (job, event) = split::<8>(bytes)?;
        Ok((JobId::decode(job)?, EventId(u64::from_be_bytes(event))))
    }
}

impl KeyCodec for TimerKey {
    fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            TimerKind::Deadline => 0,
            TimerKind::TimeToLive => 1,
            TimerKind::Backoff => 2,
            TimerKind::Drain => 3,
            TimerKind::Evict => 4,
        };
        [&self.job.0.to_be_bytes()[..], &[kind]].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (job, [kind]) = split::<1>(bytes)?;
        let kind = match kind {
            0 => TimerKind::Deadline,
            1 => TimerKind::TimeToLive,
            2 => TimerKind::Backoff,
            3 => TimerKind::Drain,
            4 => TimerKind::Evict,
            _ => return Err(CodecError::Key(bytes.len())),
        };
        Ok(Self { job: JobId::decode(job)?, kind })
    }
}

/// `Vec<u8>` as MessagePack bin and not as a list of numbers.
pub(crate) mod bytes {
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
        input.deserialize_byte_buf(Visit)
    }

    pub(crate) struct Visit;

    impl de::Visitor<'_> for Visit {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Vec<u8>, E> {
            Ok(value.to_vec())
        }

        fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(value)
        }
    }
}

/// `Option<Vec<u8>>` likewise.
pub(crate) mod optional_bytes {
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Vec<u8>>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => out.serialize_bytes(value),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        struct Visit;

        impl<'de> de::Visitor<'de> for Visit {
            type Value = Option<Vec<u8>>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes or nothing")
            }

            fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
                input.deserialize_byte_buf(super::bytes::Visit).map(Some)
            }
        }

        input.deserialize_option(Visit)
    }
}
