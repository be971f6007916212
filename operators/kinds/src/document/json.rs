//! JSON documents: one object after the other, with checks that `serde_json::Value` alone leaves
//! out (keys that stand twice, depth).

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Error, MAX_DEPTH, Place, Raw};

/// Reads every JSON value of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Raw>, Error> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut place = Place { document: 1, line: 1, column: 1 };
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let start = end + rest.len() - rest.trim_start().len();
        advance(&mut place, &text[end..start]);
        match stream.next() {
            None => return Ok(documents),
            Some(Err(error)) => {
                let (line, column) = (error.line().max(1), error.column().max(1));
                let place = Place { line, column, ..place };
                return Err(Error::Syntax { place, message: message(&error) });
            }
            Some(Ok(IgnoredAny)) => {
                end = stream.byte_offset();
                let value = read(&text[start..end], place)?;
                documents.push((value, place));
                advance(&mut place, &text[start..end]);
                place.document += 1;
            }
        }
    }
}

/// Moves a place to the end of the text that starts there.
fn advance(place: &mut Place, text: &str) {
    let lines = text.bytes().filter(|byte| *byte == b'\n').count();
    if lines > 0 {
        place.line += lines;
        place.column = 1;
    }
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    place.column += last_line.chars().count();
}

/// The sentence of a parser error without the place that `serde_json` appends.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((sentence, _)) => sentence.to_owned(),
        None => text,
    }
}

fn read(text: &str, start: Place) -> Result<Value, Error> {
    let mut fault = None;
    let seed = Node { depth: 1, fault: &mut fault };
    let mut parser = serde_json::Deserializer::from_str(text);
    // Depth is checked by the seed, whose limit is below the parser's own.
    let error = match seed.deserialize(&mut parser) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let line = error.line().max(1);
    let column = match line {
        1 => start.column + error.column().max(1) - 1,
        _ => error.column().max(1),
    };
    let place = Place { document: start.document, line: start.line + line - 1, column };
    Err(match fault {
        Some(Fault::TwiceSeen(key)) => Error::DuplicateKey { place, key, first: None },
        Some(Fault::Depth) => Error::TooDeep { place },
        None => Error::Syntax { place, message: message(&error) },
    })
}

/// What the seed refuses and `serde_json` would not.
enum Fault {
    TwiceSeen(String),
    Depth,
}

/// Reads one value at a depth.
struct Node<'f> {
    depth: usize,
    fault: &'f mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl Node<'_> {
    fn check_depth<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth > MAX_DEPTH {
            *self.fault = Some(Fault::Depth);
            return Err(E::custom("too deep"));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut source: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut items = Vec::new();
        while let Some(item) =
            source.next_element_seed(Node { depth: self.depth + 1, fault: self.fault })?
        {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut source: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut entries = Map::new();
        while let Some(key) = source.next_key::<String>()? {
            if entries.contains_key(&key) {
                *self.fault = Some(Fault::TwiceSeen(key));
                return Err(serde::de::Error::custom("duplicate key"));
            }
            let value =
                source.next_value_seed(Node { depth: self.depth + 1, fault: self.fault })?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}
