//! What admission has to say about a manifest: every error at once, and warnings.

use std::collections::BTreeMap;
use std::fmt;

use muster_model::{FieldError, FieldPath, Problem};
use serde_json::Value;

use crate::document::{shorten, type_name};
use crate::suggest::nearest;

/// So many errors, and as many warnings, are listed one by one.
const LISTED: usize = 100;

/// Something about an accepted manifest that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where; the first place when there are several.
    pub path: FieldPath,
    /// What.
    pub kind: WarningKind,
}

/// What a [`Warning`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// The field is not known. It is kept in the stored manifest and means nothing. With
    /// `fieldValidation=Strict` this is an error (Kubernetes API).
    UnknownField {
        /// The known field that was probably meant.
        suggestion: Option<String>,
    },
    /// The field is known and Muster does nothing about it.
    NotActedOn {
        /// How many more places set it.
        others: usize,
        /// What to do instead; may be empty.
        advice: String,
    },
    /// The manifest sets an environment variable that the job kind sets, too. The kind's value is
    /// used.
    Overridden {
        /// The variable.
        name: String,
        /// How many more places set it.
        others: usize,
    },
    /// Anything else, as a sentence.
    Note(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        let more = |others: &usize| match others {
            0 => String::new(),
            1 => " (and in 1 more place)".to_owned(),
            others => format!(" (and in {others} more places)"),
        };
        match &self.kind {
            WarningKind::UnknownField { suggestion } => {
                write!(f, "unknown field \"{path}\"")?;
                match suggestion {
                    Some(known) => write!(f, "; did you mean {known:?}?"),
                    None => Ok(()),
                }
            }
            WarningKind::NotActedOn { others, advice } => {
                write!(f, "{path}{}: accepted, but not acted on", more(others))?;
                if advice.is_empty() { Ok(()) } else { write!(f, "; {advice}") }
            }
            WarningKind::Overridden { name, others } => write!(
                f,
                "{path}{}: the job sets {name} itself, and its value is used",
                more(others)
            ),
            WarningKind::Note(sentence) => write!(f, "{path}: {sentence}"),
        }
    }
}

/// Collects errors and warnings while a manifest is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
    unlisted: u64,
    warnings: Vec<Warning>,
    /// Where the warning about a kind of field stands.
    not_acted_on: BTreeMap<(&'static str, &'static str), usize>,
    /// Where the warning about a variable stands.
    overridden: BTreeMap<String, usize>,
}

impl Findings {
    /// The errors if there are any, else the warnings.
    pub(crate) fn finish(mut self) -> Result<Vec<Warning>, Vec<FieldError>> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        if self.unlisted > 0 {
            let advice = format!("{} more problems are not listed", self.unlisted);
            let limit = LISTED as u64;
            let problem = Problem::TooLong { limit };
            self.errors.push(FieldError::new(FieldPath::root(), problem, advice));
        }
        Err(self.errors)
    }

    /// Takes over what was found elsewhere and is not known yet. `place` says where it stands for the author.
    pub(crate) fn absorb(&mut self, other: Self, place: impl Fn(FieldPath) -> FieldPath) {
        for error in other.errors {
            let error = FieldError { path: place(error.path), ..error };
            if !self.errors.contains(&error) {
                self.error(&error.path, error.problem, error.advice);
            }
        }
        self.unlisted += other.unlisted;
        for warning in other.warnings {
            self.warn(&place(warning.path), warning.kind);
        }
    }

    pub(crate) fn error(&mut self, path: &FieldPath, problem: Problem, advice: impl Into<String>) {
        if self.errors.len() < LISTED {
            self.errors.push(FieldError::new(path.clone(), problem, advice));
        } else {
            self.unlisted += 1;
        }
    }

    pub(crate) fn required(&mut self, path: &FieldPath, advice: impl Into<String>) {
        self.error(path, Problem::Required, advice);
    }

    pub(crate) fn forbidden(&mut self, path: &FieldPath, advice: impl Into<String>) {
        self.error(path, Problem::Forbidden, advice);
    }

    /// `value` is shown as it stands in JSON.
    pub(crate) fn invalid(
        &mut self,
        path: &FieldPath,
        value: impl Into<Value>,
        advice: impl Into<String>,
    ) {
        let value = shorten(&value.into().to_string(), 80);
        self.error(path, Problem::Invalid { value }, advice);
    }

    pub(crate) fn duplicate(&mut self, path: &FieldPath, value: &str, advice: impl Into<String>) {
        let value = shorten(value, 80);
        self.error(path, Problem::Duplicate { value }, advice);
    }

    /// Whether further errors are counted and no longer listed; then their advice is not needed.
    pub(crate) fn lists_no_more_errors(&self) -> bool {
        self.errors.len() >= LISTED
    }

    pub(crate) fn not_supported(&mut self, path: &FieldPath, value: &str, supported: &[&str]) {
        let advice = nearest(value, supported.iter().copied())
            .map(|known| format!("did you mean {known}?"))
            .unwrap_or_default();
        let problem = Problem::NotSupported {
            value: shorten(value, 80),
            supported: supported.iter().map(|&known| known.to_owned()).collect(),
        };
        self.error(path, problem, advice);
    }

    pub(crate) fn wrong_type(&mut self, path: &FieldPath, expected: &str, found: &Value) {
        let advice = match found {
            Value::Bool(_) | Value::Number(_) if expected == "a text" => {
                format!("put it in quotes: \"{}\"", shorten(&found.to_string(), 40))
            }
            Value::String(text) if expected != "a text" && text.parse::<i64>().is_ok() => {
                "leave out the quotes".to_owned()
            }
            _ => String::new(),
        };
        let problem = Problem::WrongType {
            expected: expected.to_owned(),
            found: match found {
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    format!("{} ({})", type_name(found), shorten(&found.to_string(), 40))
                }
                _ => type_name(found).to_owned(),
            },
        };
        self.error(path, problem, advice);
    }

    pub(crate) fn note(&mut self, path: &FieldPath, sentence: impl Into<String>) {
        self.warn(path, WarningKind::Note(sentence.into()));
    }

    /// `name` is the last part of the path, `known` are the names that could stand there.
    pub(crate) fn unknown_field<'k>(
        &mut self,
        path: &FieldPath,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        if self.warnings.len() < LISTED {
            let suggestion = nearest(name, known).map(str::to_owned);
            self.warn(path, WarningKind::UnknownField { suggestion });
        }
    }

    /// Once for each kind of field: `subject` is the type and the name of the field.
    pub(crate) fn not_acted_on(
        &mut self,
        path: &FieldPath,
        subject: (&'static str, &'static str),
        advice: &str,
    ) {
        if let Some(&place) = self.not_acted_on.get(&subject) {
            if let Some(WarningKind::NotActedOn { others, .. }) = self.kind_at(place) {
                *others += 1;
            }
            return;
        }
        self.not_acted_on.insert(subject, self.warnings.len());
        let advice = advice.to_owned();
        self.warn(path, WarningKind::NotActedOn { others: 0, advice });
    }

    /// Once for each variable.
    pub(crate) fn overridden(&mut self, path: &FieldPath, name: &str) {
        if let Some(&place) = self.overridden.get(name) {
            if let Some(WarningKind::Overridden { others, .. }) = self.kind_at(place) {
                *others += 1;
            }
            return;
        }
        self.overridden.insert(name.to_owned(), self.warnings.len());
        let name = name.to_owned();
        self.warn(path, WarningKind::Overridden { name, others: 0 });
    }

    fn kind_at(&mut self, place: usize) -> Option<&mut WarningKind> {
        self.warnings.get_mut(place).map(|warning| &mut warning.kind)
    }

    fn warn(&mut self, path: &FieldPath, kind: WarningKind) {
        if self.warnings.len() < LISTED {
            let path = path.clone();
            self.warnings.push(Warning { path, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_warnings_are_counted_and_long_lists_cut() {
        let mut findings = Findings::default();
        let path = |index| FieldPath::root().field("a").index(index);
        for index in 0..3 {
            findings.not_acted_on(&path(index), ("PodSpec", "affinity"), "");
            findings.overridden(&path(index), "RANK");
        }
        let warnings: Vec<String> =
            findings.finish().unwrap().iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            [
                "a[0] (and in 2 more places): accepted, but not acted on",
                "a[0] (and in 2 more places): the job sets RANK itself, and its value is used",
            ]
        );
        let mut findings = Findings::default();
        for index in 0..1_000 {
            findings.required(&path(index), "");
            findings.note(&path(index), "x");
        }
        let errors = findings.finish().unwrap_err();
        assert_eq!(errors.len(), LISTED + 1);
        assert_eq!(
            errors[LISTED].to_string(),
            "(document): too long, at most 100 are allowed: 900 more problems are not listed"
        );
    }
}
