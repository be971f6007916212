//! Every operation on the wire, and the mistakes that close a connection.

use std::io::Write as _;

use muster_rendezvous::{Event, Limit, Options};

use crate::client::{
    CANCEL_WAIT, COUNT_KEYS, LIST_KEYS, PING, Site, add, barrier, check, get, list, localhost,
    multi_get, op, set, string, wait,
};

const STOP: &[u8] = &[0];

fn word(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

#[test]
fn values_are_set_and_read() {
    let site = Site::new();
    let mut client = site.client();
    client.expect(&get(b"/k"), &string(b""));
    client.expect(&set(b"/k", b"value"), b"");
    client.expect(&get(b"/k"), &string(b"value"));
    client.expect(&set(b"/k", b""), b"");
    client.expect(&check(&[b"/k"]), &[0]);
    client.expect(&op(9, &[b"/k", b"ab"]), b"");
    client.expect(&op(9, &[b"/k", b"cd"]), b"");
    client.expect(&get(b"/k"), &string(b"abcd"));
    client.expect(&op(8, &[b"/k"]), &word(1));
    client.expect(&op(8, &[b"/k"]), &word(0));
    client.expect(&check(&[b"/k"]), &[1]);
}

#[test]
fn keys_are_any_bytes() {
    let site = Site::new();
    let mut client = site.client();
    let keys = [&b""[..], b"/", b"//", b"/\0in", b"/nl\nx", "/ключ".as_bytes(), &[0xFF; 100]];
    for key in keys {
        client.expect(&set(key, key), b"");
    }
    for key in keys {
        client.expect(&get(key), &string(key));
    }
    client.expect(COUNT_KEYS, &word(keys.len() as i64));
}

#[test]
fn comparisons_answer_as_upstream() {
    let site = Site::new();
    let mut client = site.client();
    let compare = |expected: &[u8], new: &[u8]| op(2, &[b"/c", expected, new]);
    client.expect(&compare(b"x", b"v0"), &string(b"x"));
    client.expect(&check(&[b"/c"]), &[1]);
    client.expect(&compare(b"", b"v1"), &string(b"v1"));
    client.expect(&compare(b"v1", b"v2"), &string(b"v2"));
    client.expect(&compare(b"v1", b"v3"), &string(b"v2"));
    client.expect(&compare(b"", b"v4"), &string(b"v2"));
    client.expect(&op(2, &[b"/empty", b"", b""]), &string(b""));
    client.expect(&check(&[b"/empty"]), &[0]);
}

#[test]
fn sums_answer_as_upstream() {
    let site = Site::new();
    let mut client = site.client();
    client.expect(&add(b"/n", 5), &word(5));
    client.expect(&add(b"/n", -7), &word(-2));
    client.expect(&get(b"/n"), &string(b"-2"));
    for (text, sum) in [(&b"41"[..], 42), (b" 7", 8), (b"12abc", 13), (b"-1", 0)] {
        client.expect(&set(b"/t", text), b"");
        client.expect(&add(b"/t", 1), &word(sum));
    }
    client.expect(&set(b"/t", b"9223372036854775807"), b"");
    client.expect(&add(b"/t", 1), &word(i64::MIN));
}

#[test]
fn adding_to_what_is_no_number_closes_and_is_told() {
    for text in [&b"abc"[..], b"", b"9223372036854775808"] {
        let site = Site::new();
        let mut client = site.client();
        client.expect(&set(b"/t", text), b"");
        client.send(&add(b"/t", 1));
        client.end();
        assert_eq!(site.event(), Event::NotANumber { peer: localhost(), key: "/t".into() });
    }
}

#[test]
fn many_keys_go_in_one_call() {
    let site = Site::new();
    let mut client = site.client();
    client.expect(&list(11, &[b"/a", b"1", b"/b", b"22"], 2), b"");
    let values = [string(b"1"), string(b""), string(b"22")].concat();
    client.expect(&multi_get(&[b"/a", b"/none", b"/b"]), &values);
    client.expect(&multi_get(&[]), b"");
    client.expect(&list(11, &[], 2), b"");
    client.expect(&check(&[]), &[0]);
    client.expect(&check(&[b"/a", b"/b"]), &[0]);
    client.expect(&check(&[b"/a", b"/none"]), &[1]);
    client.expect(&wait(&[]), STOP);
    client.expect(&wait(&[b"/a", b"/a"]), STOP);
}

#[test]
fn keys_are_counted_and_listed_with_the_counter_of_inits_and_without_queues() {
    let site = Site::new();
    let mut client = site.client();
    client.expect(&add(b"init/", 1), &word(1));
    client.expect(&set(b"/k", b""), b"");
    client.expect(&op(14, &[b"/q", b"x"]), b"");
    client.expect(COUNT_KEYS, &word(2));
    client.send(LIST_KEYS);
    assert_eq!(client.read_word(), 2);
    let mut keys = [client.read_string(), client.read_string()];
    keys.sort();
    assert_eq!(keys, [b"/k".to_vec(), b"init/".to_vec()]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new();
    let mut client = site.client();
    let mut requests = Vec::new();
    let mut replies = Vec::new();
    for i in 0..3_000i64 {
        requests.extend(add(b"/n", 1));
        replies.extend(word(i + 1));
        requests.extend(set(b"/v", i.to_string().as_bytes()));
        requests.extend(get(b"/v"));
        replies.extend(string(i.to_string().as_bytes()));
    }
    client.expect(&requests, &replies);
}

#[test]
fn a_wait_is_answered_when_another_client_sets_the_key() {
    let site = Site::new();
    let (mut waiter, mut other) = (site.client(), site.client());
    waiter.expect(&wait(&[b"/a", b"/b"]), b"");
    site.until("the wait", |stats| stats.waiting == 1);
    let waits = site.server.waits(1);
    assert_eq!((waits.len(), waits[0].connections), (1, 1));
    assert!(["/a", "/b"].contains(&waits[0].key.as_str()));
    other.expect(&set(b"/a", b"x"), b"");
    waiter.settled(b"");
    other.expect(&add(b"/b", 0), &word(0));
    assert_eq!(waiter.read(1), STOP);
    assert_eq!(site.server.waits(9), []);
}

#[test]
fn a_waiting_client_may_ask_other_things() {
    let site = Site::new();
    let mut client = site.client();
    client.expect(&wait(&[b"/w"]), b"");
    client.expect(COUNT_KEYS, &word(0));
    client.expect(&set(b"/w", b"v"), STOP);
}

#[test]
fn a_second_wait_replaces_the_first() {
    let site = Site::new();
    let (mut waiter, mut other) = (site.client(), site.client());
    waiter.expect(&[wait(&[b"/1"]), wait(&[b"/2"])].concat(), b"");
    other.expect(&set(b"/1", b""), b"");
    waiter.settled(b"");
    other.expect(&set(b"/2", b""), b"");
    waiter.settled(STOP);
}

#[test]
fn a_wait_is_cancelled_and_that_is_always_answered() {
    let site = Site::new();
    let (mut waiter, mut other) = (site.client(), site.client());
    waiter.expect(CANCEL_WAIT, &[1]);
    waiter.expect(&wait(&[b"/k"]), b"");
    waiter.expect(CANCEL_WAIT, &[1]);
    other.expect(&set(b"/k", b""), b"");
    waiter.settled(b"");
    waiter.expect(&barrier(b"/b", 2), b"");
    waiter.expect(CANCEL_WAIT, &[1]);
    other.expect(&barrier(b"/b", 2), STOP);
    waiter.settled(b"");
}

#[test]
fn a_barrier_lets_all_through_together() {
    let site = Site::new();
    let mut clients: Vec<_> = (0..5).map(|_| site.client()).collect();
    for client in &mut clients[..4] {
        client.expect(&barrier(b"/b", 5), b"");
    }
    clients[4].expect(&barrier(b"/b", 5), STOP);
    for client in &mut clients[..4] {
        assert_eq!(client.read(1), STOP);
    }
    clients[0].expect(&get(b"/b"), &string(b"5"));
    for world in [1, 0, -1] {
        clients[0].expect(&barrier(b"/small", world), STOP);
    }
}

#[test]
fn queues_are_first_in_first_out_for_values_and_for_clients() {
    let site = Site::new();
    let mut pusher = site.client();
    let queue = b"/q";
    let push = |value: &[u8]| op(14, &[queue, value]);
    let pop = op(15, &[queue]);
    let len = op(16, &[queue]);
    pusher.expect(&pop, &word(0));
    pusher.expect(&len, &word(0));
    pusher.expect(&push(b"A"), b"");
    pusher.expect(&push(b""), b"");
    pusher.expect(&len, &word(2));
    pusher.expect(&check(&[queue]), &[0]);
    pusher.expect(&pop, &[word(2), string(b"A")].concat());
    pusher.expect(&pop, &[word(1), string(b"")].concat());
    pusher.expect(&check(&[queue]), &[1]);
    let mut waiters: Vec<_> = (0..3).map(|_| site.client()).collect();
    for waiter in &mut waiters {
        waiter.expect(&wait(&[queue]), b"");
    }
    pusher.expect(&push(b"1"), b"");
    assert_eq!(waiters[0].read(1), STOP);
    waiters[1].settled(b"");
    waiters[2].settled(b"");
    pusher.expect(&push(b"2"), b"");
    assert_eq!(waiters[1].read(1), STOP);
    waiters[2].settled(b"");
    pusher.expect(&set(queue, b"a value"), b"");
    assert_eq!(waiters[2].read(1), STOP);
    pusher.expect(&op(8, &[queue]), &word(1));
    pusher.expect(&len, &word(2));
}

#[test]
fn the_wake_of_a_client_that_is_gone_goes_to_the_next() {
    let site = Site::new();
    let (mut first, mut second, mut pusher) = (site.client(), site.client(), site.client());
    first.expect(&wait(&[b"/q"]), b"");
    second.expect(&wait(&[b"/q"]), b"");
    pusher.expect(&op(14, &[b"/q", b"x"]), b"");
    assert_eq!(first.read(1), STOP);
    drop(first);
    assert_eq!(second.read(1), STOP);
}

#[test]
fn limits_are_exact() {
    let site = Site::new();
    let mut client = site.client();
    let key = [&b"/"[..], &[b'k'; 8191]].concat();
    let value = vec![7; 8 << 20];
    client.expect(&set(&key, b"v"), b"");
    client.expect(&set(b"/v", &value), b"");
    client.expect(&get(b"/v"), &string(&value));
    client.expect(&check(&vec![&key[..]; 100]), &[0]);
    let most = vec![&b"/v"[..]; 131_072];
    client.expect(&check(&most), &[0]);
    let too_long = [&key[..], b"k"].concat();
    let too_much = [&value[..], b"x"].concat();
    let too_many = vec![&b"/v"[..]; 131_073];
    for (limit, size, request) in [
        (Limit::Key, 8_193, set(&too_long, b"v")),
        (Limit::Value, 8_388_609, set(b"/v", &too_much)),
        (Limit::Keys, 131_073, check(&too_many)),
        (Limit::Keys, 131_073, wait(&too_many)),
        (Limit::Keys, 131_073, multi_get(&too_many)),
    ] {
        let site = Site::new();
        let mut client = site.client();
        // As far as the length, which is enough.
        let announced = &request[..request.len().min(8_300)];
        client.send(&announced[..announced.len().min(60)]);
        // It may have closed by now.
        let _ = client.stream.write_all(&announced[60.min(announced.len())..]);
        client.end();
        assert_eq!(site.event(), Event::OverLimit { peer: localhost(), limit, size });
    }
}

#[test]
fn a_full_store_closes_whoever_would_add_to_it() {
    let site = Site::with(Options { memory_limit: 4 << 20, ..Options::default() });
    let mut client = site.client();
    client.expect(&set(b"/a", &vec![0; 2 << 20]), b"");
    let mut greedy = site.client();
    greedy.send(&set(b"/b", &vec![0; 3 << 20])[..1 << 16]);
    greedy.end();
    let expected = Event::OverLimit { peer: localhost(), limit: Limit::Memory, size: 4 << 20 };
    assert_eq!(site.event(), expected);
    client.expect(&op(8, &[b"/a"]), &word(1));
    client.expect(&set(b"/b", &vec![0; 3 << 20]), b"");
    client.expect(PING, &PING[1..]);
}
