//! A client that sends what it is told to, and servers for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use muster_rendezvous::{Event, Options, Reservation, Server, ServerHandle};

/// Longer than anything here takes. A test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `VALIDATE` and its number.
pub(crate) const VALIDATE: &[u8] = b"\0\xCE\xF7\x85\x3C";

/// `PING` with a number that no process has.
pub(crate) const PING: &[u8] = b"\x0d\xFE\xDC\xBA\x98";

/// A server with what it told.
pub(crate) struct Site {
    pub(crate) server: ServerHandle,
    pub(crate) events: Receiver<Event>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let (tell, events) = channel();
        let sink = Box::new(move |event| tell.send(event).expect("the test listens to the end"));
        let reservation = Reservation::bind_loopback(None).expect("a free port");
        let server = Server::start(reservation, Options { events: Some(sink), ..options });
        Self { server: server.expect("a server"), events }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.server.port())
    }

    /// A client that has not said anything.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A client that has opened the protocol.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.connect();
        client.send(VALIDATE);
        client
    }

    /// Waits until the server's numbers are so.
    pub(crate) fn until(&self, what: &str, so: impl Fn(&muster_rendezvous::Stats) -> bool) {
        until(what, || so(&self.server.stats()));
    }

    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("something to hear")
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the port is open");
        stream.set_nodelay(true).expect("an option of every socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option of every socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option of every socket");
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next bytes; there must be so many, and no end before.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("the server answers");
        bytes
    }

    pub(crate) fn read_word(&mut self) -> i64 {
        i64::from_le_bytes(self.read(8).try_into().expect("eight bytes"))
    }

    pub(crate) fn read_string(&mut self) -> Vec<u8> {
        let len = self.read_word();
        self.read(len as usize)
    }

    /// Sends and reads the reply, which has no more than this.
    pub(crate) fn expect(&mut self, request: &[u8], reply: &[u8]) {
        self.send(request);
        self.settled(reply);
    }

    /// All that was sent is executed, and this is what came back for it.
    pub(crate) fn settled(&mut self, reply: &[u8]) {
        self.send(PING);
        let got = self.read(reply.len() + 4);
        let expected = [reply, &PING[1..]].concat();
        assert!(got == expected, "{} and not {}", got.escape_ascii(), expected.escape_ascii());
    }

    /// The connection's end; there must be nothing before it.
    pub(crate) fn end(&mut self) -> End {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => End::Closed,
            Ok(_) => panic!("the server said {byte:?}, where it should close"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("the connection is left open: {error}"),
        }
    }
}

pub(crate) fn localhost() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

// Requests, by hand, so that the tests do not share code with what they test.

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u64).to_le_bytes().to_vec();
    all.extend_from_slice(bytes);
    all
}

/// An operation with strings.
pub(crate) fn op(opcode: u8, strings: &[&[u8]]) -> Vec<u8> {
    let mut all = vec![opcode];
    for bytes in strings {
        all.extend(string(bytes));
    }
    all
}

/// An operation with a list of strings; of pairs, if `per` is 2.
pub(crate) fn list(opcode: u8, strings: &[&[u8]], per: usize) -> Vec<u8> {
    let mut all = vec![opcode];
    all.extend((strings.len() as u64 / per as u64).to_le_bytes());
    for bytes in strings {
        all.extend(string(bytes));
    }
    all
}

pub(crate) fn set(key: &[u8], value: &[u8]) -> Vec<u8> {
    op(1, &[key, value])
}

pub(crate) fn get(key: &[u8]) -> Vec<u8> {
    op(3, &[key])
}

pub(crate) fn add(key: &[u8], amount: i64) -> Vec<u8> {
    [op(4, &[key]), amount.to_le_bytes().to_vec()].concat()
}

pub(crate) fn check(keys: &[&[u8]]) -> Vec<u8> {
    list(5, keys, 1)
}

pub(crate) fn wait(keys: &[&[u8]]) -> Vec<u8> {
    list(6, keys, 1)
}

pub(crate) fn multi_get(keys: &[&[u8]]) -> Vec<u8> {
    list(10, keys, 1)
}

pub(crate) fn barrier(key: &[u8], world: i64) -> Vec<u8> {
    [op(18, &[key]), world.to_le_bytes().to_vec()].concat()
}

pub(crate) const COUNT_KEYS: &[u8] = &[7];
pub(crate) const CANCEL_WAIT: &[u8] = &[12];
pub(crate) const LIST_KEYS: &[u8] = &[17];
