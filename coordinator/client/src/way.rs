//! The way to the coordinator: one of several members, and the one that leads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_trust::Pass;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::error::Error;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Who is silent for so long is asked whether it lives, and given up after as long again.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// A connection that shows the token.
pub(crate) type Connection = InterceptedService<Channel, Pass>;

/// Knows some members, and which of them to ask; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pass: Pass,
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
    pub(crate) fn new(addresses: &str, pass: Pass) -> Result<Self, Error> {
        let servers: Vec<String> = addresses
            .split(',')
            .map(|address| address.trim().trim_end_matches('/').to_owned())
            .filter(|address| !address.is_empty())
            .collect();
        let Some(first) = servers.first() else {
            return Err(Error::Address { address: addresses.to_owned() });
        };
        let channels: Result<Vec<Channel>, Error> =
            servers.iter().map(|address| channel(address, &pass)).collect();
        let current =
            Current { address: first.clone(), channel: channels?.swap_remove(0), next: 1 };
        Ok(Self { pass, servers: Arc::new(servers), current: Arc::new(Mutex::new(current)) })
    }

    /// The member to ask now, and a connection to it.
    pub(crate) fn current(&self) -> (String, Connection) {
        let current = self.lock();
        let connection = InterceptedService::new(current.channel.clone(), self.pass.clone());
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
        let hint = error.leader().map(|leader| format!("{}://{leader}", self.pass.scheme()));
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
        let Ok(channel) = channel(&next, &self.pass) else { return false };
        current.address = next;
        current.channel = channel;
        named
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that connects when it is first used.
fn channel(address: &str, pass: &Pass) -> Result<Channel, Error> {
    // An https address that is spoken to in the clear would tell the token to everybody on the way.
    let wrong = || Error::Address { address: address.to_owned() };
    let (scheme, authority) = address.split_once("://").ok_or_else(wrong)?;
    if scheme != pass.scheme() {
        return Err(match scheme {
            "https" => Error::NoAuthority { address: address.to_owned() },
            "http" => Error::Tls { address: address.to_owned() },
            _ => wrong(),
        });
    }
    let dialler = pass.dialler();
    let endpoint = dialler
        .endpoint(authority)
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(ALIVE_WITHIN)
        .keep_alive_timeout(ALIVE_WITHIN);
    Ok(dialler.channel(&endpoint))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn pass() -> Pass {
        Pass::plain("t").unwrap()
    }

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
        let way = Way::new("http://a:1, http://b:1", pass()).unwrap();
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
        let way = Way::new("http://a:1/", pass()).unwrap();
        let gone = Error::Unreachable { address: "http://a:1".into(), why: "gone".into() };
        way.failed("http://a:1", &gone);
        assert_eq!(way.address(), "http://a:1");
        for wrong in [" , ", "https://a:1", "a:1", "http://a:1/foo", "http://u@a:1", "http://"] {
            assert!(Way::new(wrong, pass()).is_err(), "{wrong}");
        }
    }
}
