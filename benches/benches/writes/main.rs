//! Committed writes of three members on this machine, with fsync, by 1, 64 and 512 clients, beside etcd.
//!
//! A write to Muster is the submission of a suspended PyTorchJob whose manifest has about 512 bytes: it is parsed, checked and becomes
//! six records. A write to etcd is a put of 512 bytes that nobody looks into. Both are asked over gRPC by the same client library, each
//! client with a connection of its own to the leader, one write after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muster_benches::{Etcd, Samples, describe, is_measurement};
use muster_client::{Client, Pass, api};
use muster_tests::{Job, Members};

mod kv;

/// How long each measurement writes; without a peer only as long as it takes to see that it works.
fn span() -> Duration {
    if is_measurement() { Duration::from_secs(10) } else { Duration::from_millis(200) }
}

const CLIENTS: [usize; 3] = [1, 64, 512];

/// One write.
trait Writer: Clone + Send + 'static {
    fn write(&self, number: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct ToMuster {
    client: Client,
    manifest: Arc<str>,
}

impl Writer for ToMuster {
    async fn write(&self, number: u64) {
        let manifest = self.manifest.replace("NUMBER", &number.to_string());
        let request =
            api::ApplyRequest { manifest: manifest.into(), ..api::ApplyRequest::default() };
        let reply = self.client.apply(request).await.expect("it is accepted");
        assert!(reply.refused.is_empty(), "{:?}", reply.refused);
    }
}

#[derive(Clone)]
struct ToEtcd(kv::Client);

impl Writer for ToEtcd {
    async fn write(&self, number: u64) {
        self.0.put(format!("key-{number}").into_bytes(), vec![b'x'; 512]).await;
    }
}

/// Writes per second, and how long each took.
async fn measure<W: Writer>(writers: Vec<W>, from: &AtomicU64) -> (f64, Samples) {
    let numbers = Arc::new(AtomicU64::new(from.load(Ordering::Relaxed)));
    let end = Instant::now() + span();
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in writers {
        let numbers = Arc::clone(&numbers);
        tasks.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let start = Instant::now();
                writer.write(number).await;
                took.push(start.elapsed());
            }
            took
        });
    }
    let mut samples = Samples::default();
    let mut count = 0_u32;
    while let Some(took) = tasks.join_next().await {
        for one in took.expect("no writer panics") {
            samples.add(one);
            count += 1;
        }
    }
    from.store(numbers.load(Ordering::Relaxed), Ordering::Relaxed);
    (f64::from(count) / begin.elapsed().as_secs_f64(), samples)
}

fn print(whose: &str, clients: usize, (rate, samples): &(f64, Samples)) {
    println!(
        "{whose}, {clients} clients: {rate:.0} writes/s, p50 {:.2} ms, p99 {:.2} ms",
        samples.median() * 1e3,
        samples.quantile(0.99) * 1e3
    );
}

fn main() {
    println!("{}", describe());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let members = Members::start(3);
    let leader = &members.places[members.leader()];
    let token = std::fs::read_to_string(members.places[0].data().join("token")).expect("a token");
    let job = Job::shell("job-NUMBER", 0, "true");
    let job = job.with("/spec/runPolicy", serde_json::json!({ "suspend": true }));
    let manifest: Arc<str> =
        std::fs::read_to_string(job.write(leader.data())).expect("it is there").into();
    println!("the manifest has {} bytes", manifest.len());
    let (ours, theirs) = (AtomicU64::new(0), AtomicU64::new(0));
    for clients in CLIENTS {
        let writer = |_| {
            let pass = Pass::plain(token.trim()).expect("a token");
            let client = Client::new(&leader.own_server(), pass).expect("an address");
            ToMuster { client, manifest: Arc::clone(&manifest) }
        };
        let result =
            runtime.block_on(async { measure((0..clients).map(writer).collect(), &ours).await });
        print("Muster", clients, &result);
    }
    drop(members);
    if !is_measurement() {
        return;
    }
    let etcd = match Etcd::start() {
        Ok(etcd) => etcd,
        Err(why) => {
            eprintln!("skipped: etcd: {why} (apt install etcd-server etcd-client)");
            return;
        }
    };
    let address = etcd.leader_address();
    for clients in CLIENTS {
        let result = runtime.block_on(async {
            let writers = (0..clients).map(|_| ToEtcd(kv::Client::new(&address)));
            measure(writers.collect(), &theirs).await
        });
        print(&etcd.version, clients, &result);
    }
}
