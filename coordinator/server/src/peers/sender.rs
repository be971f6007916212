//! A task for each peer, which holds one stream to it and makes it anew when it breaks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use muster_consensus::SnapshotOutcome;
use muster_proto::v1 as wire;
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use muster_store::Snapshots;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::dial::{Dial, PeerClient};
use super::outbox::{Letter, Outbox};
use super::snapshot;
use crate::brain::{AddressBook, Brain, BrainError, PeerInbox};

/// The pause between attempts to reach a peer.
const PAUSE: Duration = Duration::from_millis(100);
/// How many messages go out together,
const TOGETHER: usize = 64;
/// as long as they have about so many bytes.
const TOGETHER_BYTES: usize = 1 << 20;
/// How many of those may wait for the network.
const ON_THE_WAY: usize = 4;

const PEER: TaskKind = TaskKind { name: "peer", on_stop: OnStop::Abort, on_end: OnEnd::Log };
const SNAPSHOT: TaskKind =
    TaskKind { name: "snapshot-upload", on_stop: OnStop::Abort, on_end: OnEnd::Log };

/// What the peers' tasks work with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) member: u64,
    pub(crate) dial: Dial,
    pub(crate) inbox: PeerInbox,
    pub(crate) outbox: Outbox,
    pub(crate) snapshots: Snapshots,
    pub(crate) tasks: Tasks,
}

/// Keeps one task for each peer of the address book, until the brain stops.
pub(crate) async fn run(context: Context, brain: Brain) -> Result<Infallible, BrainError> {
    let mut book = brain.book();
    let mut running: BTreeMap<u64, (String, CancellationToken)> = BTreeMap::new();
    loop {
        let wanted: AddressBook = book.borrow_and_update().clone();
        running.retain(|peer, (address, stop)| {
            let stays = wanted.get(peer) == Some(address);
            if !stays {
                context.outbox.close(*peer);
                stop.cancel();
            }
            stays
        });
        for (peer, address) in wanted {
            if peer == context.member || running.contains_key(&peer) {
                continue;
            }
            let stop = CancellationToken::new();
            let letters = context.outbox.open(peer);
            running.insert(peer, (address.clone(), stop.clone()));
            let sender = Sender { context: context.clone(), peer, address };
            context.tasks.spawn(PEER, async move {
                tokio::select! {
                    () = sender.run(letters) => {}
                    () = stop.cancelled() => {}
                }
                Ok::<(), Infallible>(())
            });
        }
        book.changed().await.map_err(|_| BrainError::Stopping)?;
    }
}

struct Sender {
    context: Context,
    peer: u64,
    address: String,
}

impl Sender {
    async fn run(self, mut letters: mpsc::Receiver<Letter>) {
        let Ok(client) = self.context.dial.client(&self.address) else {
            warn!(member = self.peer, address = %self.address, "a member's address cannot be used");
            return;
        };
        let mut told = false;
        loop {
            let why = match self.stream(&client, &mut letters).await {
                Ended::Closed => return,
                Ended::Broken(why) => why,
            };
            if !std::mem::replace(&mut told, true) {
                info!(member = self.peer, address = %self.address, %why, "a member cannot be reached; trying on");
            } else {
                debug!(member = self.peer, %why, "a member cannot be reached");
            }
            self.context.inbox.unreachable(self.peer);
            tokio::time::sleep(PAUSE).await;
            // What waited for the broken stream is old by now; consensus sends what is missing.
            while let Ok(letter) = letters.try_recv() {
                if matches!(letter, Letter::WithSnapshot(..)) {
                    self.context.inbox.snapshot_sent(self.peer, SnapshotOutcome::Failed).await;
                }
            }
        }
    }

    /// Sends over one stream until it breaks.
    async fn stream(&self, client: &PeerClient, letters: &mut mpsc::Receiver<Letter>) -> Ended {
        let (outbound, stream) = mpsc::channel(ON_THE_WAY);
        let hello = wire::PeerMessages {
            cluster: self.context.cluster.clone(),
            from: self.context.member,
            messages: Vec::new(),
        };
        if outbound.try_send(hello).is_err() {
            return Ended::Closed;
        }
        let mut client_of_stream = client.clone();
        let mut call = std::pin::pin!(client_of_stream.deliver(ReceiverStream::new(stream)));
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            let taken = tokio::select! {
                ended = &mut call => {
                    return Ended::Broken(ended.err().map_or_else(
                        || "the stream was closed".to_owned(),
                        |status| status.message().to_owned(),
                    ));
                }
                taken = letters.recv_many(&mut batch, TOGETHER) => taken,
            };
            if taken == 0 {
                return Ended::Closed;
            }
            for messages in self.pack(client, &mut batch) {
                let message = wire::PeerMessages { messages, ..wire::PeerMessages::default() };
                tokio::select! {
                    ended = &mut call => {
                        let why = ended.err().map_or_else(String::new, |s| s.message().to_owned());
                        return Ended::Broken(why);
                    }
                    sent = outbound.send(message) => {
                        if sent.is_err() {
                            return Ended::Broken("the stream was closed".into());
                        }
                    }
                }
            }
        }
    }

    /// Packs messages together; those with snapshots go their own way.
    fn pack(&self, client: &PeerClient, batch: &mut Vec<Letter>) -> Vec<Vec<Bytes>> {
        let mut packed = vec![Vec::new()];
        let mut bytes = 0;
        for letter in batch.drain(..) {
            match letter {
                Letter::Plain(message) => {
                    if bytes > 0 && bytes + message.len() > TOGETHER_BYTES {
                        packed.push(Vec::new());
                        bytes = 0;
                    }
                    bytes += message.len();
                    if let Some(last) = packed.last_mut() {
                        last.push(message);
                    }
                }
                Letter::WithSnapshot(index, message) => {
                    self.send_snapshot(client, (index, message))
                }
            }
        }
        packed.retain(|messages| !messages.is_empty());
        packed
    }

    fn send_snapshot(&self, client: &PeerClient, (index, message): (u64, Bytes)) {
        let (context, peer, client) = (self.context.clone(), self.peer, client.clone());
        self.context.tasks.spawn(SNAPSHOT, async move {
            let head = wire::SnapshotHead {
                cluster: context.cluster.clone(),
                from: context.member,
                index,
                message: message.to_vec(),
                ..wire::SnapshotHead::default()
            };
            let sent = snapshot::send(client, head, context.snapshots.clone()).await;
            let outcome = match &sent {
                Ok(()) => {
                    info!(member = peer, index, "sent a snapshot to a member that was far behind");
                    SnapshotOutcome::Delivered
                }
                Err(why) => {
                    warn!(member = peer, index, %why, "a snapshot could not be sent");
                    SnapshotOutcome::Failed
                }
            };
            context.inbox.snapshot_sent(peer, outcome).await;
            Ok::<(), Infallible>(())
        });
    }
}

/// How a stream to a peer ended.
enum Ended {
    /// Nobody sends to this peer any more.
    Closed,
    /// It broke.
    Broken(String),
}
