//! Python package requirements: what `pip install` takes on a line, as far as environments allow it.
//!
//! The grammar is that of the packaging guide's dependency specifiers (PEP 508) with names compared
//! as PEP 503 says. Options (`-r`, `--index-url`), local paths and editable installs are refused:
//! requirements come from manifests and end up on a tool's command line.
//!
//! In an image map a version may hold a placeholder, `torch=={version}`, that the image's tag fills.
//! A clause whose placeholder has no value is left out, so that `latest` means unpinned; `==` with
//! fewer than three numbers fits all their patch releases, as a tag such as `2.4` does.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::pattern::Captures;

/// What is wrong with a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// Nothing there.
    #[error("a package name is missing")]
    Empty,
    /// Looks like an option of pip.
    #[error("{text:?} is an option of pip; only packages can be named here")]
    Option {
        /// The text as written.
        text: String,
    },
    /// Not a package name.
    #[error("{text:?} is no package name; write for instance \"scikit-learn\" or \"pandas==2.2\"")]
    Name {
        /// The text as written.
        text: String,
    },
    /// The brackets after the name.
    #[error("{text:?}: the extras must be names in brackets, such as \"jax[cuda12]\"")]
    Extras {
        /// The text as written.
        text: String,
    },
    /// A version clause.
    #[error(
        "{clause:?} in {text:?} is no version; write an operator (==, >=, <=, <, >, !=, ~=, ===) and a version number"
    )]
    Version {
        /// The part that cannot be read.
        clause: String,
        /// The text as written.
        text: String,
    },
    /// `name @ url` where none may be.
    #[error(
        "{text:?}: a direct address is allowed only in the image map, as \"name @ https://...\""
    )]
    Address {
        /// The text as written.
        text: String,
    },
    /// A placeholder that nothing fills.
    #[error("{{{name}}} in {text:?} stands in no image pattern of this rule")]
    Placeholder {
        /// The placeholder's name.
        name: String,
        /// The text as written.
        text: String,
    },
}

/// A package with what is demanded of its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    name: String,
    extras: BTreeSet<String>,
    version: Source,
    marker: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Source {
    /// Clauses such as `>=2` and `<3`; none means any version.
    Registry(BTreeSet<Clause>),
    Address(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Clause {
    operator: &'static str,
    version: String,
}

/// Longest first, so that `==` is not read as the start of `===`.
const OPERATORS: [&str; 8] = ["===", "==", ">=", "<=", "!=", "~=", "<", ">"];

impl Requirement {
    /// Reads a requirement of a manifest: names, extras, versions and markers.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let requirement = Self::parse_template(text)?;
        if matches!(requirement.version, Source::Address(_)) {
            return Err(Error::Address { text: text.into() });
        }
        match requirement.placeholders().first() {
            Some(name) => Err(Error::Placeholder { name: (*name).to_owned(), text: text.into() }),
            None => Ok(requirement),
        }
    }

    /// Reads a requirement of an image map: also direct addresses and placeholders in versions.
    pub fn parse_template(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.starts_with('-') {
            return Err(Error::Option { text: text.into() });
        }
        let (body, marker) = match text.split_once(';') {
            Some((body, marker)) => (body.trim(), Some(marker.trim().to_owned())),
            None => (text, None),
        };
        let end = body
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(body.len());
        let (name, rest) = body.split_at(end);
        let edge = |b: u8| b.is_ascii_alphanumeric();
        let good = name.bytes().next().is_some_and(edge) && name.bytes().last().is_some_and(edge);
        // One line is one requirement: a line break would smuggle in a second one.
        if !good || text.contains(['\n', '\r', '\0']) {
            return Err(Error::Name { text: text.into() });
        }
        let (extras, rest) = extras(rest.trim(), text)?;
        let version = match rest.strip_prefix('@') {
            Some(address) if address.trim().contains("://") => {
                Source::Address(address.trim().to_owned())
            }
            Some(_) => return Err(Error::Address { text: text.into() }),
            None => Source::Registry(clauses(rest, text)?),
        };
        Ok(Self {
            name: normal_name(name),
            extras,
            version,
            marker: marker.filter(|m| !m.is_empty()),
        })
    }

    /// Reads a list as an annotation holds it: separated by commas or line breaks, where a comma
    /// before an operator goes on with the same package (`pandas>=2,<3`).
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Vec<Error>> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for item in split_list(text) {
            match Self::parse(&item) {
                Ok(requirement) => good.push(requirement),
                Err(error) => bad.push(error),
            }
        }
        if bad.is_empty() { Ok(good) } else { Err(bad) }
    }

    /// The package's name: lower case, with single dashes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version if it is pinned with `==` to one.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        match &self.version {
            Source::Registry(clauses) => clauses
                .iter()
                .find(|c| c.operator == "==")
                .map(|c| c.version.trim_end_matches(".*")),
            Source::Address(_) => None,
        }
    }

    /// Whether it is wanted only on some machines or Pythons.
    #[must_use]
    pub fn has_marker(&self) -> bool {
        self.marker.is_some()
    }

    /// The names of the placeholders in the versions.
    #[must_use]
    pub fn placeholders(&self) -> Vec<&str> {
        match &self.version {
            Source::Registry(clauses) => clauses.iter().filter_map(Clause::placeholder).collect(),
            Source::Address(_) => Vec::new(),
        }
    }

    /// Puts the versions of a tag in the placeholders.
    #[must_use]
    pub fn fill(&self, captures: &Captures) -> Self {
        let version = match &self.version {
            Source::Registry(clauses) => Source::Registry(
                clauses.iter().filter_map(|clause| clause.fill(captures)).collect(),
            ),
            address @ Source::Address(_) => address.clone(),
        };
        Self { version, ..self.clone() }
    }
}

impl Clause {
    fn placeholder(&self) -> Option<&str> {
        self.version.strip_prefix('{')?.strip_suffix('}')
    }

    fn fill(&self, captures: &Captures) -> Option<Self> {
        let Some(name) = self.placeholder() else {
            return Some(self.clone());
        };
        let version = captures.get(name)?;
        let any_patch = self.operator == "==" && version.components() < 3;
        Some(Self {
            operator: self.operator,
            version: format!("{version}{}", if any_patch { ".*" } else { "" }),
        })
    }
}

impl fmt::Display for Requirement {
    /// The canonical form: equal requirements read equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            let extras: Vec<&str> = self.extras.iter().map(String::as_str).collect();
            write!(f, "[{}]", extras.join(","))?;
        }
        match &self.version {
            Source::Registry(clauses) => {
                for (index, Clause { operator, version }) in clauses.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{operator}{version}")?;
                }
            }
            Source::Address(address) => write!(f, " @ {address}")?,
        }
        match &self.marker {
            Some(marker) => write!(f, " ; {marker}"),
            None => Ok(()),
        }
    }
}

/// A package's name as PEP 503 compares it.
fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        if "-_.".contains(c) {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.push(c.to_ascii_lowercase());
        }
    }
    normal
}

fn extras<'a>(rest: &'a str, text: &str) -> Result<(BTreeSet<String>, &'a str), Error> {
    let Some(inside) = rest.strip_prefix('[') else {
        return Ok((BTreeSet::new(), rest));
    };
    let wrong = || Error::Extras { text: text.into() };
    let (list, rest) = inside.split_once(']').ok_or_else(wrong)?;
    let mut extras = BTreeSet::new();
    for extra in list.split(',').map(str::trim) {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if extra.is_empty() || !extra.chars().all(good) {
            return Err(wrong());
        }
        extras.insert(normal_name(extra));
    }
    Ok((extras, rest.trim()))
}

fn clauses(rest: &str, text: &str) -> Result<BTreeSet<Clause>, Error> {
    if rest.is_empty() {
        return Ok(BTreeSet::new());
    }
    rest.split(',')
        .map(|part| {
            let part = part.trim();
            let wrong = || Error::Version { clause: part.into(), text: text.into() };
            let operator = OPERATORS
                .into_iter()
                .find(|operator| part.starts_with(operator))
                .ok_or_else(wrong)?;
            let version = part[operator.len()..].trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || ".*+!_-".contains(c);
            let placeholder = version
                .strip_prefix('{')
                .and_then(|v| v.strip_suffix('}'))
                .is_some_and(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_lowercase()));
            let number = version.starts_with(|c: char| c.is_ascii_alphanumeric())
                && version.chars().all(plain);
            if !placeholder && !number {
                return Err(wrong());
            }
            Ok(Clause { operator, version: version.to_owned() })
        })
        .collect()
}

fn split_list(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut depth = 0_u32;
        let mut current = String::new();
        for c in line.chars().chain([',']) {
            match c {
                '[' | '(' => depth += 1,
                ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if c != ',' || depth > 0 {
                current.push(c);
                continue;
            }
            let item = std::mem::take(&mut current);
            let item = item.trim();
            let goes_on = item.starts_with(['<', '>', '=', '!', '~']);
            match items.last_mut() {
                Some(previous) if goes_on => {
                    previous.push(',');
                    previous.push_str(item);
                }
                _ if item.is_empty() => {}
                _ => items.push(item.to_owned()),
            }
        }
        if depth > 0 && !current.trim().is_empty() {
            items.push(current.trim_end_matches(',').trim().to_owned());
        }
    }
    items
}

#[cfg(test)]
mod tests;
