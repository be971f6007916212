//! Whom a certificate names.
//!
//! A certificate carries exactly one URI as subject alternative name (RFC 5280, section 4.2.1.6), in the manner of SPIFFE:
//! `muster://<cluster>/member/<id>`, `muster://<cluster>/agent/<node>/<agent>` or `muster://<cluster>/user/<name>`.
//! No part needs escapes: whatever has other characters is refused.

use std::fmt;

use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::BEFORE;

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A member of the coordinator.
    Member {
        /// Its id.
        id: u64,
    },
    /// An agent.
    Agent {
        /// Its node's name.
        node: String,
        /// The agent's own id, which it keeps for the life of its data directory.
        agent: String,
    },
    /// A person or a program.
    User {
        /// The name.
        name: String,
    },
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// None of ours.
    #[error("the certificate has {0} URIs instead of the one that says whose it is")]
    Uris(usize),
    /// Not as ours are.
    #[error("the certificate is for {0:?}, which is no member, agent or user of a Muster cluster")]
    Uri(String),
    /// Of somebody else.
    #[error("the certificate is of cluster {theirs}, and this is cluster {ours}")]
    Cluster {
        /// The certificate's cluster.
        theirs: String,
        /// This one.
        ours: String,
    },
}

/// The longest part of a name: that of a DNS name.
const LONGEST: usize = 253;

fn is_part(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.len() <= LONGEST && text.chars().all(allowed)
}

impl Subject {
    /// The URI of this subject in a cluster.
    #[must_use]
    pub fn uri(&self, cluster: &str) -> String {
        format!("muster://{cluster}/{self}")
    }

    /// Whether every part can stand in a certificate.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Member { id } => *id != 0,
            Self::Agent { node, agent } => is_part(node) && is_part(agent),
            Self::User { name } => is_part(name),
        }
    }

    /// Reads the URI of a subject of `cluster`.
    ///
    /// # Errors
    /// When it is another cluster's, or nobody's.
    pub fn parse(uri: &str, cluster: &str) -> Result<Self, Error> {
        let wrong = || Error::Uri(uri.chars().take(LONGEST).collect());
        let rest = uri.strip_prefix("muster://").ok_or_else(wrong)?;
        let (theirs, path) = rest.split_once('/').ok_or_else(wrong)?;
        let parts: Vec<&str> = path.split('/').collect();
        if !is_part(theirs) || !parts.iter().all(|part| is_part(part)) {
            return Err(wrong());
        }
        let subject = match parts[..] {
            ["member", id] => {
                let number: u64 = id.parse().map_err(|_| wrong())?;
                // One subject has one text: no +7 and no 007.
                if number.to_string() != id || number == 0 {
                    return Err(wrong());
                }
                Self::Member { id: number }
            }
            ["agent", node, agent] => Self::Agent { node: node.into(), agent: agent.into() },
            ["user", name] => Self::User { name: name.into() },
            _ => return Err(wrong()),
        };
        if theirs != cluster {
            return Err(Error::Cluster { theirs: theirs.into(), ours: cluster.into() });
        }
        Ok(subject)
    }

    /// The cluster that a certificate is of, in DER. Says nothing of whether it is genuine.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn cluster_of(der: &[u8]) -> Result<String, Error> {
        let (uri, _) = uri_of(der)?;
        let rest = uri.strip_prefix("muster://").and_then(|rest| rest.split_once('/'));
        let (cluster, _) = rest.ok_or_else(|| Error::Uri(uri.clone()))?;
        Ok(cluster.to_owned())
    }

    /// Whom a certificate names, in DER. Says nothing of whether it is genuine.
    ///
    /// # Errors
    /// When it names nobody in `cluster`.
    pub fn of_certificate(der: &[u8], cluster: &str) -> Result<Self, Error> {
        Self::dated(der, cluster).map(|(subject, _)| subject)
    }

    /// As [`Subject::of_certificate`], and when the certificate was made, in seconds of Unix time.
    pub(crate) fn dated(der: &[u8], cluster: &str) -> Result<(Self, i64), Error> {
        let (uri, made) = uri_of(der)?;
        Ok((Self::parse(&uri, cluster)?, made))
    }
}

/// The one URI of a certificate, and when it was made, in seconds of Unix time.
fn uri_of(der: &[u8]) -> Result<(String, i64), Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Error::Unreadable)?;
    let names = certificate.subject_alternative_name().map_err(|_| Error::Unreadable)?;
    let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else { return Err(Error::Uris(uris.len())) };
    let counts_from = certificate.validity().not_before.timestamp();
    let made = counts_from + i64::try_from(BEFORE.as_secs()).unwrap_or(0);
    Ok((uri.to_owned(), made))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member { id } => write!(f, "member/{id}"),
            Self::Agent { node, agent } => write!(f, "agent/{node}/{agent}"),
            Self::User { name } => write!(f, "user/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_text() {
        let subjects = [
            Subject::Member { id: 7 },
            Subject::Agent { node: "gpu-1.lab".into(), agent: "a1-b2".into() },
            Subject::User { name: "ada".into() },
        ];
        for subject in subjects {
            assert!(subject.is_sound());
            assert_eq!(Subject::parse(&subject.uri("c-1"), "c-1"), Ok(subject));
        }
    }

    #[test]
    fn whatever_is_not_exactly_a_subject_is_refused() {
        let wrong = [
            "",
            "muster://",
            "muster://c",
            "muster://c/",
            "https://c/member/7",
            "muster://c/member/",
            "muster://c/member/0",
            "muster://c/member/007",
            "muster://c/member/+7",
            "muster://c/member/7/8",
            "muster://c/agent/n",
            "muster://c/agent//a",
            "muster://c/agent/n/a/b",
            "muster://c/agent/n%2Fx/a",
            "muster://c/user/a b",
            "muster://c/root/x",
            "muster:///member/7",
            "MUSTER://c/member/7",
        ];
        for uri in wrong {
            assert!(matches!(Subject::parse(uri, "c"), Err(Error::Uri(_))), "{uri}");
        }
        let other = Subject::parse("muster://d/member/7", "c");
        assert_eq!(other, Err(Error::Cluster { theirs: "d".into(), ours: "c".into() }));
    }

    #[test]
    fn noise_is_no_certificate() {
        let mut noise = 1u64;
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            assert!(Subject::of_certificate(&bytes, "c").is_err());
        }
    }
}
