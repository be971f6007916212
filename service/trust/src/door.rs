//! A door: accepts connections and lets nobody hold up the others.
//!
//! A connection counts once the other side has done its handshake and said its first words in time; until then it
//! waits in a room of its own with a limited number of places. Whoever comes when all are taken is turned away at
//! once, and no address has more than some of them. Those who prove with a certificate that they belong to the cluster have places that strangers cannot take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream as Sequence;
use tracing::{debug, warn};

use crate::identity::Identity;
use crate::subject::Subject;
use crate::tls;
use crate::visitor::{Peer, Stream, Visitor};

/// How many connections a door lets in, and how long it waits for each.
#[derive(Debug, Clone, Copy)]
pub struct DoorLimits {
    /// Connections with a certificate of the cluster.
    pub proven: usize,
    /// Other connections.
    pub strangers: usize,
    /// Connections that have not said their first words.
    pub waiting: usize,
    /// How many of those may come from one address, loopback apart.
    pub waiting_per_address: usize,
    /// How long one of those may take.
    pub patience: Duration,
    /// How many bytes are first words: 24 are the preface of HTTP/2 (RFC 9113, section 3.4).
    pub first_words: usize,
    /// What is spoken, as in ALPN (RFC 7301).
    pub speaks: &'static [u8],
}

impl DoorLimits {
    /// For gRPC.
    #[must_use]
    pub fn grpc() -> Self {
        Self {
            proven: 16_384,
            strangers: 4_096,
            waiting: 1_024,
            waiting_per_address: 256,
            patience: Duration::from_secs(10),
            first_words: 24,
            speaks: tls::H2,
        }
    }

    /// For HTTP/1.1.
    #[must_use]
    pub fn http() -> Self {
        Self {
            // Each watch is a connection of its own.
            proven: 4_096,
            strangers: 4_096,
            first_words: 1,
            speaks: tls::HTTP1,
            ..Self::grpc()
        }
    }
}

/// What came of the connections so far.
#[derive(Debug, Default)]
pub struct Counts {
    accepted: AtomicU64,
    turned_away: AtomicU64,
    silent: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Connections that were let in.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections for which there was no room.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Connections that did not speak in time.
    pub fn silent(&self) -> u64 {
        self.silent.load(Ordering::Relaxed)
    }

    /// Connections whose handshake failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A door that is to be opened.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    identity: Option<Identity>,
    plain_too: bool,
    limits: DoorLimits,
}

/// Connections as they come in.
#[derive(Debug)]
pub struct Incoming {
    visitors: mpsc::Receiver<Visitor>,
    counts: Arc<Counts>,
}

/// What handshakes need.
struct Hall {
    acceptor: Option<(TlsAcceptor, String)>,
    plain_too: bool,
    limits: DoorLimits,
    proven: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    counts: Arc<Counts>,
    visitors: mpsc::Sender<Visitor>,
}

/// The first byte of a connection with TLS (RFC 8446, section 5.1): a record with a handshake message.
const TLS_HANDSHAKE: u8 = 22;

/// The first and the longest pause after accepting has failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl Door {
    /// A door in the clear, for loopback.
    #[must_use]
    pub fn plain(listener: TcpListener, limits: DoorLimits) -> Self {
        Self { listener, identity: None, plain_too: true, limits }
    }

    /// A door with TLS, at which a member answers.
    #[must_use]
    pub fn tls(listener: TcpListener, identity: &Identity, limits: DoorLimits) -> Self {
        Self { listener, identity: Some(identity.clone()), plain_too: false, limits }
    }

    /// A door, for loopback, at which a member answers with TLS whoever begins with it, and others in the clear. What is
    /// served has to look at [`Peer::is_tls`].
    #[must_use]
    pub fn either(listener: TcpListener, identity: &Identity, limits: DoorLimits) -> Self {
        Self { listener, identity: Some(identity.clone()), plain_too: true, limits }
    }

    /// Opens it. Connections come in as long as the second part is driven.
    pub fn open(self) -> (Incoming, impl Future<Output = Infallible> + Send + use<>) {
        let (send, visitors) = mpsc::channel(64);
        let counts = Arc::new(Counts::default());
        let acceptor = self.identity.as_ref().map(|identity| {
            (
                TlsAcceptor::from(tls::server(identity, self.limits.speaks)),
                identity.cluster().to_owned(),
            )
        });
        let hall = Arc::new(Hall {
            acceptor,
            plain_too: self.plain_too,
            limits: self.limits,
            proven: Arc::new(Semaphore::new(self.limits.proven)),
            strangers: Arc::new(Semaphore::new(self.limits.strangers)),
            counts: Arc::clone(&counts),
            visitors: send,
        });
        (Incoming { visitors, counts }, accept(self.listener, hall))
    }
}

impl Incoming {
    /// What came of the connections so far.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// The next connection; `None` once the door is closed.
    pub async fn next(&mut self) -> Option<Visitor> {
        self.visitors.recv().await
    }
}

impl Sequence for Incoming {
    type Item = io::Result<Visitor>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().visitors.poll_recv(context).map(|visitor| visitor.map(Ok))
    }
}

/// How many connections of each address wait.
#[derive(Debug, Clone, Default)]
struct Queue(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A place in the queue; dropping it makes room.
struct Place {
    queue: Queue,
    address: IpAddr,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more of this address, unless it has too many. On loopback everybody has the same.
    fn place(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut waiting = self.lock();
        let count = waiting.entry(address).or_default();
        if *count >= most && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { queue: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if let Some(count) = waiting.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.address);
            }
        }
    }
}

async fn accept(listener: TcpListener, hall: Arc<Hall>) -> Infallible {
    let mut waiting = JoinSet::new();
    let queue = Queue::default();
    let mut pause = PAUSES.0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = waiting.join_next() => continue,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Without a pause a lack of open files would be a hot loop.
                if pause == PAUSES.0 {
                    warn!(%error, "no connection can be accepted; trying on");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
                continue;
            }
        };
        pause = PAUSES.0;
        let place = queue.place(address.ip(), hall.limits.waiting_per_address);
        let Some(place) = place.filter(|_| waiting.len() < hall.limits.waiting) else {
            count(&hall.counts.turned_away);
            continue;
        };
        let hall = Arc::clone(&hall);
        waiting.spawn(async move {
            let _place = place;
            let patience = hall.limits.patience;
            let Ok(visitor) = tokio::time::timeout(patience, hall.admit(stream, address)).await
            else {
                count(&hall.counts.silent);
                debug!(%address, "a connection was closed: it said nothing in time");
                return;
            };
            let Some(visitor) = visitor else { return };
            count(&hall.counts.accepted);
            // Fails once nobody serves any more.
            let _ = hall.visitors.send(visitor).await;
        });
    }
}

impl Hall {
    async fn admit(&self, stream: TcpStream, address: SocketAddr) -> Option<Visitor> {
        stream.set_nodelay(true).ok()?;
        let mut acceptor = self.acceptor.as_ref();
        if self.plain_too && acceptor.is_some() {
            let mut first = [0];
            stream.peek(&mut first).await.ok()?;
            acceptor = acceptor.filter(|_| first[0] == TLS_HANDSHAKE);
        }
        let (mut stream, subject) = match acceptor {
            None => (Stream::Plain(stream), None),
            Some((acceptor, cluster)) => {
                let stream = match acceptor.accept(stream).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        count(&self.counts.failed);
                        debug!(%address, %error, "a handshake failed");
                        return None;
                    }
                };
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let subject = match shown.map(|shown| Subject::dated(shown, cluster)) {
                    None => None,
                    Some(Ok(subject)) => Some(subject),
                    Some(Err(error)) => {
                        count(&self.counts.failed);
                        debug!(%address, %error, "a certificate was refused");
                        return None;
                    }
                };
                (Stream::Tls(Box::new(stream)), subject)
            }
        };
        let room = self.room(subject.is_some())?;
        let mut first = vec![0; self.limits.first_words];
        stream.read_exact(&mut first).await.ok()?;
        let (subject, since) = subject.map_or((None, 0), |(subject, since)| (Some(subject), since));
        let peer = Peer { address, subject, since, is_tls: acceptor.is_some() };
        Some(Visitor { stream, first, given: 0, peer, _room: room })
    }

    fn room(&self, is_proven: bool) -> Option<OwnedSemaphorePermit> {
        // In the clear nobody proves anything, and all share the larger hall.
        let hall =
            if is_proven || self.acceptor.is_none() { &self.proven } else { &self.strangers };
        let room = Arc::clone(hall).try_acquire_owned().ok();
        if room.is_none() {
            count(&self.counts.turned_away);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_places_of_all() {
        let queue = Queue::default();
        let [attacker, other, local]: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|text| text.parse().unwrap());
        let taken: Vec<_> = (0..5).filter_map(|_| queue.place(attacker, 3)).collect();
        assert_eq!(taken.len(), 3);
        assert!(queue.place(other, 3).is_some());
        assert_eq!((0..5).filter_map(|_| queue.place(local, 3)).count(), 5);
        drop(taken);
        assert!(queue.place(attacker, 3).is_some());
        assert!(queue.lock().is_empty());
    }
}
