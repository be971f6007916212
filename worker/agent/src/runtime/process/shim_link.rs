//! The agent's side of the conversation with one shim.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::shim::protocol::{self, LONGEST, Order, Report};

#[derive(Debug)]
pub(super) struct ShimLink {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
}

impl ShimLink {
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, line: Vec::new() })
    }

    /// The next report; `None` when the shim has hung up. May be cancelled: what was read so far is kept.
    pub(super) async fn next(&mut self) -> Option<Report> {
        loop {
            let read = self.reader.read_until(b'\n', &mut self.line).await;
            let whole = self.line.last() == Some(&b'\n');
            if !matches!(read, Ok(1..)) || !whole || self.line.len() > LONGEST {
                return None;
            }
            let report = protocol::read(&self.line);
            self.line.clear();
            // A newer shim may say what this agent does not understand.
            if report.is_some() {
                return report;
            }
        }
    }

    /// Gives an order. A shim that has hung up does not get it; the end of the reports tells.
    pub(super) async fn send(&mut self, order: &Order) {
        let _ = self.writer.write_all(&protocol::line(order)).await;
    }
}
