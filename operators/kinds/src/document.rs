//! Documents: manifest text in, JSON values out.
//!
//! A manifest is YAML with any number of documents, or JSON with any number of objects. Both are read
//! the way `kubectl` reads them (`sigs.k8s.io/yaml`, which follows YAML 1.1), because the same
//! file must mean the same here. Rules and edges:
//! - at most [`MAX_BYTES`], the request limit of etcd and so of every Kubernetes API server;
//! - anchors, aliases and merge keys work, as long as what they stand for keeps that limit, too;
//! - values nest at most [`MAX_DEPTH`] deep;
//! - a key that stands twice in one mapping is an error, because one of the two would be lost;
//! - empty documents are left out, and a `List` is replaced by its items.

mod json;
mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

/// The largest manifest that is read, and the most that the aliases of one document may add to it,
/// in bytes (1.5 MiB, etcd's default `--max-request-bytes`).
pub const MAX_BYTES: usize = 1_572_864;

/// How deep mappings and lists may nest.
pub const MAX_DEPTH: usize = 100;

/// A place in the text of a manifest. All numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the documents of the text; empty ones count.
    pub document: usize,
    /// The line in the whole text.
    pub line: usize,
    /// The column in that line, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, line, column } = self;
        write!(f, "document {document}, line {line}, column {column}")
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says, always an object; keys in the order of the text.
    pub value: Value,
    /// Where it starts.
    pub place: Place,
    /// Which item of a `List` it was, counted from 1; `None` outside of lists.
    pub item: Option<usize>,
}

impl Document {
    /// The document in the words of a message: `document 2 (line 14), PyTorchJob ddp`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("document {} (line {})", self.place.document, self.place.line);
        if let Some(item) = self.item {
            text.push_str(&format!(", item {item}"));
        }
        let kind = self.value.get("kind").and_then(Value::as_str);
        let metadata = self.value.get("metadata");
        let name = ["name", "generateName"].iter().find_map(|key| metadata?.get(key)?.as_str());
        for (separator, word) in [(", ", kind), (" ", name)] {
            if let Some(word) = word {
                text.push_str(separator);
                text.push_str(&shorten(word, 80));
            }
        }
        text
    }
}

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The whole text is too large.
    #[error(
        "the manifest has {size} bytes; at most {MAX_BYTES} (1.5 MiB) are accepted: keep data in a file that the job reads, and name that file here"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The text is not UTF-8.
    #[error("line {line}, column {column}: not UTF-8; save the manifest in that encoding")]
    NotUtf8 {
        /// The line of the first bad byte.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// The text follows neither the rules of YAML nor those of JSON.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// Which rule was broken.
        message: String,
    },
    /// A key stands twice in one mapping.
    #[error("{place}: the key {key:?} stands here for the second time{}; remove one of the two", first.map(|line| format!(" (first in line {line})")).unwrap_or_default())]
    DuplicateKey {
        /// The second place.
        place: Place,
        /// The key.
        key: String,
        /// The line of the first, where it is known.
        first: Option<usize>,
    },
    /// Values nest too deep.
    #[error("{place}: nested more than {MAX_DEPTH} levels deep; no manifest needs that")]
    TooDeep {
        /// Where the limit was passed.
        place: Place,
    },
    /// The aliases of a document, or its anchors, stand for too much.
    #[error(
        "{place}: the aliases of this document stand for more than {MAX_BYTES} bytes; write fewer aliases of aliases"
    )]
    Expands {
        /// Where the limit was passed.
        place: Place,
    },
    /// A value or key has no counterpart in JSON.
    #[error("{place}: {what}")]
    NoJson {
        /// Where.
        place: Place,
        /// What it is and what to write instead.
        what: String,
    },
    /// A document is a list or a plain value.
    #[error(
        "{place}: a manifest must be an object with apiVersion, kind, metadata and spec; found {found}"
    )]
    NotAnObject {
        /// Where it starts.
        place: Place,
        /// What it is.
        found: &'static str,
    },
}

/// Reads every document of a manifest.
///
/// # Errors
/// The first thing that cannot be read, with its place.
pub fn parse_documents(bytes: &[u8]) -> Result<Vec<Document>, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge { size: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw = if text.trim_start().starts_with(['{', '[']) {
        // What starts like JSON may still be YAML in flow style. When it is neither, it was
        // probably meant as JSON.
        json::parse(text)
            .or_else(|error| reject_only_syntax(error, || yaml::parse(text).map_err(|_| ())))?
    } else {
        yaml::parse(text)?
    };
    let mut documents = Vec::new();
    for (value, place) in raw {
        if !value.is_null() {
            flatten(value, place, &mut documents)?;
        }
    }
    Ok(documents)
}

/// A document as its parser found it.
type Raw = (Value, Place);

fn reject_only_syntax(
    error: Error,
    other: impl FnOnce() -> Result<Vec<Raw>, ()>,
) -> Result<Vec<Raw>, Error> {
    match error {
        Error::Syntax { .. } => other().map_err(|()| error),
        certain => Err(certain),
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> Error {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    Error::NotUtf8 { line: before.matches('\n').count() + 1, column: last_line.chars().count() + 1 }
}

/// Adds a document, or in place of a list its items. The items of a typed list such as
/// `PyTorchJobList` may leave out their kind, as API servers do.
fn flatten(value: Value, place: Place, documents: &mut Vec<Document>) -> Result<(), Error> {
    let Value::Object(mut object) = value else {
        let found = type_name(&value);
        return Err(Error::NotAnObject { place, found });
    };
    let kind = object.get("kind").and_then(Value::as_str);
    let item_kind = match kind.and_then(|kind| kind.strip_suffix("List")) {
        Some(item_kind) if object.get("items").is_some_and(Value::is_array) => item_kind.to_owned(),
        _ => {
            documents.push(Document { value: Value::Object(object), place, item: None });
            return Ok(());
        }
    };
    let api_version = object.get("apiVersion").cloned();
    let Some(Value::Array(items)) = object.remove("items") else {
        unreachable!("items was an array a moment ago")
    };
    let first = documents.len();
    for mut item in items {
        if let (false, Value::Object(fields)) = (item_kind.is_empty(), &mut item) {
            complete(fields, "kind", Some(Value::from(item_kind.as_str())));
            complete(fields, "apiVersion", api_version.clone());
        }
        flatten(item, place, documents)?;
    }
    for (number, document) in documents[first..].iter_mut().enumerate() {
        document.item = Some(number + 1);
    }
    Ok(())
}

fn complete(fields: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let (false, Some(value)) = (fields.contains_key(key), value) {
        fields.insert(key.to_owned(), value);
    }
}

/// What a value is, as the end of the sentence `found ..`.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A text from a manifest cut to a length that fits into a message.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit).collect();
    short.push('…');
    short
}
