//! Globs over image references, with version numbers that can be picked out of a tag.
//!
//! ```text
//! *            any characters but '/'                 ?      one character but '/'
//! **           any characters                         **/    nothing, or any leading components
//! {a,b}        a or b                                 {version}      a version number, kept
//! {version<2.3}  {version>=2}                         a version number with a bound, kept
//! ```
//! A pattern without a tag part fits every tag and digest of the name. The name part is normalised
//! as references are, so `docker.io/library/python` and `python` are one pattern. A version number
//! is digits with dots between them; `{python}` and `{version}` differ only in their name.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

use crate::image::{ImageReference, short_name, split_tag};
use crate::version::Version;

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// Nothing between the quotes.
    #[error("the pattern is empty; write an image name such as \"pytorch/pytorch:*\"")]
    Empty,
    /// Rules go by name and tag.
    #[error("a pattern cannot hold a digest; write the name, it fits every digest")]
    Digest,
    /// A brace without its partner.
    #[error("the brace at character {at} is never closed")]
    Unclosed {
        /// Counted from 1.
        at: usize,
    },
    /// Braces with something else than alternatives or a version.
    #[error(
        "{{{text}}} is neither a list of alternatives ({{a,b}}) nor a version ({{version}}, {{version<2.3}}, {{version>=2}})"
    )]
    Braces {
        /// What stands between the braces.
        text: String,
    },
    /// The same capture twice.
    #[error("{{{name}}} stands twice in one pattern; give the second one another name")]
    Twice {
        /// The name of the capture.
        name: String,
    },
    /// The alternatives multiply to more than 64 patterns.
    #[error("the alternatives make more than 64 patterns; write several patterns instead")]
    TooMany,
    /// White space cannot be part of an image reference.
    #[error("an image name holds no white space")]
    Space,
}

/// The version numbers that a pattern picked out of an image reference, by name.
pub type Captures = BTreeMap<String, Version>;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    text: String,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    name: Vec<Token>,
    /// `None`: every tag.
    tag: Option<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// One character but '/'.
    One,
    /// Any run of characters but '/'.
    Run,
    /// Any run of characters.
    Deep,
    Version {
        name: String,
        bound: Option<Bound>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    Below(Version),
    From(Version),
}

impl ImagePattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(Error::Empty);
        }
        if trimmed.contains(char::is_whitespace) {
            return Err(Error::Space);
        }
        if trimmed.contains('@') {
            return Err(Error::Digest);
        }
        let mut alternatives = Vec::new();
        for spelled in expand(trimmed)? {
            let (name, tag) = split_tag(&spelled);
            let name = short_name(name);
            let tag = tag.map(tokens).transpose()?;
            let mut names = vec![tokens(name)?];
            if let Some(rest) = name.strip_prefix("**/") {
                names.push(tokens(rest)?);
            }
            for name in names {
                check_captures(&name, tag.as_deref())?;
                alternatives.push(Alternative { name, tag: tag.clone() });
            }
        }
        Ok(Self { text: trimmed.to_owned(), alternatives })
    }

    /// The versions picked out if the image fits, `None` if it does not.
    #[must_use]
    pub fn matches(&self, image: &ImageReference) -> Option<Captures> {
        self.alternatives.iter().find_map(|alternative| {
            let name: Vec<char> = image.name().chars().collect();
            let mut captures = Captures::new();
            if !fits(&alternative.name, &name, &mut captures) {
                return None;
            }
            if let Some(tokens) = &alternative.tag {
                // Only a digest: no tag, which `*` fits and a spelled-out tag does not.
                let tag: Vec<char> = image.tag().unwrap_or("").chars().collect();
                if !fits(tokens, &tag, &mut captures) {
                    return None;
                }
            }
            Some(captures)
        })
    }

    /// The names of the versions that every match has.
    #[must_use]
    pub fn captured(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .alternatives
            .iter()
            .flat_map(|a| a.name.iter().chain(a.tag.iter().flatten()))
            .filter_map(|token| match token {
                Token::Version { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes out `{a,b}`; leaves `{version}` alone.
fn expand(text: &str) -> Result<Vec<String>, Error> {
    let mut done = vec![String::new()];
    let mut chars = text.chars().enumerate();
    while let Some((at, c)) = chars.next() {
        if c != '{' {
            done.iter_mut().for_each(|s| s.push(c));
            continue;
        }
        let mut inner = String::new();
        loop {
            match chars.next() {
                Some((_, '}')) => break,
                Some((_, c)) => inner.push(c),
                None => return Err(Error::Unclosed { at: at + 1 }),
            }
        }
        if inner.contains(',') {
            if inner.contains('{') {
                return Err(Error::Braces { text: inner });
            }
            done = done
                .iter()
                .flat_map(|head| inner.split(',').map(move |choice| format!("{head}{choice}")))
                .collect();
        } else {
            done.iter_mut().for_each(|s| s.push_str(&format!("{{{inner}}}")));
        }
        if done.len() > 64 {
            return Err(Error::TooMany);
        }
    }
    Ok(done)
}

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '?' => Token::One,
            '*' if chars.next_if_eq(&'*').is_some() => Token::Deep,
            '*' => Token::Run,
            '{' => version_token(&mut chars)?,
            c => Token::Literal(c),
        });
    }
    Ok(tokens)
}

fn version_token(chars: &mut Peekable<Chars<'_>>) -> Result<Token, Error> {
    let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
    let split = inner.find(['<', '>']).unwrap_or(inner.len());
    let (name, bound) = inner.split_at(split);
    let wrong = || Error::Braces { text: inner.clone() };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase()) {
        return Err(wrong());
    }
    let bound = if bound.is_empty() {
        None
    } else if let Some(version) = bound.strip_prefix(">=") {
        Some(Bound::From(Version::parse(version).ok_or_else(wrong)?))
    } else if let Some(version) = bound.strip_prefix('<') {
        Some(Bound::Below(Version::parse(version).ok_or_else(wrong)?))
    } else {
        return Err(wrong());
    };
    Ok(Token::Version { name: name.to_owned(), bound })
}

fn check_captures(name: &[Token], tag: Option<&[Token]>) -> Result<(), Error> {
    let mut seen = Vec::new();
    for token in name.iter().chain(tag.into_iter().flatten()) {
        if let Token::Version { name, .. } = token {
            if seen.contains(&name) {
                return Err(Error::Twice { name: name.clone() });
            }
            seen.push(name);
        }
    }
    Ok(())
}

/// Backtracking match of the whole text. A version takes the whole number: 2 is no version in 2.12.
fn fits(tokens: &[Token], text: &[char], captures: &mut Captures) -> bool {
    let Some((first, rest)) = tokens.split_first() else {
        return text.is_empty();
    };
    match first {
        Token::Literal(c) => text.first() == Some(c) && fits(rest, &text[1..], captures),
        Token::One => text.first().is_some_and(|c| *c != '/') && fits(rest, &text[1..], captures),
        Token::Run | Token::Deep => {
            let reach = match first {
                Token::Run => text.iter().take_while(|c| **c != '/').count(),
                _ => text.len(),
            };
            (0..=reach).any(|taken| fits(rest, &text[taken..], captures))
        }
        Token::Version { name, bound } => {
            let mut written: String =
                text.iter().take_while(|c| c.is_ascii_digit() || **c == '.').collect();
            written.truncate(written.trim_end_matches('.').len());
            let Some(version) = Version::parse(&written) else {
                return false;
            };
            let within = match bound {
                None => true,
                Some(Bound::Below(limit)) => version < *limit,
                Some(Bound::From(limit)) => version >= *limit,
            };
            // ASCII only: bytes are characters.
            if !within || !fits(rest, &text[written.len()..], captures) {
                return false;
            }
            captures.insert(name.clone(), version);
            true
        }
    }
}

#[cfg(test)]
mod tests;
