//! A client of many connections, each of which asks, waits for the answer, and asks again. One thread, with epoll, and
//! the same for both servers. Requests are written by hand from the protocol, so that it shares no code with ours.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// `VALIDATE` and its number.
const VALIDATE: &[u8] = b"\0\xCE\xF7\x85\x3C";
/// `PING` with a number, and the answer is the number.
const PING: &[u8] = b"\x0d\x01\x02\x03\x04";

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// `ADD` 1 to a key; the answer has eight bytes.
pub(crate) fn add(key: &str) -> Vec<u8> {
    [&[4], &*string(key.as_bytes()), &1_i64.to_le_bytes()].concat()
}

/// `SET`, which has no answer.
pub(crate) fn set(key: &str, value: &[u8]) -> Vec<u8> {
    [&[1], &*string(key.as_bytes()), &*string(value)].concat()
}

/// `MULTI_GET`.
pub(crate) fn multi_get(keys: &[String]) -> Vec<u8> {
    let mut request = vec![10];
    request.extend((keys.len() as u64).to_le_bytes());
    keys.iter().for_each(|key| request.extend(string(key.as_bytes())));
    request
}

fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("an option of every socket");
    stream.write_all(VALIDATE).expect("the server reads");
    stream
}

/// How long it takes until so many new clients have had their first answer.
pub(crate) fn storm(port: u16, clients: usize) -> Duration {
    let start = Instant::now();
    let mut streams: Vec<TcpStream> = (0..clients).map(|_| connect(port)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(PING).expect("the server reads"));
    for stream in &mut streams {
        stream.read_exact(&mut [0; 4]).expect("the server answers");
    }
    start.elapsed()
}

/// Sends something once, and waits until it was executed.
pub(crate) fn prepare(port: u16, requests: &[u8]) {
    let mut stream = connect(port);
    stream.write_all(requests).expect("the server reads");
    stream.write_all(PING).expect("the server reads");
    stream.read_exact(&mut [0; 4]).expect("the server answers");
}

/// Connections that ask the same again and again.
pub(crate) struct Load {
    epoll: OwnedFd,
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// Bytes of the answer that are missing.
    missing: usize,
}

impl Load {
    /// Connects, each client once the one before is served; each request has an answer of `answer` bytes.
    pub(crate) fn connect(port: u16, requests: Vec<Vec<u8>>, answer: usize) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
        let connect = |(index, request)| {
            let mut stream = connect(port);
            stream.write_all(PING).expect("the server reads");
            stream.read_exact(&mut [0; 4]).expect("the server answers");
            stream.set_nonblocking(true).expect("an option of every socket");
            let token = EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, token, EventFlags::IN).expect("a new socket");
            Client { stream, request, missing: answer }
        };
        let clients = requests.into_iter().enumerate().map(connect).collect();
        Self { epoll, clients }
    }

    /// Asks for so long. Returns how many answers came, and how long it really took.
    pub(crate) fn run(&mut self, answer: usize, length: Duration) -> (u64, Duration) {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        let mut buffer = vec![0; 1 << 20];
        for client in &mut self.clients {
            client.ask(answer);
        }
        let start = Instant::now();
        let mut answers = 0;
        let mut asking = true;
        let mut waiting = self.clients.len();
        while waiting > 0 {
            asking &= start.elapsed() < length;
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None).expect("epoll");
            for event in &events {
                let index = usize::try_from(event.data.u64()).expect("a number of a client");
                let client = &mut self.clients[index];
                if client.is_answered(&mut buffer) {
                    answers += u64::from(asking);
                    if asking { client.ask(answer) } else { waiting -= 1 }
                }
            }
        }
        (answers, start.elapsed().min(length.max(Duration::from_millis(1))))
    }
}

impl Client {
    fn ask(&mut self, answer: usize) {
        self.missing = answer;
        let sent = self.stream.write(&self.request).expect("the server reads");
        assert_eq!(sent, self.request.len(), "a request fits into the socket's buffer");
    }

    fn is_answered(&mut self, buffer: &mut [u8]) -> bool {
        let wanted = self.missing.min(buffer.len());
        match self.stream.read(&mut buffer[..wanted]) {
            Ok(0) => panic!("the server has closed connection {}", self.stream.as_raw_fd()),
            Ok(length) => self.missing -= length,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
        self.missing == 0
    }
}
