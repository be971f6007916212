//! What a coordinator needs to know.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// The port of the gRPC door when none is given.
pub const GRPC_PORT: u16 = 7450;
/// The port of the HTTP door when none is given.
pub const HTTP_PORT: u16 = 7451;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// An address that others could reach.
    #[error(
        "refusing to listen on {0}: without TLS everybody who can reach that address could run \
         commands here; use a loopback address such as 127.0.0.1:{port}",
        port = .0.port()
    )]
    NotLoopback(SocketAddr),
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
}

/// How a new member joins a cluster.
#[derive(Debug, Clone)]
pub struct Join {
    /// HOST:PORT of any of its members.
    pub through: String,
    /// The cluster's token.
    pub token: String,
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
        }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn validate(&self) -> Result<(), Error> {
        for address in [self.grpc, self.http] {
            if !address.ip().is_loopback() {
                return Err(Error::NotLoopback(address));
            }
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
    fn only_loopback_addresses_are_listened_on() {
        let mut config = Config::new("/tmp/x".into());
        assert_eq!(config.validate(), Ok(()));
        config.http = "[::1]:0".parse().unwrap();
        assert_eq!(config.validate(), Ok(()));
        config.grpc = "0.0.0.0:7450".parse().unwrap();
        assert!(matches!(config.validate(), Err(Error::NotLoopback(_))));
    }
}
