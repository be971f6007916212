//! The small agent: a runtime that is called and heard over standard input and output.

use std::io::Write as _;
use std::process::ExitCode;

use muster_agent::runtime::{Observation, ProcessRuntime, Runtime, Seen};
use muster_service::Supervisor;

use crate::remote::{Call, News, Options, Told};

fn told(seen: &Observation) -> Told {
    match seen {
        Observation::Ready { .. } => Told::Ready,
        Observation::Running => Told::Running,
        Observation::Exited(exit) => Told::Exited(exit.clone()),
    }
}

fn tell(news: &News) {
    let line = serde_json::to_string(news).expect("news are plain data");
    let mut out = std::io::stdout().lock();
    // The test has gone: so will this process be.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The small agent's main.
pub(crate) fn serve(options: &str) -> ExitCode {
    let options: Options = serde_json::from_str(options).expect("the test writes the options");
    let tokio = tokio::runtime::Runtime::new().expect("a tokio runtime can be made");
    tokio.block_on(agent(&options));
    ExitCode::SUCCESS
}

async fn agent(options: &Options) {
    let supervisor = Supervisor::new();
    let tasks = supervisor.tasks().clone();
    let opened = ProcessRuntime::open(options.config(), options.images(), tasks)
        .await
        .expect("the data directory is usable");
    for one in &opened.adopted {
        let seen = one.seen.as_ref().map_or(Told::Preparing, told);
        tell(&News::Adopted(one.spec.id, one.spec.fence, seen));
    }
    tell(&News::Open);
    let (runtime, mut events) = (opened.runtime, opened.events);
    let mut calls = calls();
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event.expect("the runtime is alive");
                if let Seen::State(seen) = event.seen {
                    tell(&News::Seen(event.id, event.fence, told(&seen)));
                }
            }
            call = calls.recv() => match call {
                Some(line) => perform(&runtime, &line),
                None => return,
            },
        }
    }
}

/// The lines of standard input.
fn calls() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn perform(runtime: &ProcessRuntime, line: &str) {
    match serde_json::from_str(line).expect("the test writes the calls") {
        Call::Prepare(spec) => runtime.prepare(*spec),
        Call::Start(id, fence, context) => runtime.start(id, fence, context),
        Call::Stop(id, fence, grace) => runtime.stop(id, fence, grace),
        Call::Remove(id, fence) => runtime.remove(id, fence),
    }
}
