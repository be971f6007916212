//! Operations and waits, without sockets.

use std::net::Ipv4Addr;

use super::*;

const RULES: Rules = Rules { separate: true, distinct_pids: true, world_size: None };

/// A store, and what its clients would read.
struct Bench {
    store: Store,
    ledger: Ledger,
    sessions: Vec<Session>,
}

impl Bench {
    fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    fn with_limit(limit: usize) -> Self {
        let ledger = Ledger::new(limit);
        Self { store: Store::new(RULES, ledger.clone()), ledger, sessions: Vec::new() }
    }

    fn connect(&mut self) -> usize {
        let client = self.sessions.len();
        let id = ConnectionId::from(client as u64);
        self.sessions.push(Session::new(id, Ipv4Addr::LOCALHOST.into()));
        client
    }

    /// The reply.
    fn ask(&mut self, client: usize, request: &[u8]) -> Vec<u8> {
        self.try_ask(client, request).expect("it is a good request")
    }

    fn try_ask(&mut self, client: usize, request: &[u8]) -> Result<Vec<u8>, Violation> {
        let opcode = Opcode::from_byte(request[0]).expect("it is a known operation");
        let mut replies = Replies::default();
        let request = Request { opcode, bytes: request };
        self.store.execute(&mut self.sessions[client], request, &mut replies)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        assert!(replies.send(&ours).expect("the other end is there"), "replies here are short");
        drop(ours);
        let mut reply = Vec::new();
        std::io::Read::read_to_end(&mut &theirs, &mut reply).expect("a whole reply");
        Ok(reply)
    }

    /// Who was woken since the last time.
    fn woken(&mut self) -> Vec<usize> {
        let mut woken = Vec::new();
        self.store.take_woken(&mut woken);
        let woken: Vec<_> = woken.into_iter().map(|id| u64::from(id) as usize).collect();
        for client in &woken {
            self.sessions[*client].told();
        }
        woken
    }

    fn leave(&mut self, client: usize) {
        self.store.disconnect(&self.sessions[client]);
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

fn one(opcode: u8, strings: &[&[u8]]) -> Vec<u8> {
    std::iter::once(opcode).chain(strings.iter().flat_map(|bytes| string(bytes))).collect()
}

fn list(opcode: u8, strings: &[&[u8]], count: u64) -> Vec<u8> {
    let strings = strings.iter().flat_map(|bytes| string(bytes));
    std::iter::once(opcode).chain(count.to_le_bytes()).chain(strings).collect()
}

fn number(opcode: u8, key: &[u8], number: i64) -> Vec<u8> {
    [one(opcode, &[key]), number.to_le_bytes().to_vec()].concat()
}

fn set(key: &[u8], value: &[u8]) -> Vec<u8> {
    one(1, &[key, value])
}

fn get(key: &[u8]) -> Vec<u8> {
    one(3, &[key])
}

fn wait(keys: &[&[u8]]) -> Vec<u8> {
    list(6, keys, keys.len() as u64)
}

fn push(key: &[u8], value: &[u8]) -> Vec<u8> {
    one(14, &[key, value])
}

const STOP: &[u8] = &[STOP_WAITING];
const CANCEL: &[u8] = &[12];

#[test]
fn a_failed_comparison_wakes_nobody() {
    let mut bench = Bench::new();
    let (waiter, other) = (bench.connect(), bench.connect());
    bench.ask(waiter, &wait(&[b"/k"]));
    assert_eq!(bench.ask(other, &one(2, &[b"/k", b"expected", b"new"])), string(b"expected"));
    assert_eq!(bench.woken(), []);
    assert_eq!(bench.ask(other, &one(2, &[b"/k", b"", b"new"])), string(b"new"));
    assert_eq!(bench.woken(), [waiter]);
}

#[test]
fn a_newer_wait_replaces_the_older() {
    let mut bench = Bench::new();
    let (waiter, other) = (bench.connect(), bench.connect());
    bench.ask(waiter, &wait(&[b"/a"]));
    bench.ask(waiter, &wait(&[b"/b"]));
    bench.ask(other, &set(b"/a", b""));
    assert_eq!(bench.woken(), []);
    bench.ask(other, &set(b"/b", b""));
    assert_eq!(bench.woken(), [waiter]);
    bench.ask(waiter, &wait(&[b"/c"]));
    assert_eq!(bench.ask(waiter, &wait(&[b"/a"])), STOP);
    bench.ask(other, &set(b"/c", b""));
    assert_eq!(bench.woken(), [], "a wait that was over at once replaces too");
}

#[test]
fn a_wait_ends_when_the_last_of_its_keys_appears() {
    let mut bench = Bench::new();
    let (waiter, other) = (bench.connect(), bench.connect());
    bench.ask(other, &set(b"/there", b""));
    bench.ask(waiter, &wait(&[b"/a", b"/there", b"/b", b"/a"]));
    bench.ask(other, &set(b"/a", b""));
    bench.ask(other, &one(8, &[b"/a"]));
    assert_eq!(bench.woken(), []);
    bench.ask(other, &number(4, b"/b", 1));
    assert_eq!(bench.woken(), [waiter]);
    bench.ask(other, &set(b"/b", b""));
    assert_eq!(bench.woken(), [], "once");
}

#[test]
fn a_client_that_ends_its_own_wait_reads_that_first() {
    let mut bench = Bench::new();
    let client = bench.connect();
    bench.ask(client, &wait(&[b"/a"]));
    let five = 5i64.to_le_bytes();
    assert_eq!(bench.ask(client, &number(4, b"/a", 5)), [STOP, &five].concat());
    bench.ask(client, &wait(&[b"/q"]));
    assert_eq!(bench.ask(client, &push(b"/q", b"")), STOP);
    assert_eq!(bench.woken(), []);
}

#[test]
fn a_cancelled_wait_is_forgotten() {
    let mut bench = Bench::new();
    let (waiter, other) = (bench.connect(), bench.connect());
    bench.ask(waiter, &wait(&[b"/a", b"/b"]));
    assert_eq!(bench.ask(waiter, CANCEL), [1]);
    bench.ask(other, &list(11, &[b"/a", b"", b"/b", b""], 2));
    assert_eq!(bench.woken(), []);
    assert_eq!(bench.ask(waiter, CANCEL), [1], "there need not be a wait");
}

#[test]
fn everyone_who_waits_for_a_key_is_woken_in_order() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..20).map(|_| bench.connect()).collect();
    for client in &clients[..19] {
        bench.ask(*client, &wait(&[b"/k"]));
    }
    bench.leave(clients[3]);
    bench.ask(clients[19], &one(9, &[b"/k", b"appended"]));
    let expected: Vec<_> = clients[..19].iter().copied().filter(|c| *c != clients[3]).collect();
    assert_eq!(bench.woken(), expected);
}

#[test]
fn one_push_wakes_the_first_who_waits_for_nothing_else() {
    let mut bench = Bench::new();
    let [both, first, second, pusher] = [(); 4].map(|()| bench.connect());
    bench.ask(both, &wait(&[b"/q", b"/k"]));
    bench.ask(first, &wait(&[b"/q"]));
    bench.ask(second, &wait(&[b"/q"]));
    bench.ask(pusher, &push(b"/q", b"one"));
    assert_eq!(bench.woken(), [first]);
    bench.ask(pusher, &push(b"/q", b"two"));
    assert_eq!(bench.woken(), [second]);
    bench.ask(pusher, &set(b"/k", b""));
    assert_eq!(bench.woken(), [both]);
}

#[test]
fn whoever_is_woken_for_a_queue_and_gives_up_leaves_its_turn() {
    for gives_up in [true, false] {
        let mut bench = Bench::new();
        let [first, second, pusher] = [(); 3].map(|()| bench.connect());
        bench.ask(first, &wait(&[b"/q"]));
        bench.ask(second, &wait(&[b"/q"]));
        bench.ask(pusher, &push(b"/q", b"one"));
        assert_eq!(bench.woken(), [first]);
        if gives_up {
            bench.ask(first, CANCEL);
        } else {
            bench.leave(first);
        }
        assert_eq!(bench.woken(), [second]);
    }
}

#[test]
fn whoever_takes_its_turn_owes_nothing() {
    let mut bench = Bench::new();
    let [first, second, pusher] = [(); 3].map(|()| bench.connect());
    bench.ask(first, &wait(&[b"/q"]));
    bench.ask(second, &wait(&[b"/q"]));
    bench.ask(pusher, &push(b"/q", b"one"));
    bench.woken();
    bench.ask(first, &one(15, &[b"/q"]));
    bench.ask(pusher, &push(b"/other", b""));
    bench.leave(first);
    assert_eq!(bench.woken(), []);
}

#[test]
fn a_barrier_opens_for_the_last_who_comes() {
    let mut bench = Bench::new();
    let [a, b, c, waiter] = [(); 4].map(|()| bench.connect());
    bench.ask(waiter, &wait(&[b"/barrier"]));
    assert_eq!(bench.ask(a, &number(18, b"/barrier", 3)), b"");
    assert_eq!(bench.woken(), [waiter], "the counter is a value");
    assert_eq!(bench.ask(b, &number(18, b"/barrier", 3)), b"");
    assert_eq!(bench.ask(b, CANCEL), [1]);
    assert_eq!(bench.ask(c, &number(18, b"/barrier", 3)), STOP, "who left was counted");
    assert_eq!(bench.woken(), [a]);
    assert_eq!(bench.ask(c, &get(b"/barrier")), string(b"3"));
    assert_eq!(bench.ask(b, &number(18, b"/barrier", 3)), STOP, "a used key is open");
}

#[test]
fn sums_are_text_and_only_numbers_can_be_added_to() {
    let mut bench = Bench::new();
    let client = bench.connect();
    bench.ask(client, &set(b"/n", b"41"));
    assert_eq!(bench.ask(client, &number(4, b"/n", 1)), 42i64.to_le_bytes());
    assert_eq!(bench.ask(client, &get(b"/n")), string(b"42"));
    bench.ask(client, &set(b"/text", b"forty"));
    let refused = Err(Violation::NotANumber { key: "/text".into() });
    assert_eq!(bench.try_ask(client, &number(4, b"/text", 1)), refused);
    assert_eq!(bench.try_ask(client, &number(18, b"/text", 1)), refused);
}

#[test]
fn a_round_sees_its_own_keys_and_the_shared_ones() {
    let mut bench = Bench::new();
    let init = |bench: &mut Bench| {
        let client = bench.connect();
        bench.ask(client, &number(4, b"init/", 1));
        bench.ask(client, &set(b"/default_pg/0//cpu//0/0", b"address"));
        client
    };
    let first = init(&mut bench);
    let second = init(&mut bench);
    let user = bench.connect();
    bench.ask(user, &set(b"/mine", b""));
    bench.ask(first, &set(b"/default_pg/only/first", b""));
    for (client, expected) in [(first, 4i64), (second, 3), (user, 2)] {
        assert_eq!(bench.ask(client, &[7]), expected.to_le_bytes());
        assert_eq!(bench.ask(client, &[17])[..8], expected.to_le_bytes());
        assert_eq!(bench.ask(client, &get(b"init/")), string(b"2"));
    }
    let present = |yes: bool| vec![u8::from(!yes)];
    for (client, expected) in [(first, true), (second, false), (user, false)] {
        let check = list(5, &[b"/default_pg/only/first", b"/mine"], 2);
        assert_eq!(bench.ask(client, &check), present(expected));
    }
    assert_eq!(bench.ask(user, &get(b"/default_pg/0//cpu//0/0")), string(b""));
}

#[test]
fn waits_do_not_cross_rounds() {
    let mut bench = Bench::new();
    let key = b"/default_pg/0//cpu//0/1";
    let enter = |bench: &mut Bench, rank: u8| {
        let client = bench.connect();
        bench.ask(client, &number(4, b"init/", 1));
        bench.ask(client, &set(&[b"/default_pg/0//cpu//0/", &[b'0' + rank][..]].concat(), b""));
        client
    };
    let _first = [enter(&mut bench, 0), enter(&mut bench, 1)];
    let waiter = enter(&mut bench, 0);
    assert_eq!(bench.ask(waiter, &wait(&[key])), b"", "the first round's address is not seen");
    enter(&mut bench, 1);
    assert_eq!(bench.woken(), [waiter]);
}

#[test]
fn forgotten_rounds_give_their_memory_back() {
    let mut bench = Bench::new();
    let mut used = Vec::new();
    for _ in 0..10 {
        let client = bench.connect();
        bench.ask(client, &number(4, b"init/", 1));
        bench.ask(client, &set(b"/default_pg/0//cpu//0/0", &[0; 10_000]));
        bench.leave(client);
        used.push(bench.ledger.used());
    }
    assert!(used[9] < 25_000, "two rounds are kept: {used:?}");
    assert_eq!(used[8], used[2]);
}

#[test]
fn nothing_is_held_when_all_is_deleted_and_everyone_has_left() {
    let mut bench = Bench::new();
    let (a, b) = (bench.connect(), bench.connect());
    bench.ask(a, &list(11, &[b"/a", b"1", b"/b", b"2"], 2));
    bench.ask(a, &push(b"/q", b"value"));
    bench.ask(b, &wait(&[b"/x", b"/y"]));
    assert_eq!(bench.store.longest_waits(9).len(), 2);
    bench.ask(a, &one(8, &[b"/a"]));
    bench.ask(a, &one(8, &[b"/b"]));
    bench.ask(a, &one(15, &[b"/q"]));
    bench.leave(b);
    bench.leave(a);
    assert_eq!(bench.ledger.used(), 0);
    assert_eq!(bench.store.longest_waits(9), []);
}

#[test]
fn a_full_store_refuses_what_makes_it_grow_and_nothing_else() {
    let mut bench = Bench::with_limit(10_000);
    let client = bench.connect();
    bench.ask(client, &set(b"/a", &[0; 9_000]));
    let full = Err(Violation::OverLimit { limit: crate::Limit::Memory, size: 10_000 });
    assert_eq!(bench.try_ask(client, &set(b"/b", &[0; 1_000])), full);
    assert_eq!(bench.try_ask(client, &wait(&[b"/x", b"/y", b"/z", b"/u", b"/v", b"/w"])), full);
    let long = [&b"/"[..]; 600];
    assert_eq!(bench.try_ask(client, &list(11, &long, 300)), full);
    assert_eq!(bench.ask(client, &one(8, &[b"/a"])), 1i64.to_le_bytes());
    bench.ask(client, &set(b"/b", &[0; 1_000]));
}
