//! Snapshots between members: streamed from file to file in pieces, so that no member holds one in memory.

use muster_proto::v1 as wire;
use muster_store::{Position, SnapshotMeta, Snapshots};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::dial::PeerClient;

/// How many pieces may wait for the network, or for the disk.
const WAITING: usize = 4;

/// Sends the snapshot at the head's index.
pub(super) async fn send(
    mut client: PeerClient,
    head: wire::SnapshotHead,
    snapshots: Snapshots,
) -> Result<(), String> {
    let at = snapshots.positions().into_iter().find(|at| at.index.0 == head.index);
    let at = at.ok_or("it was replaced by a newer one")?;
    let mut reader = snapshots.read(at).map_err(|error| error.to_string())?;
    let head =
        wire::SnapshotHead { term: at.term.0, membership: reader.meta().meta.to_vec(), ..head };
    let (pieces, stream) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || -> Result<(), String> {
        let gone = |_| "the member does not take it".to_owned();
        let first = wire::SnapshotPiece { head: Some(head), ..wire::SnapshotPiece::default() };
        pieces.blocking_send(first).map_err(gone)?;
        while let Some(data) = reader.next_chunk().map_err(|error| error.to_string())? {
            let piece =
                wire::SnapshotPiece { data: data.to_vec(), ..wire::SnapshotPiece::default() };
            pieces.blocking_send(piece).map_err(gone)?;
        }
        let last = wire::SnapshotPiece { last: true, ..wire::SnapshotPiece::default() };
        pieces.blocking_send(last).map_err(gone)
    });
    let sent = client.send_snapshot(ReceiverStream::new(stream)).await;
    let read = reading.await.map_err(|error| error.to_string())?;
    sent.map_err(|status| status.message().to_owned())?;
    read
}

/// Receives a snapshot into the directory. Answers the message that carries it.
pub(super) async fn receive(
    head: wire::SnapshotHead,
    mut pieces: Streaming<wire::SnapshotPiece>,
    snapshots: Snapshots,
) -> Result<Vec<u8>, Status> {
    let at = Position::new(muster_store::Index(head.index), muster_store::Term(head.term));
    let meta = SnapshotMeta { at, meta: head.membership.into() };
    let (data, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = snapshots.begin(&meta)?;
        while let Some(piece) = waiting.blocking_recv() {
            // An empty piece is the end; without it the stream broke, and the file goes with the writer.
            if piece.is_empty() {
                return writer.finish().map(|_| true);
            }
            writer.add(&piece)?;
        }
        Ok::<bool, muster_store::Error>(false)
    });
    while let Some(piece) = pieces.message().await? {
        let is_taken = piece.data.is_empty() || data.send(piece.data).await.is_ok();
        if !is_taken || piece.last && data.send(Vec::new()).await.is_ok() {
            break;
        }
    }
    drop(data);
    let written = writing.await.map_err(|error| Status::internal(error.to_string()))?;
    match written {
        Ok(true) => Ok(head.message),
        Ok(false) => Err(Status::aborted("the snapshot ended too early")),
        Err(error) => Err(Status::internal(format!("the snapshot cannot be stored: {error}"))),
    }
}
