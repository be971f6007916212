//! The way to the coordinator: one of several members, and the one that leads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::error::Error;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Who is silent for so long is asked whether it lives, and given up after as long again.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Shows the token with every request.
#[derive(Debug, Clone)]
pub(crate) struct ShowToken(MetadataValue<Ascii>);

impl Interceptor for ShowToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection that shows the token.
pub(crate) type Connection = InterceptedService<Channel, ShowToken>;

/// Knows some members, and which of them to ask; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    token: ShowToken,
    /// The members that were named.
    servers: Arc<Vec<String>>,
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    address: String,
    channel: Channel,
    /// Which of the named members comes next when this one does not answer.
    next: usize,
}

impl Way {
    /// To the members at these addresses, separated by commas.
    ///
    /// # Errors
    /// When an address or the token cannot be used.
    pub(crate) fn new(addresses: &str, token: &str) -> Result<Self, Error> {
        let servers: Vec<String> = addresses
            .split(',')
            .map(|address| address.trim().trim_end_matches('/').to_owned())
            .filter(|address| !address.is_empty())
            .collect();
        let Some(first) = servers.first() else {
            return Err(Error::Address { address: addresses.to_owned() });
        };
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        let channels: Result<Vec<Channel>, Error> =
            servers.iter().map(|address| channel(address)).collect();
        let current =
            Current { address: first.clone(), channel: channels?.swap_remove(0), next: 1 };
        Ok(Self {
            token: ShowToken(value),
            servers: Arc::new(servers),
            current: Arc::new(Mutex::new(current)),
        })
    }

    /// The member to ask now, and a connection to it.
    pub(crate) fn current(&self) -> (String, Connection) {
        let current = self.lock();
        let connection = InterceptedService::new(current.channel.clone(), self.token.clone());
        (current.address.clone(), connection)
    }

    /// Where the coordinator is.
    pub(crate) fn address(&self) -> String {
        self.lock().address.clone()
    }

    /// A call to the member at `address` has failed: if another one leads, or this one does not answer, the next call
    /// goes elsewhere. Answers whether it goes to a leader that was named.
    pub(crate) fn failed(&self, address: &str, error: &Error) -> bool {
        let mut current = self.lock();
        if current.address != address {
            // Somebody else has moved on already.
            return false;
        }
        let hint = error.leader().map(|leader| format!("http://{leader}"));
        let named = hint.is_some();
        let next = match hint {
            Some(leader) => leader,
            None if error.is_elsewhere()
                && (self.servers.len() > 1 || !self.servers.contains(&current.address)) =>
            {
                let next = self.servers[current.next % self.servers.len()].clone();
                current.next += 1;
                next
            }
            None => return false,
        };
        let Ok(channel) = channel(&next) else { return false };
        current.address = next;
        current.channel = channel;
        named
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that connects when it is first used.
fn channel(address: &str) -> Result<Channel, Error> {
    // Without TLS an https address would be spoken to in the clear, and a path means another door.
    let authority = address.strip_prefix("http://").unwrap_or_default();
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(Error::Address { address: address.to_owned() });
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| Error::Address { address: address.to_owned() })?;
    Ok(endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ALIVE_WITHIN)
        .keep_alive_timeout(ALIVE_WITHIN)
        .connect_lazy())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn refused(leader: Option<&str>) -> Error {
        Error::Refused {
            code: Some("M2001".into()),
            kind: Code::Unavailable,
            message: "does not lead".into(),
            leader: leader.map(ToOwned::to_owned),
        }
    }

    #[tokio::test]
    async fn the_next_member_is_asked_when_one_does_not_answer_and_the_leader_when_it_is_named() {
        let way = Way::new("http://a:1, http://b:1", "t").unwrap();
        let gone = Error::Unreachable { address: "http://a:1".into(), why: "gone".into() };
        assert!(!way.failed("http://a:1", &gone));
        assert_eq!(way.address(), "http://b:1");
        assert!(!way.failed("http://a:1", &gone), "an old failure moves nobody");
        assert_eq!(way.address(), "http://b:1");
        assert!(way.failed("http://b:1", &refused(Some("c:1"))));
        assert_eq!(way.address(), "http://c:1");
        way.failed("http://c:1", &gone);
        assert_eq!(way.address(), "http://a:1", "a leader that is gone leads back to those named");
        way.failed("http://a:1", &refused(None));
        assert_eq!(way.address(), "http://b:1", "a member that knows no leader may be cut off");
    }

    #[tokio::test]
    async fn a_lone_member_stays_the_one_that_is_asked() {
        let way = Way::new("http://a:1/", "t").unwrap();
        let gone = Error::Unreachable { address: "http://a:1".into(), why: "gone".into() };
        way.failed("http://a:1", &gone);
        assert_eq!(way.address(), "http://a:1");
        for wrong in [" , ", "https://a:1", "a:1", "http://a:1/foo", "http://u@a:1", "http://"] {
            assert!(Way::new(wrong, "t").is_err(), "{wrong}");
        }
    }
}
