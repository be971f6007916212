//! Image references, normalised the way container engines do it.
//!
//! `docker.io/library/python:3.11`, `library/python:3.11` and `python:3.11` are one image. The form
//! kept here is the short one: no Docker Hub registry, no `library/`. A reference without tag and
//! digest means `latest`; one with a digest only has no tag at all, because the digest alone says
//! what it is. The grammar is the one of `distribution/reference` (github.com/distribution).

use std::fmt;

/// A container image reference in its short form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// Reads a reference as it stands in a manifest. Never fails: what is no proper reference simply
    /// matches no rule, and the manifest's own validation speaks about it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Self { name: short_name(name).to_owned(), tag, digest }
    }

    /// Registry (unless it is Docker Hub) and repository.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag; `None` where only a digest is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest with its algorithm, such as `sha256:0123…`.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Splits `name:tag`. A colon before the last slash belongs to the registry's port.
pub(crate) fn split_tag(text: &str) -> (&str, Option<&str>) {
    let after_slash = text.rfind('/').map_or(0, |at| at + 1);
    match text[after_slash..].find(':') {
        Some(at) => {
            let at = after_slash + at;
            (&text[..at], Some(&text[at + 1..]))
        }
        None => (text, None),
    }
}

/// Takes Docker Hub's registry and its `library/` off a name.
pub(crate) fn short_name(name: &str) -> &str {
    let on_hub = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|registry| name.strip_prefix(registry));
    let rest = on_hub.unwrap_or(name);
    match rest.strip_prefix("library/") {
        Some(official) if !official.contains('/') => official,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised_to_the_short_form() {
        for (written, short) in [
            ("python", "python:latest"),
            ("python:3.11", "python:3.11"),
            ("library/python:3.11", "python:3.11"),
            ("docker.io/library/python:3.11", "python:3.11"),
            ("index.docker.io/library/python:3.11", "python:3.11"),
            ("docker.io/pytorch/pytorch", "pytorch/pytorch:latest"),
            (" pytorch/pytorch:2.4.1 ", "pytorch/pytorch:2.4.1"),
            ("localhost:5000/team/app", "localhost:5000/team/app:latest"),
            ("localhost:5000/team/app:7", "localhost:5000/team/app:7"),
            ("ghcr.io/library/x/y:1", "ghcr.io/library/x/y:1"),
            ("python@sha256:ab", "python@sha256:ab"),
            ("python:3.12@sha256:ab", "python:3.12@sha256:ab"),
        ] {
            assert_eq!(ImageReference::parse(written).to_string(), short, "{written}");
        }
    }

    #[test]
    fn a_digest_alone_leaves_no_tag() {
        let image = ImageReference::parse("docker.io/library/python@sha256:ab");
        assert_eq!(
            (image.name(), image.tag(), image.digest()),
            ("python", None, Some("sha256:ab"))
        );
    }
}
