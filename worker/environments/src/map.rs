//! The image map: an ordered list of rules, the user's before the built-in ones; the first rule with a
//! pattern that fits the image decides. Annotations of the pod template come on top:
//! `muster.dev/packages` adds packages, `muster.dev/environment` names another environment.

mod annotations;
mod file;
mod node;
mod suggest;

use std::collections::BTreeMap;
use std::path::Path;

pub use annotations::{
    ANNOTATION_ENVIRONMENT, ANNOTATION_PACKAGES, Error as AnnotationError, Wishes,
};
pub use file::{Error, Mistake, Mistakes};
pub use node::Place;

use crate::image::ImageReference;
use crate::pattern::{Captures, ImagePattern};
use crate::requirement::Requirement;
use crate::spec::{EnvironmentSpec, Resolution, Target};
use crate::version::{PythonMinor, PythonWish};

const BUILTIN: &str = include_str!("map/builtin.yaml");

/// The rules in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct ImageMap {
    rules: Vec<Rule>,
}

/// A rule of the map.
#[derive(Debug, Clone)]
struct Rule {
    name: Option<String>,
    origin: Origin,
    patterns: Vec<ImagePattern>,
    outcome: Outcome,
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Origin {
    BuiltIn,
    File { name: String, line: u64 },
}

#[derive(Debug, Clone)]
enum Outcome {
    Host,
    Environment(Template),
}

/// An environment whose versions still wait for the image's tag.
#[derive(Debug, Clone, Default)]
struct Template {
    python: Option<PythonTemplate>,
    packages: Vec<Requirement>,
    gpu_packages: Option<Vec<Requirement>>,
    check: Vec<String>,
}

#[derive(Debug, Clone)]
enum PythonTemplate {
    Wish(PythonWish),
    /// The version that the pattern captured under this name.
    Captured(String),
}

impl ImageMap {
    /// The built-in rules alone.
    #[must_use]
    pub fn builtin() -> Self {
        let rules = file::parse(BUILTIN, Origin::BuiltIn)
            .expect("the built-in map is valid: a test reads it");
        Self { rules }
    }

    /// The rules of a file's text, followed by the built-in ones. `name` is the file's name for
    /// messages.
    pub fn parse(text: &str, name: &str) -> Result<Self, Mistakes> {
        let origin = Origin::File { name: name.to_owned(), line: 0 };
        let mut rules = file::parse(text, origin)
            .map_err(|mistakes| Mistakes { file: name.to_owned(), mistakes })?;
        rules.extend(Self::builtin().rules);
        Ok(Self { rules })
    }

    /// The rules of a file, followed by the built-in ones.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// The names that `muster.dev/environment` can take, without doubles, in the order of the rules.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.rules.iter().filter_map(|rule| rule.name.as_deref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// What a container with this image and these wishes runs in.
    pub fn resolve(&self, image: &str, wishes: &Wishes) -> Result<Resolution, AnnotationError> {
        let mut resolution = match wishes.environment.as_deref() {
            None => self.by_image(&ImageReference::parse(image)),
            Some("host") => Resolution {
                target: Target::Host { variables: BTreeMap::new() },
                origin: format!("annotation {ANNOTATION_ENVIRONMENT}: host"),
                warning: None,
            },
            Some("none") => Resolution {
                target: Target::None,
                origin: format!("annotation {ANNOTATION_ENVIRONMENT}: none"),
                warning: None,
            },
            Some(name) => self.by_name(name)?,
        };
        if wishes.packages.is_empty() {
            return Ok(resolution);
        }
        if let Some(name @ ("host" | "none")) = wishes.environment.as_deref() {
            return Err(AnnotationError::PackagesWithoutEnvironment {
                environment: name.to_owned(),
            });
        }
        let mut spec = match resolution.target {
            Target::Environment(spec) => spec,
            Target::Host { variables } => {
                EnvironmentSpec { variables, ..EnvironmentSpec::default() }
            }
            Target::None => EnvironmentSpec::default(),
        };
        spec.add_packages(&wishes.packages);
        resolution.target = Target::Environment(spec);
        resolution.origin = format!("{} with {ANNOTATION_PACKAGES}", resolution.origin);
        // A plain environment with what the job asked for is no guess any more.
        resolution.warning = None;
        Ok(resolution)
    }

    fn by_image(&self, image: &ImageReference) -> Resolution {
        let hit = self.rules.iter().find_map(|rule| {
            let captures = rule.patterns.iter().find_map(|p| p.matches(image))?;
            Some(rule.resolve(&captures))
        });
        hit.unwrap_or_else(|| Resolution {
            target: Target::Host { variables: BTreeMap::new() },
            origin: "no rule fits the image".to_owned(),
            warning: Some(format!(
                "image {image} is not mapped to an environment, so the container runs with the \
                 machine's own programs; add a rule for {name} to the image map, or set the \
                 annotation {ANNOTATION_PACKAGES} (packages to install) or \
                 {ANNOTATION_ENVIRONMENT} (host, if this is meant) on the pod template",
                name = image.name(),
            )),
        })
    }

    fn by_name(&self, name: &str) -> Result<Resolution, AnnotationError> {
        let rule = self.rules.iter().find(|r| r.name.as_deref() == Some(name));
        match rule {
            // No image, no tag: the environment comes with the newest versions.
            Some(rule) => Ok(rule.resolve(&Captures::new())),
            None => Err(AnnotationError::UnknownEnvironment {
                name: name.to_owned(),
                nearest: suggest::nearest(name, self.names().into_iter().chain(["host", "none"]))
                    .map(str::to_owned),
            }),
        }
    }
}

impl Rule {
    fn resolve(&self, captures: &Captures) -> Resolution {
        let target = match &self.outcome {
            Outcome::Host => Target::Host { variables: self.variables.clone() },
            Outcome::Environment(template) => Target::Environment(EnvironmentSpec {
                variables: self.variables.clone(),
                ..template.fill(captures)
            }),
        };
        Resolution { target, origin: self.describe(), warning: None }
    }

    fn describe(&self) -> String {
        let place = match &self.origin {
            Origin::BuiltIn => "built in".to_owned(),
            Origin::File { name, line } => format!("{name}:{line}"),
        };
        match &self.name {
            Some(name) => format!("rule \"{name}\" ({place})"),
            None => format!("rule at {place}"),
        }
    }
}

impl Template {
    fn fill(&self, captures: &Captures) -> EnvironmentSpec {
        let fill = |list: &Vec<Requirement>| list.iter().map(|r| r.fill(captures)).collect();
        EnvironmentSpec {
            python: self.python.as_ref().and_then(|python| match python {
                PythonTemplate::Wish(wish) => Some(*wish),
                PythonTemplate::Captured(name) => {
                    captures.get(name).and_then(PythonMinor::of).map(PythonWish::Exactly)
                }
            }),
            packages: fill(&self.packages),
            gpu_packages: self.gpu_packages.as_ref().map(fill),
            check: self.check.clone(),
            variables: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
