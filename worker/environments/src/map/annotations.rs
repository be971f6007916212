//! The two annotations of a pod template that choose an environment.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::requirement::{self, Requirement};

/// Packages to add to the image's environment: `scikit-learn, pandas==2.2`.
pub const ANNOTATION_PACKAGES: &str = "muster.dev/packages";

/// The environment to use whatever the image: `host`, `none`, or the name of a rule of the map.
pub const ANNOTATION_ENVIRONMENT: &str = "muster.dev/environment";

/// What a pod template asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Packages to add, which replace the rule's requirement of the same package.
    pub packages: Vec<Requirement>,
    /// `host`, `none`, or the name of a rule.
    pub environment: Option<String>,
}

/// An annotation that cannot be followed. The job is wrong, not the machine: trying again is no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// Some of the packages cannot be read.
    #[error("annotation {ANNOTATION_PACKAGES}: {}", sentences(.0))]
    Packages(Vec<requirement::Error>),
    /// No rule has the name.
    #[error(
        "annotation {ANNOTATION_ENVIRONMENT}: there is no environment {name:?}{}; use host, none, or the name of a rule of the image map",
        .nearest.as_ref().map(|n| format!(" (did you mean {n:?}?)")).unwrap_or_default()
    )]
    UnknownEnvironment {
        /// The name as written.
        name: String,
        /// A name that looks like it.
        nearest: Option<String>,
    },
    /// Packages, and no environment to put them in.
    #[error(
        "annotation {ANNOTATION_PACKAGES} adds packages to an environment, but {ANNOTATION_ENVIRONMENT}: {environment} asks for none; take one of the two away"
    )]
    PackagesWithoutEnvironment {
        /// `host` or `none`.
        environment: String,
    },
}

fn sentences(errors: &[requirement::Error]) -> String {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

impl Wishes {
    /// Reads the annotations of a pod template; the others are not looked at.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Self, Error> {
        let packages = match annotations.get(ANNOTATION_PACKAGES) {
            Some(text) => Requirement::parse_list(text).map_err(Error::Packages)?,
            None => Vec::new(),
        };
        let environment = annotations
            .get(ANNOTATION_ENVIRONMENT)
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty());
        Ok(Self { packages, environment })
    }
}
