//! The rendezvous store beside torch's own server (libuv), with the same client: counters on many connections, values in
//! batches, and clients that come all at once, also where names resolve slowly. For each load: how many answers a second,
//! and how much processor time the server uses for one.

use std::process::Command;
use std::time::Duration;

mod load;
mod names;
mod servers;

use load::{Load, add, multi_get, prepare, set, storm};
use muster_benches::{Samples, compare, describe, is_measurement, rounds};
use names::Names;
use servers::{Server, ours, torch};

/// Answers a second, and the server's processor time for each, of several runs.
#[derive(Default)]
struct Rates {
    /// Seconds for one answer, as a client sees it.
    wall: Samples,
    processor: Samples,
}

/// A load: its name, one request for each connection, the length of an answer, and what must be stored before.
struct Shape {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    answer: usize,
    before: Vec<u8>,
}

fn counters(name: &'static str, connections: usize) -> Shape {
    let requests = (0..connections).map(|n| add(&format!("counter/{n}"))).collect();
    Shape { name, requests, answer: 8, before: Vec::new() }
}

fn batches(name: &'static str, connections: usize) -> Shape {
    let keys: Vec<String> = (0..100).map(|n| format!("store_based_barrier/rank/{n}")).collect();
    let value = [7; 64];
    let before = keys.iter().flat_map(|key| set(key, &value)).collect();
    let requests = vec![multi_get(&keys); connections];
    Shape { name, requests, answer: keys.len() * (8 + value.len()), before }
}

fn measure(shape: &Shape, server: &Server, rates: &mut Rates) {
    let length = Duration::from_millis(if is_measurement() { 1500 } else { 50 });
    prepare(server.port, &shape.before);
    let mut load = Load::connect(server.port, shape.requests.clone(), shape.answer);
    // Once for warmth.
    load.run(shape.answer, length / 10);
    let before = server.processor();
    let (answers, took) = load.run(shape.answer, length);
    let count = u32::try_from(answers.max(1)).expect("a run is short");
    rates.wall.add_fine(took / count, 1_000_000);
    rates.processor.add_fine((server.processor() - before) / count, 1_000_000);
}

/// Whether a load was asked for: `cargo bench --bench rendezvous -- MULTI_GET`.
fn is_wanted(name: &str) -> bool {
    let mut wanted =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    wanted.peek().is_none() || wanted.any(|part| name.contains(&part))
}

/// From the making of a server until 64 clients that come at once are served.
fn served(server: &Server) -> Duration {
    server.made_in + storm(server.port, 64)
}

fn storms(what: &str, start: impl Fn(Command) -> Server, peer: &Option<(Command, String)>) {
    if !is_wanted(what) {
        return;
    }
    let [mut our_storms, mut their_storms] = [(); 2].map(|()| Samples::default());
    for _ in 0..rounds(7) {
        our_storms.add(served(&start(ours())));
        if peer.is_some() {
            their_storms.add(served(&start(torch().expect("it was there").0)));
        }
    }
    compare(what, &our_storms, "libuv", &their_storms);
}

fn main() {
    println!("{}", describe());
    raise_open_files();
    let peer = torch();
    if let Some((_, version)) = &peer {
        println!("beside: {version}");
    }
    println!("the times of loads are for a million answers");
    let files = Names::from_files();
    if let Err(why) = &files {
        eprintln!("names resolve as on this machine, which slows torch's server down: {why}");
    }
    let start = |command| {
        Server::start(match &files {
            Ok(files) => files.seen_by(&command),
            Err(_) => command,
        })
    };
    let shapes = [
        counters("ADD, 64 connections", 64),
        counters("ADD, 500 connections", 500),
        counters("ADD, 4000 connections", if is_measurement() { 4000 } else { 40 }),
        batches("MULTI_GET of 100 keys, 8 connections", 8),
    ];
    for shape in shapes.iter().filter(|shape| is_wanted(shape.name)) {
        let [mut our_rates, mut their_rates] = [(); 2].map(|()| Rates::default());
        for _ in 0..rounds(5) {
            measure(shape, &start(ours()), &mut our_rates);
            if let Some((command, _)) = torch().filter(|_| peer.is_some()) {
                measure(shape, &start(command), &mut their_rates);
            }
        }
        compare(shape.name, &our_rates.wall, "libuv", &their_rates.wall);
        let what = format!("{}: server's processor time", shape.name);
        compare(&what, &our_rates.processor, "libuv", &their_rates.processor);
    }
    storms("a new server and 64 clients at once", start, &peer);
    match Names::slow() {
        Ok(slow) => {
            let start = |command| Server::start(slow.seen_by(&command));
            storms("a new server and 64 clients at once, slow resolver", start, &peer);
        }
        Err(why) => eprintln!("skipped: slow resolver: {why}"),
    }
}

/// 4,000 connections are 4,000 descriptors, here and in the server, which inherits the limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(1 << 16).min(1 << 16);
    // Where it is refused, the connections that are too many say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
}
