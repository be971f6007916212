//! A place in a manifest and the value there.
//!
//! Types have been checked against the [`crate::schema`] before anything is read, so a value of a
//! wrong type reads like an absent one: its error stands in the findings already.

use std::collections::BTreeMap;

use muster_model::FieldPath;
use serde_json::Value;

/// A value, or its absence, at a path. Null counts as absent, as for Kubernetes.
#[derive(Debug, Clone)]
pub(crate) struct Node<'m> {
    value: Option<&'m Value>,
    path: FieldPath,
}

impl<'m> Node<'m> {
    pub(crate) fn new(value: Option<&'m Value>, path: FieldPath) -> Self {
        let value = value.filter(|value| !value.is_null());
        Self { value, path }
    }

    /// The manifest itself.
    pub(crate) fn root(value: &'m Value) -> Self {
        Self::new(Some(value), FieldPath::root())
    }

    pub(crate) fn path(&self) -> &FieldPath {
        &self.path
    }

    pub(crate) fn value(&self) -> Option<&'m Value> {
        self.value
    }

    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// A field of this object; absent when this is none.
    pub(crate) fn field(&self, name: &str) -> Self {
        let value = self.value.and_then(|value| value.get(name));
        Self::new(value, self.path.field(name))
    }

    pub(crate) fn text(&self) -> Option<&'m str> {
        self.value?.as_str()
    }

    /// The text, unless it is empty.
    pub(crate) fn nonempty(&self) -> Option<&'m str> {
        self.text().filter(|text| !text.is_empty())
    }

    pub(crate) fn int(&self) -> Option<i64> {
        self.value?.as_i64()
    }

    pub(crate) fn flag(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or(false)
    }

    /// The items of this list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> + use<'m> {
        let path = self.path.clone();
        let items = self.value.and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .enumerate()
            .map(move |(index, item)| Self::new(Some(item), path.index(index)))
    }

    /// The entries of this object that are not null.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'m str, Self)> + use<'m> {
        let path = self.path.clone();
        let entries = self.value.and_then(Value::as_object);
        entries
            .into_iter()
            .flatten()
            .map(move |(key, value)| (key.as_str(), Self::new(Some(value), path.field(key))))
            .filter(|(_, node)| node.is_set())
    }

    /// The texts of this list.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.items().filter_map(|item| item.text().map(str::to_owned)).collect()
    }

    /// The texts of this object.
    pub(crate) fn text_map(&self) -> BTreeMap<String, String> {
        self.entries()
            .filter_map(|(key, node)| Some((key.to_owned(), node.text()?.to_owned())))
            .collect()
    }
}
