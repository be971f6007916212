//! What a person hands over: tokens to join with, and tokens of users.
//!
//! `mst1.<id>.<secret>.<fingerprint>` lets a machine ask for a certificate; `msu1.<name>.<secret>.<fingerprint>` is a user.
//! Both pin the authority by its fingerprint, as the tokens of k3s and kubeadm do, so that whoever dials with one
//! cannot be led to another cluster. The coordinator keeps only a hash. Secrets have 160 random bits, so that a plain
//! hash cannot be searched for.

use std::fmt;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::certificate::Fingerprint;

/// Letters of a secret: lower case and digits without those that look alike. 32 of them are five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters in a secret.
const SECRET: usize = 32;
/// Letters in the id of a join token.
const ID: usize = 8;

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// It begins with something else.
    #[error("this is no {0}: those begin with {1}.")]
    Sort(&'static str, &'static str),
    /// Something is missing or too much.
    #[error(
        "the token is cut short or has something appended: it has four parts with dots between them; copy it whole"
    )]
    Parts,
    /// A part that cannot be.
    #[error("the token's {0} is damaged; copy it again, whole")]
    Part(&'static str),
}

/// The secret of a token. Nothing prints it but [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// What the coordinator keeps of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// The randomness of the machine failed.
fn letters(count: usize) -> String {
    let mut bytes = Zeroizing::new(vec![0; count]);
    SystemRandom::new().fill(&mut bytes).expect("the kernel yields randomness");
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

impl Secret {
    fn new() -> Self {
        Self(Zeroizing::new(letters(SECRET)))
    }

    fn parse(text: &str) -> Option<Self> {
        let is_sound = text.len() == SECRET && text.bytes().all(|one| LETTERS.contains(&one));
        is_sound.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it, bound to what it is for.
    fn hash(&self, sort: &str, id: &str) -> TokenHash {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [sort, id, self.expose()] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        TokenHash(hash.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A token that lets a machine join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Which one.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The cluster's authority.
    pub ca: Fingerprint,
}

/// A token that is a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToken {
    /// Whose.
    pub name: String,
    /// Its secret.
    pub secret: Secret,
    /// The cluster's authority.
    pub ca: Fingerprint,
}

const JOIN: (&str, &str) = ("join token", "mst1");
const USER: (&str, &str) = ("user token", "msu1");

/// The name, the secret and the fingerprint in a token's text.
fn parts<'a>(
    text: &'a str,
    (what, prefix): (&'static str, &'static str),
) -> Result<(&'a str, Secret, Fingerprint), Error> {
    let parts: Vec<&str> = text.trim().split('.').collect();
    if parts.first() != Some(&prefix) {
        return Err(Error::Sort(what, prefix));
    }
    let [_, id, secret, ca] = parts[..] else { return Err(Error::Parts) };
    let secret = Secret::parse(secret).ok_or(Error::Part("secret"))?;
    let ca = Fingerprint::parse(ca).ok_or(Error::Part("fingerprint"))?;
    Ok((id, secret, ca))
}

impl JoinToken {
    /// A new one.
    #[must_use]
    pub fn new(ca: Fingerprint) -> Self {
        Self { id: letters(ID), secret: Secret::new(), ca }
    }

    /// Whether a text looks like one.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with("mst1.")
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (id, secret, ca) = parts(text, JOIN)?;
        if id.len() != ID || !id.bytes().all(|one| LETTERS.contains(&one)) {
            return Err(Error::Part("id"));
        }
        Ok(Self { id: id.into(), secret, ca })
    }

    /// What the coordinator keeps.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        Self::hash_of(&self.id, &self.secret)
    }

    /// What the coordinator keeps of a token with this id and secret.
    #[must_use]
    pub fn hash_of(id: &str, secret: &Secret) -> TokenHash {
        secret.hash(JOIN.1, id)
    }

    /// The token as it is handed over.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("mst1.{}.{}.{}", self.id, self.secret.expose(), self.ca)
    }

    /// What is shown to the coordinator: all but the fingerprint.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("mst1.{}.{}", self.id, self.secret.expose())
    }

    /// Reads what is shown.
    #[must_use]
    pub fn of_shown(text: &str) -> Option<(String, TokenHash)> {
        let (id, secret) = text.strip_prefix("mst1.")?.split_once('.')?;
        let secret = Secret::parse(secret)?;
        Some((id.to_owned(), Self::hash_of(id, &secret)))
    }
}

impl UserToken {
    /// A new one. The name has no dots.
    #[must_use]
    pub fn new(name: &str, ca: Fingerprint) -> Self {
        Self { name: name.into(), secret: Secret::new(), ca }
    }

    /// Whether a text looks like one.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with("msu1.")
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, secret, ca) = parts(text, USER)?;
        if name.is_empty() {
            return Err(Error::Part("name"));
        }
        Ok(Self { name: name.into(), secret, ca })
    }

    /// What the coordinator keeps.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        self.secret.hash(USER.1, &self.name)
    }

    /// The token as it is handed over.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("msu1.{}.{}.{}", self.name, self.secret.expose(), self.ca)
    }

    /// What is shown to the coordinator: all but the fingerprint.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("msu1.{}.{}", self.name, self.secret.expose())
    }

    /// Reads what is shown: the name, and what the coordinator keeps of such a token.
    #[must_use]
    pub fn of_shown(text: &str) -> Option<(String, TokenHash)> {
        let (name, secret) = text.strip_prefix("msu1.")?.split_once('.')?;
        let secret = Secret::parse(secret)?;
        Some((name.to_owned(), secret.hash(USER.1, name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_its_secret_is_never_printed() {
        let ca = Fingerprint::of(b"x");
        let (join, user) = (JoinToken::new(ca), UserToken::new("ada", ca));
        assert_eq!(JoinToken::parse(&format!(" {}\n", join.expose())), Ok(join.clone()));
        assert_eq!(UserToken::parse(&user.expose()), Ok(user.clone()));
        assert_eq!(JoinToken::of_shown(&join.shown()), Some((join.id.clone(), join.hash())));
        assert_eq!(UserToken::of_shown(&user.shown()), Some(("ada".into(), user.hash())));
        for (printed, secret) in
            [(format!("{join:?}"), &join.secret), (format!("{user:?}"), &user.secret)]
        {
            assert!(!printed.contains(secret.expose()), "{printed}");
        }
        assert_ne!(join.secret, JoinToken::new(ca).secret);
    }

    #[test]
    fn a_secret_counts_only_for_its_own_purpose() {
        let secret = Secret::new();
        let hashes = [secret.hash("a", "bc"), secret.hash("ab", "c"), secret.hash("abc", "")];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }

    #[test]
    fn damaged_tokens_say_what_is_wrong() {
        let token = JoinToken::new(Fingerprint::of(b"x")).expose();
        let parse = |text: &str| JoinToken::parse(text).unwrap_err();
        assert!(matches!(parse("hello"), Error::Sort(..)));
        assert!(matches!(parse(&token.replace("mst1", "msu1")), Error::Sort(..)));
        assert!(matches!(parse(&token.replace("mst1", "mst2")), Error::Sort(..)));
        assert_eq!(parse(&token[..token.len() - 1]), Error::Part("fingerprint"));
        assert_eq!(parse(&token[..token.len() - 70]), Error::Parts);
        assert_eq!(parse(&format!("{token}.x")), Error::Parts);
        let mut secret = token.clone().into_bytes();
        secret[20] = b'O';
        assert_eq!(parse(&String::from_utf8(secret).unwrap()), Error::Part("secret"));
        assert_eq!(parse(&token.replacen("mst1.", "mst1.x", 1)), Error::Part("id"));
    }
}
