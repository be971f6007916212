//! A YAML document as a tree whose nodes know where they stand, so that every mistake in a file can be
//! reported at once and with its line. Scalars keep the text as written: `python: 3.10` must not
//! become the number 3.1.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A place in the file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A node with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    /// A scalar, as it is written.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) name: String,
}

impl Node {
    /// Reads a document. The error is one sentence with the place of a syntax error.
    pub(crate) fn parse(text: &str) -> Result<Self, (Place, String)> {
        let root: Spanned<Raw> = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or(Place { line: 1, column: 1 }, place);
            let error = error.without_snippet().to_string();
            (place, error.lines().next().unwrap_or("unreadable").to_owned())
        })?;
        Ok(node(root, text))
    }

    /// The kind of the node, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        // Numbers and booleans cannot come from quotes or blocks: the span is the text itself. An
        // alias points elsewhere, so the definition is what counts.
        Raw::Typed(shown) => {
            let span = raw.defined.span();
            let written = span.byte_offset().zip(span.byte_len()).and_then(|(from, len)| {
                let from = usize::try_from(from).ok()?;
                text.get(from..from + usize::try_from(len).ok()?)
            });
            Value::Scalar(written.map_or(shown, |w| w.trim().to_owned()))
        }
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key { place: place(key.referenced), name: key.value };
                    (key, node(value, text))
                })
                .collect(),
        ),
    };
    Node { place: place(raw.referenced), value }
}

enum Raw {
    Null,
    Text(String),
    /// A number or boolean, as this program would print it.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_the_text_as_written() {
        let node =
            Node::parse("[3.10, 'a', 007, yes, True, \"3.10\", 1e3, x y, 0x10, &n 3.10, *n]")
                .expect("a list");
        let Value::List(items) = node.value else {
            panic!("not a list: {node:?}");
        };
        let texts: Vec<&str> = items
            .iter()
            .map(|item| match &item.value {
                Value::Scalar(text) => text.as_str(),
                other => panic!("not a scalar: {other:?}"),
            })
            .collect();
        assert_eq!(
            texts,
            ["3.10", "a", "007", "yes", "True", "3.10", "1e3", "x y", "0x10", "3.10", "3.10"]
        );
    }

    #[test]
    fn places_are_those_of_the_file() {
        let node = Node::parse("a: 1\nb:\n  - x\n  - c: ü\n").expect("a mapping");
        let Value::Map(entries) = node.value else {
            panic!("not a mapping");
        };
        let places: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{} {} {}", key.name, key.place, value.place))
            .collect();
        assert_eq!(places, ["a 1:1 1:4", "b 2:1 3:3"]);
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let (place, message) = Node::parse("a: 1\nb: [1, 2\nc: 3\n").expect_err("a lost bracket");
        assert!(place.line >= 2, "{place} {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}
