//! YAML documents: composes the events of the parser into JSON values.
//!
//! Three limits keep hostile input harmless: the depth of nesting, the size of what the aliases of a
//! document add to it, and the size of what its anchors remember. An alias costs as much as what it
//! stands for, so a few lines of aliases of aliases end at the limit and not in the swap.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{
    self, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};

use super::scalar::{self, Unfit};
use super::{Error, MAX_BYTES, MAX_DEPTH, Place, Raw};

/// Reads every document of a text; an empty one is null.
pub(super) fn parse(text: &str) -> Result<Vec<Raw>, Error> {
    let options = granit_parser::options! {
        emit_comments: false,
        // As libyaml, which the upstream tools use.
        block_scalar_eof_without_line_feed: true,
        // Deeper than the composer goes, so that its own error comes first.
        flow_nesting_limit: MAX_DEPTH + 10,
        block_nesting_limit: MAX_DEPTH + 10,
    };
    let mut composer = Composer {
        events: Parser::new_from_str_with_options(text, options),
        number: 1,
        anchors: BTreeMap::new(),
        added: 0,
        remembered: 0,
    };
    composer.stream()
}

/// A composed node.
#[derive(Clone)]
struct Node {
    value: Value,
    /// About how many bytes it has as JSON.
    size: usize,
    /// How many levels it nests, 0 for a scalar.
    height: usize,
}

struct Composer<'t> {
    events: Parser<'t, StrInput<'t>>,
    /// The number of the document that is being read.
    number: usize,
    /// What each anchor of this document stands for; `None` while its node is being read.
    anchors: BTreeMap<usize, Option<Node>>,
    /// The size of what its aliases have added so far.
    added: usize,
    /// The size of what its anchors remember.
    remembered: usize,
}

impl<'t> Composer<'t> {
    fn stream(&mut self) -> Result<Vec<Raw>, Error> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentEnd => {
                    self.number += 1;
                    self.anchors.clear();
                    (self.added, self.remembered) = (0, 0);
                }
                Event::StreamStart | Event::DocumentStart(..) => {}
                event => {
                    let place = self.place(&span);
                    let node = self.node(event, &span, 0)?;
                    documents.push((node.value, place));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Error> {
        match self.events.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Error> {
        let anchor = event.anchor_id();
        if let Some(id) = anchor {
            self.anchors.insert(id, None);
        }
        let node = match event {
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag, span)?,
            Event::SequenceStart(..) => self.sequence(span, depth + 1)?,
            Event::MappingStart(..) => self.mapping(span, depth + 1)?,
            Event::Alias(id) => return self.alias(id, span, depth),
            _ => {
                return Err(Error::Syntax {
                    place: self.place(span),
                    message: "a value is missing here".into(),
                });
            }
        };
        if let Some(id) = anchor {
            self.remembered += node.size;
            if self.remembered > MAX_BYTES {
                return Err(self.expands(span));
            }
            self.anchors.insert(id, Some(node.clone()));
        }
        Ok(node)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<Cow<'t, Tag>>,
        span: &Span,
    ) -> Result<Node, Error> {
        const CORE: &str = "tag:yaml.org,2002:";
        let value = match tag {
            None if style == ScalarStyle::Plain => scalar::resolve(text),
            None => Ok(text.into()),
            Some(tag) => match tag.suffix_in_namespace(CORE) {
                Some(core) => scalar::resolve_tagged(&core, text),
                None => Ok(text.into()),
            },
        };
        let value = value.map_err(|unfit| self.no_json(unfit, span))?;
        let size = match &value {
            Value::String(text) => text.len() + 3,
            _ => 5,
        };
        Ok(Node { value, size, height: 0 })
    }

    fn sequence(&mut self, span: &Span, depth: usize) -> Result<Node, Error> {
        self.check_depth(depth, span)?;
        let (mut items, mut size, mut height) = (Vec::new(), 3, 0);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let item = self.node(event, &span, depth)?;
            size += item.size;
            height = height.max(item.height);
            items.push(item.value);
        }
        Ok(Node { value: Value::Array(items), size, height: height + 1 })
    }

    fn mapping(&mut self, span: &Span, depth: usize) -> Result<Node, Error> {
        self.check_depth(depth, span)?;
        let mut mapping = Mapping::default();
        let mut size = 3;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merges = is_merge(&event);
            let key = self.node(event, &span, depth)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span, depth)?;
            size += key.size + value.size;
            mapping.height = mapping.height.max(value.height);
            if merges {
                mapping.merge(value.value).map_err(|unfit| self.no_json(unfit, &value_span))?;
                continue;
            }
            let key = scalar::key(&key.value).map_err(|unfit| self.no_json(unfit, &span))?;
            if let Err(first) = mapping.insert(&key, value.value, span.start.line()) {
                return Err(Error::DuplicateKey {
                    place: self.place(&span),
                    key,
                    first: Some(first),
                });
            }
        }
        let height = mapping.height + 1;
        Ok(Node { value: Value::Object(mapping.finish()), size, height })
    }

    fn alias(&mut self, id: usize, span: &Span, depth: usize) -> Result<Node, Error> {
        let Some(Some(node)) = self.anchors.get(&id) else {
            return Err(Error::Syntax {
                place: self.place(span),
                message: "the alias stands inside of what it stands for".into(),
            });
        };
        let node = node.clone();
        self.check_depth(depth + node.height, span)?;
        self.added += node.size;
        if self.added > MAX_BYTES {
            return Err(self.expands(span));
        }
        Ok(node)
    }

    fn expands(&self, span: &Span) -> Error {
        Error::Expands { place: self.place(span) }
    }

    fn check_depth(&self, depth: usize, span: &Span) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { place: self.place(span) });
        }
        Ok(())
    }

    fn place(&self, span: &Span) -> Place {
        Place {
            document: self.number,
            line: span.start.line().max(1),
            column: span.start.col() + 1,
        }
    }

    fn no_json(&self, unfit: Unfit, span: &Span) -> Error {
        Error::NoJson { place: self.place(span), what: unfit.0 }
    }

    fn syntax(&self, error: &ScanError) -> Error {
        let mark = error.marker();
        Error::Syntax {
            place: Place {
                document: self.number,
                line: mark.line().max(1),
                column: mark.col() + 1,
            },
            message: error.info(),
        }
    }
}

/// Whether a key is the merge key `<<`.
fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
        Event::Scalar(text, _, _, Some(tag)) => text == "<<" && tag.suffix() == "merge",
        _ => false,
    }
}

/// A mapping that is being read.
#[derive(Default)]
struct Mapping {
    entries: Map<String, Value>,
    /// The line of each entry, in the same order.
    lines: Vec<usize>,
    merged: Vec<Map<String, Value>>,
    height: usize,
}

impl Mapping {
    /// Adds an entry, or answers with the line where its key stands already.
    fn insert(&mut self, key: &str, value: Value, line: usize) -> Result<(), usize> {
        if self.entries.contains_key(key) {
            let index = self.entries.keys().position(|known| known == key);
            return Err(index.map_or(line, |index| self.lines[index]));
        }
        self.entries.insert(key.to_owned(), value);
        self.lines.push(line);
        Ok(())
    }

    fn merge(&mut self, value: Value) -> Result<(), Unfit> {
        match value {
            Value::Object(entries) => self.merged.push(entries),
            Value::Array(items) if items.iter().all(Value::is_object) => {
                for item in items {
                    self.merge(item)?;
                }
            }
            _ => {
                return Err(Unfit(
                    "the merge key << needs a mapping, an alias of one, or a list of those".into(),
                ));
            }
        }
        Ok(())
    }

    /// Own keys win over merged ones, earlier merged ones over later ones.
    fn finish(mut self) -> Map<String, Value> {
        for (key, value) in self.merged.into_iter().flatten() {
            if !self.entries.contains_key(&key) {
                self.entries.insert(key, value);
            }
        }
        self.entries
    }
}
