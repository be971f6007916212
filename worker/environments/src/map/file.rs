//! The file format of the image map. Reading it finds every mistake, each with its place, and leaves
//! nothing unread: a key that is not known is a mistake too, because a rule that silently lacks
//! what its author wrote is worse than no rule.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::node::{Key, Node, Place, Value};
use super::suggest::nearest;
use super::{Origin, Outcome, PythonTemplate, Rule, Template};
use crate::pattern::ImagePattern;
use crate::requirement::{self, Requirement};
use crate::version::PythonWish;

const RULE_KEYS: [&str; 8] =
    ["name", "image", "python", "packages", "gpuPackages", "variables", "check", "host"];

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be read at all.
    #[error("the image map {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It can be read, but not understood.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// Everything that is wrong with a file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Mistakes {
    /// The file's name.
    pub file: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// Where, as a path: `rules[2].packages[0]`.
    pub path: String,
    /// A sentence.
    pub problem: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}{}:{}: ", self.file, mistake.place)?;
            if !mistake.path.is_empty() {
                write!(f, "{}: ", mistake.path)?;
            }
            f.write_str(&mistake.problem)?;
        }
        Ok(())
    }
}

pub(super) fn parse(text: &str, origin: Origin) -> Result<Vec<Rule>, Vec<Mistake>> {
    let mut reader = Reader { origin, mistakes: Vec::new(), names: BTreeMap::new() };
    let rules = match Node::parse(text) {
        Ok(root) => reader.document(&root),
        Err((place, problem)) => {
            reader.wrong(place, "", problem);
            Vec::new()
        }
    };
    if reader.mistakes.is_empty() {
        Ok(rules)
    } else {
        reader.mistakes.sort_by_key(|mistake| mistake.place);
        Err(reader.mistakes)
    }
}

struct Reader {
    origin: Origin,
    mistakes: Vec<Mistake>,
    /// Rule names and the lines they stand in.
    names: BTreeMap<String, u64>,
}

/// The entries of a rule by key. A key stands once: the YAML reader refuses a second one.
type Fields<'a> = BTreeMap<&'a str, &'a Node>;

impl Reader {
    fn wrong(&mut self, place: Place, path: &str, problem: impl Into<String>) {
        self.mistakes.push(Mistake { place, path: path.to_owned(), problem: problem.into() });
    }

    fn document(&mut self, root: &Node) -> Vec<Rule> {
        let entries = match &root.value {
            Value::Map(entries) => entries,
            // An empty file, or only comments: no rules.
            Value::Null => return Vec::new(),
            _ => {
                let problem =
                    format!("the file must be a mapping with rules:, not {}", root.kind());
                self.wrong(root.place, "", problem);
                return Vec::new();
            }
        };
        let fields = self.fields(entries, "", &["rules"]);
        let Some(rules) = fields.get("rules") else {
            return Vec::new();
        };
        let mut parsed = Vec::new();
        for (index, node) in self.list(rules, "rules").iter().enumerate() {
            let path = format!("rules[{index}]");
            match &node.value {
                Value::Map(entries) => parsed.extend(self.rule(node.place, entries, &path)),
                _ => {
                    let problem = format!("a rule must be a mapping, not {}", node.kind());
                    self.wrong(node.place, &path, problem);
                }
            }
        }
        parsed
    }

    fn rule(&mut self, place: Place, entries: &[(Key, Node)], path: &str) -> Option<Rule> {
        let before = self.mistakes.len();
        let fields = self.fields(entries, path, &RULE_KEYS);
        let at = |key: &str| format!("{path}.{key}");
        let name = fields.get("name").and_then(|n| self.name(n, &at("name")));
        let patterns =
            fields.get("image").map(|node| self.patterns(node, &at("image"))).unwrap_or_default();
        if !fields.contains_key("name") && !fields.contains_key("image") {
            let problem = "a rule needs image: (a pattern, or a list of them) or name:";
            self.wrong(place, path, problem);
        }
        let variables = fields
            .get("variables")
            .map(|node| self.variables(node, &at("variables")))
            .unwrap_or_default();
        let host = fields.get("host").is_some_and(|node| self.boolean(node, &at("host")));
        let outcome = if host {
            for key in ["python", "packages", "gpuPackages", "check"] {
                if let Some(node) = fields.get(key) {
                    let problem =
                        "host: true means that no environment is made; take one of the two away";
                    self.wrong(node.place, &at(key), problem);
                }
            }
            Outcome::Host
        } else {
            if !["packages", "gpuPackages", "python"].iter().any(|k| fields.contains_key(k)) {
                let problem = "the rule does not say what the image becomes: write packages: (a list, \
                               [] for plain Python), python: or host: true";
                self.wrong(place, path, problem);
            }
            Outcome::Environment(self.template(&fields, path, &patterns))
        };
        let origin = match &self.origin {
            Origin::BuiltIn => Origin::BuiltIn,
            Origin::File { name, .. } => Origin::File { name: name.clone(), line: place.line },
        };
        (self.mistakes.len() == before).then_some(Rule {
            name,
            origin,
            patterns,
            outcome,
            variables,
        })
    }

    fn template(&mut self, fields: &Fields<'_>, path: &str, patterns: &[ImagePattern]) -> Template {
        let captured: Vec<&str> = patterns.iter().flat_map(|p| p.captured()).collect();
        let mut packages = |key: &str| {
            let node = fields.get(key)?;
            Some(self.packages(node, &format!("{path}.{key}"), &captured))
        };
        let plain = packages("packages");
        let gpu_packages = packages("gpuPackages");
        let python = fields
            .get("python")
            .and_then(|node| self.python(node, &format!("{path}.python"), &captured));
        let check = match fields.get("check") {
            Some(node) => self.modules(node, &format!("{path}.check")),
            None => Vec::new(),
        };
        Template { python, packages: plain.unwrap_or_default(), gpu_packages, check }
    }

    fn name(&mut self, node: &Node, path: &str) -> Option<String> {
        let name = self.scalar(node, path)?.to_owned();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let problem = "a name is lower-case letters, digits, dashes and dots";
            self.wrong(node.place, path, problem);
            return None;
        }
        if name == "host" || name == "none" {
            let problem =
                format!("{name:?} has a meaning of its own as an environment; choose another name");
            self.wrong(node.place, path, problem);
            return None;
        }
        if let Some(line) = self.names.insert(name.clone(), node.place.line) {
            let problem = format!("the name {name:?} stands in line {line} already");
            self.wrong(node.place, path, problem);
        }
        Some(name)
    }

    fn patterns(&mut self, node: &Node, path: &str) -> Vec<ImagePattern> {
        let mut patterns = Vec::new();
        for (item, path) in one_or_many(node, path) {
            let Some(text) = self.scalar(item, &path).map(str::to_owned) else {
                continue;
            };
            match ImagePattern::parse(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.wrong(item.place, &path, error.to_string()),
            }
        }
        if patterns.is_empty() && matches!(node.value, Value::List(_) | Value::Null) {
            self.wrong(node.place, path, "at least one pattern is needed");
        }
        patterns
    }

    fn packages(&mut self, node: &Node, path: &str, captured: &[&str]) -> Vec<Requirement> {
        let mut packages = Vec::new();
        for (index, item) in self.list(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(text) = self.scalar(item, &path).map(str::to_owned) else {
                continue;
            };
            match Requirement::parse_template(&text) {
                Ok(requirement) => {
                    for name in requirement.placeholders() {
                        if !captured.contains(&name) {
                            let error = requirement::Error::Placeholder {
                                name: name.to_owned(),
                                text: text.clone(),
                            };
                            self.wrong(item.place, &path, error.to_string());
                        }
                    }
                    packages.push(requirement);
                }
                Err(error) => self.wrong(item.place, &path, error.to_string()),
            }
        }
        packages
    }

    fn python(&mut self, node: &Node, path: &str, captured: &[&str]) -> Option<PythonTemplate> {
        let text = self.scalar(node, path)?.to_owned();
        if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            if captured.contains(&name) {
                return Some(PythonTemplate::Captured(name.to_owned()));
            }
            let problem = format!("{text} stands in no image pattern of this rule");
            self.wrong(node.place, path, problem);
            return None;
        }
        let wish = PythonWish::parse(&text);
        if wish.is_none() {
            let problem = format!(
                "{text:?} is no Python version; write for instance \"3.11\" or \">=3.9,<3.12\""
            );
            self.wrong(node.place, path, problem);
        }
        wish.map(PythonTemplate::Wish)
    }

    fn modules(&mut self, node: &Node, path: &str) -> Vec<String> {
        let mut modules = Vec::new();
        for (item, path) in one_or_many(node, path) {
            let Some(text) = self.scalar(item, &path).map(str::to_owned) else {
                continue;
            };
            let word = |w: &str| {
                !w.is_empty()
                    && !w.starts_with(|c: char| c.is_ascii_digit())
                    && w.chars().all(|c| c.is_alphanumeric() || c == '_')
            };
            if text.split('.').all(word) {
                modules.push(text);
            } else {
                let problem = format!("{text:?} is no module; write what stands after import");
                self.wrong(item.place, &path, problem);
            }
        }
        modules
    }

    fn variables(&mut self, node: &Node, path: &str) -> BTreeMap<String, String> {
        let Value::Map(entries) = &node.value else {
            let problem =
                format!("variables must be a mapping of names to values, not {}", node.kind());
            self.wrong(node.place, path, problem);
            return BTreeMap::new();
        };
        let mut variables = BTreeMap::new();
        for (key, value) in entries {
            let path = format!("{path}.{}", key.name);
            if key.name.is_empty() || key.name.contains(['=', '\0']) {
                self.wrong(key.place, &path, "a variable's name holds no '='");
            }
            if let Some(text) = self.scalar(value, &path).map(str::to_owned) {
                variables.insert(key.name.clone(), text);
            }
        }
        variables
    }

    fn boolean(&mut self, node: &Node, path: &str) -> bool {
        match self.scalar(node, path).map(str::to_owned).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                self.wrong(node.place, path, format!("write true or false, not {other:?}"));
                false
            }
        }
    }

    fn scalar<'a>(&mut self, node: &'a Node, path: &str) -> Option<&'a str> {
        if let Value::Scalar(text) = &node.value {
            return Some(text);
        }
        let problem = format!("a single value must stand here, not {}", node.kind());
        self.wrong(node.place, path, problem);
        None
    }

    fn list<'a>(&mut self, node: &'a Node, path: &str) -> &'a [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                let problem = format!("a list must stand here, not {}", node.kind());
                self.wrong(node.place, path, problem);
                &[]
            }
        }
    }

    fn fields<'a>(&mut self, entries: &'a [(Key, Node)], path: &str, known: &[&str]) -> Fields<'a> {
        let mut fields = Fields::new();
        for (key, node) in entries {
            if known.contains(&key.name.as_str()) {
                fields.insert(&key.name, node);
                continue;
            }
            let hint = match nearest(&key.name, known.iter().copied()) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("known are {}", known.join(", ")),
            };
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", key.name);
            self.wrong(key.place, &path, format!("unknown key {:?}; {hint}", key.name));
        }
        fields
    }
}

/// A value that may stand alone or in a list.
fn one_or_many<'a>(node: &'a Node, path: &str) -> Vec<(&'a Node, String)> {
    match &node.value {
        Value::List(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (item, format!("{path}[{index}]")))
            .collect(),
        _ => vec![(node, path.to_owned())],
    }
}
