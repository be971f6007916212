//! Bodies in protobuf. Clients in Go send built-in kinds so, and do not try JSON when that is refused.
//!
//! A body is `k8s\0` and a `runtime.Unknown` (`k8s.io/apimachinery/pkg/runtime/generated.proto`) around the kind's
//! message. It becomes the JSON that the same client would have sent; the tables below are facts of the public
//! `generated.proto` files. A field that is not in them, and says something, is refused: it would be lost.

use serde_json::{Map, Value};
use thiserror::Error;

const MAGIC: &[u8] = b"k8s\0";
/// Messages in messages.
const DEEPEST: u8 = 16;

/// A body that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtobufError {
    /// It does not begin as such bodies do.
    #[error("it does not begin with k8s\\0")]
    Magic,
    /// It breaks off or contradicts itself.
    #[error("it is no protobuf message")]
    Malformed,
    /// It has a field that is not known here.
    #[error("field {0} of a message in it is not known in protobuf; send JSON")]
    Field(u64),
    /// It is of a kind whose message is not known here.
    #[error("kind {0:?} is not known in protobuf; send JSON")]
    Kind(String),
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Bool,
    Int,
    Texts,
    /// A map of texts.
    Map,
    One(&'static Message),
    /// What only a server writes.
    Skip,
}

/// Number, name in JSON, what it holds.
type Field = (u64, &'static str, Holds);

struct Message(&'static [Field]);

static OWN_METADATA: Message = Message(&[
    (1, "name", Holds::Text),
    (2, "generateName", Holds::Text),
    (3, "namespace", Holds::Text),
    (5, "uid", Holds::Text),
    (6, "resourceVersion", Holds::Text),
    (7, "generation", Holds::Skip),
    (8, "creationTimestamp", Holds::Skip),
    (17, "managedFields", Holds::Skip),
    (11, "labels", Holds::Map),
    (12, "annotations", Holds::Map),
    (14, "finalizers", Holds::Texts),
]);
static RESOURCE_ATTRIBUTES: Message = Message(&[
    (1, "namespace", Holds::Text),
    (2, "verb", Holds::Text),
    (3, "group", Holds::Text),
    (4, "version", Holds::Text),
    (5, "resource", Holds::Text),
    (6, "subresource", Holds::Text),
    (7, "name", Holds::Text),
]);
static NON_RESOURCE_ATTRIBUTES: Message =
    Message(&[(1, "path", Holds::Text), (2, "verb", Holds::Text)]);
static ACCESS_SPEC: Message = Message(&[
    (1, "resourceAttributes", Holds::One(&RESOURCE_ATTRIBUTES)),
    (2, "nonResourceAttributes", Holds::One(&NON_RESOURCE_ATTRIBUTES)),
]);
static ACCESS: Message = Message(&[
    (1, "metadata", Holds::One(&OWN_METADATA)),
    (2, "spec", Holds::One(&ACCESS_SPEC)),
    (3, "status", Holds::Skip),
]);
static RULES_SPEC: Message = Message(&[(1, "namespace", Holds::Text)]);
static RULES: Message = Message(&[
    (1, "metadata", Holds::One(&OWN_METADATA)),
    (2, "spec", Holds::One(&RULES_SPEC)),
    (3, "status", Holds::Skip),
]);
static REVIEW: Message =
    Message(&[(1, "metadata", Holds::One(&OWN_METADATA)), (2, "status", Holds::Skip)]);
static PRECONDITIONS: Message =
    Message(&[(1, "uid", Holds::Text), (2, "resourceVersion", Holds::Text)]);
static DELETE_OPTIONS: Message = Message(&[
    (1, "gracePeriodSeconds", Holds::Int),
    (2, "preconditions", Holds::One(&PRECONDITIONS)),
    (3, "orphanDependents", Holds::Bool),
    (4, "propagationPolicy", Holds::Text),
    (5, "dryRun", Holds::Texts),
]);
static CONFIG_MAP: Message = Message(&[
    (1, "metadata", Holds::One(&OWN_METADATA)),
    (2, "data", Holds::Map),
    (4, "immutable", Holds::Bool),
]);

fn message(kind: &str) -> Option<&'static Message> {
    Some(match kind {
        "SelfSubjectAccessReview" => &ACCESS,
        "SelfSubjectRulesReview" => &RULES,
        "SelfSubjectReview" => &REVIEW,
        "DeleteOptions" => &DELETE_OPTIONS,
        "ConfigMap" => &CONFIG_MAP,
        _ => return None,
    })
}

/// Decodes a body.
///
/// # Errors
/// See [`ProtobufError`].
pub fn decode_protobuf(body: &[u8]) -> Result<Value, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut kind, mut version, mut raw) = (String::new(), String::new(), &[][..]);
    for item in Items(body) {
        match item? {
            (1, Item::Bytes(about)) => {
                for item in Items(about) {
                    match item? {
                        (1, Item::Bytes(text)) => version = utf8(text)?,
                        (2, Item::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = message(&kind) else { return Err(ProtobufError::Kind(kind)) };
    let mut value = Map::new();
    value.insert("apiVersion".into(), version.into());
    value.insert("kind".into(), kind.into());
    value.extend(read(message, raw, DEEPEST)?);
    Ok(value.into())
}

fn read(message: &Message, bytes: &[u8], deepest: u8) -> Result<Map<String, Value>, ProtobufError> {
    let deepest = deepest.checked_sub(1).ok_or(ProtobufError::Malformed)?;
    let mut value = Map::new();
    for item in Items(bytes) {
        let (number, item) = item?;
        let Some((_, name, holds)) = message.0.iter().find(|(own, ..)| *own == number) else {
            // Go writes members that are empty.
            if matches!(item, Item::Number(0) | Item::Bytes([])) {
                continue;
            }
            return Err(ProtobufError::Field(number));
        };
        match (holds, item) {
            (Holds::Skip, _) => {}
            (Holds::Text, Item::Bytes(bytes)) => {
                // Go writes members that are empty; in JSON they are left out.
                if !bytes.is_empty() {
                    value.insert((*name).into(), utf8(bytes)?.into());
                }
            }
            (Holds::Bool, Item::Number(number)) => {
                value.insert((*name).into(), (number != 0).into());
            }
            (Holds::Int, Item::Number(number)) => {
                // Negative numbers are ten bytes long: the two's complement.
                value.insert((*name).into(), number.cast_signed().into());
            }
            (Holds::Texts, Item::Bytes(bytes)) => {
                let text = utf8(bytes)?;
                let list = value.entry(*name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(text.into());
                }
            }
            (Holds::Map, Item::Bytes(bytes)) => {
                let (mut key, mut text) = (String::new(), String::new());
                for item in Items(bytes) {
                    match item? {
                        (1, Item::Bytes(bytes)) => key = utf8(bytes)?,
                        (2, Item::Bytes(bytes)) => text = utf8(bytes)?,
                        _ => {}
                    }
                }
                let map = value.entry(*name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, text.into());
                }
            }
            (Holds::One(inner), Item::Bytes(bytes)) => {
                value.insert((*name).into(), read(inner, bytes, deepest)?.into());
            }
            _ => return Err(ProtobufError::Malformed),
        }
    }
    Ok(value)
}

fn utf8(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Malformed)
}

/// A field's value as it stands on the wire.
enum Item<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    Fixed,
}

/// The fields of a message, in their order.
struct Items<'b>(&'b [u8]);

impl<'b> Items<'b> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(place * 7)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Item<'b>)> {
        let tag = self.number()?;
        let item = match tag & 7 {
            0 => Item::Number(self.number()?),
            1 => {
                self.take(8)?;
                Item::Fixed
            }
            2 => {
                let length = self.number()?;
                Item::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Item::Fixed
            }
            _ => return None,
        };
        Some((tag >> 3, item))
    }
}

impl<'b> Iterator for Items<'b> {
    type Item = Result<(u64, Item<'b>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(ProtobufError::Malformed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let about = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &about), &field(2, raw), &field(3, b""), &field(4, b"")].concat()
    }

    #[test]
    fn a_question_about_access_reads_as_its_json() {
        let attributes =
            [field(1, b"default"), field(2, b"create"), field(3, b""), field(5, b"pods")].concat();
        let raw = [field(1, &field(1, b"")), field(2, &field(1, &attributes))].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}},
        });
        assert_eq!(decode_protobuf(&body("SelfSubjectAccessReview", &raw)), Ok(expected));
    }

    #[test]
    fn numbers_lists_and_maps_are_read_too() {
        let negative = [vec![0x08], vec![0xff; 9], vec![0x01]].concat();
        let raw = [negative, field(4, b"Background"), field(5, b"All")].concat();
        let options = decode_protobuf(&body("DeleteOptions", &raw)).unwrap();
        assert_eq!(options["gracePeriodSeconds"], -1);
        assert_eq!(options["dryRun"], json!(["All"]));
        let pair = [field(1, b"k"), field(2, b"v")].concat();
        let map = decode_protobuf(&body("ConfigMap", &field(2, &pair))).unwrap();
        assert_eq!(map["data"], json!({"k": "v"}));
    }

    #[test]
    fn what_is_no_body_is_refused() {
        assert_eq!(decode_protobuf(b"{}"), Err(ProtobufError::Magic));
        assert_eq!(decode_protobuf(&body("Thing", b"")), Err(ProtobufError::Kind("Thing".into())));
        let cut = body("DeleteOptions", &field(4, b"Background"));
        assert_eq!(decode_protobuf(&cut[..cut.len() - 6]), Err(ProtobufError::Malformed));
        let unknown = body("ConfigMap", &field(3, b"binary"));
        assert_eq!(decode_protobuf(&unknown), Err(ProtobufError::Field(3)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_protobuf(&body("ConfigMap", &bytes[..bytes.len().min(100)]));
            let _ = decode_protobuf(&[MAGIC, &bytes].concat());
        }
    }
}
