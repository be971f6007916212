//! What a coordinator needs to know.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use muster_trust::JoinToken;
use thiserror::Error;

/// The port of the gRPC door when none is given.
pub const GRPC_PORT: u16 = 7450;
/// The port of the HTTP door when none is given.
pub const HTTP_PORT: u16 = 7451;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// An address that others could reach, in the clear.
    #[error(
        "refusing to listen on {0} without TLS: everybody on the way could read what is said there; use a loopback \
         address such as 127.0.0.1:{port}, or --tls",
        port = .0.port()
    )]
    NotLoopback(SocketAddr),
    /// Others are told an address that means everybody's own machine.
    #[error(
        "{0} cannot be dialled by others; say with --advertise HOST:PORT where they reach this member"
    )]
    Advertise(SocketAddr),
    /// A lease that makes no sense.
    #[error(
        "a lease of {0:?} is too short: agents speak up four times in its length; use at least 1s"
    )]
    Lease(Duration),
}

/// What a coordinator needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Where the gRPC door listens. Port 0: any free one.
    pub grpc: SocketAddr,
    /// Where the HTTP door listens.
    pub http: SocketAddr,
    /// How long an agent may be silent before its node counts as unreachable.
    pub lease: Duration,
    /// HOST:PORT at which others reach the gRPC door, if that is not where it listens.
    pub advertise: Option<String>,
    /// The cluster that a new member is to join; none for the first member of a new cluster. A member that belongs to a
    /// cluster already stays there.
    pub join: Option<Join>,
    /// TLS also on loopback. Elsewhere there is nothing else.
    pub tls: bool,
}

/// How a new member joins a cluster.
#[derive(Debug, Clone)]
pub struct Join {
    /// HOST:PORT of any of its members.
    pub through: String,
    /// What lets it in.
    pub with: JoinWith,
}

/// What lets a new member into a cluster.
#[derive(Debug, Clone)]
pub enum JoinWith {
    /// The token of the others' data directories, in the clear, on loopback.
    OwnersToken(String),
    /// A join token of the role member, over TLS.
    Token(JoinToken),
}

impl Config {
    /// The usual configuration.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            grpc: ([127, 0, 0, 1], GRPC_PORT).into(),
            http: ([127, 0, 0, 1], HTTP_PORT).into(),
            lease: Duration::from_secs(10),
            advertise: None,
            join: None,
            tls: false,
        }
    }

    /// Whether the gRPC door speaks TLS: always where others can reach it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls || !self.grpc.ip().is_loopback()
    }

    /// Checks everything.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn validate(&self) -> Result<(), Error> {
        if !self.is_tls() && !self.http.ip().is_loopback() {
            return Err(Error::NotLoopback(self.http));
        }
        if self.grpc.ip().is_unspecified() && self.advertise.is_none() {
            return Err(Error::Advertise(self.grpc));
        }
        if self.lease < Duration::from_secs(1) {
            return Err(Error::Lease(self.lease));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_in_the_clear_where_others_could_hear_it() {
        let mut config = Config::new("/tmp/x".into());
        assert_eq!(config.validate(), Ok(()));
        config.http = "[::1]:0".parse().unwrap();
        assert_eq!(config.validate(), Ok(()));
        assert!(!config.is_tls());
        config.http = "10.0.0.1:7451".parse().unwrap();
        assert!(matches!(config.validate(), Err(Error::NotLoopback(_))));
        config.grpc = "10.0.0.1:7450".parse().unwrap();
        assert!(config.is_tls());
        assert_eq!(config.validate(), Ok(()));
        config.grpc = "0.0.0.0:7450".parse().unwrap();
        assert!(matches!(config.validate(), Err(Error::Advertise(_))));
        config.advertise = Some("gpu-1:7450".into());
        assert_eq!(config.validate(), Ok(()));
    }
}
