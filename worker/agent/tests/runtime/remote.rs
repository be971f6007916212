//! The small agent of the testbed, and the words in which a test talks to it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use muster_agent::machine::CgroupOptions;
use muster_agent::runtime::{
    Config, ExecutionEnvironment, ImageError, Images, Observation, ProcessRuntime, Runtime, Seen,
    ShimCommand,
};
use muster_agent_core::launch::NodeFacts;
use muster_model::{Exit, Fence, GenerationContext, LaunchSpec, Millis, ReplicaId};
use muster_service::Supervisor;
use serde::{Deserialize, Serialize};

/// How a runtime is to be opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    pub data: PathBuf,
    pub shim: PathBuf,
    pub gpus: Vec<u32>,
    pub log_limit: u64,
    pub cgroups: bool,
}

impl Options {
    pub fn config(&self) -> Config {
        Config {
            data: self.data.clone(),
            shim: ShimCommand { program: self.shim.clone(), arguments: vec!["shim".into()] },
            node: NodeFacts {
                name: "node-a".into(),
                address: "127.0.0.1".into(),
                millicores: 2000,
                has_gpus: !self.gpus.is_empty(),
                path: std::env::var("PATH").ok(),
                portable: vec![("HOME".into(), "/tmp".into())],
                host: Vec::new(),
            },
            gpus: self.gpus.clone(),
            log_limit: self.log_limit,
            cgroups: CgroupOptions { disabled: !self.cgroups, parent: None },
        }
    }
}

/// A call of the runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Call {
    Prepare(Box<LaunchSpec>),
    Start(ReplicaId, Fence, GenerationContext),
    Stop(ReplicaId, Fence, Millis),
    Remove(ReplicaId, Fence),
}

/// How far a replica is, as the small agent tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    Preparing,
    Ready,
    Running,
    Exited(Exit),
}

/// What the small agent tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    Adopted(ReplicaId, Fence, Told),
    /// Everything that was found has been told.
    Open,
    Seen(ReplicaId, Fence, Told),
}

/// Every image is the machine's own environment; those with certain names are not.
#[derive(Debug, Default)]
pub struct TestImages;

impl Images for TestImages {
    fn environment_for(
        &self,
        image: &str,
        annotations: &BTreeMap<String, String>,
        progress: &mut dyn FnMut(String),
    ) -> Result<ExecutionEnvironment, ImageError> {
        progress(format!("looking for {image}"));
        if let Some(why) = image.strip_prefix("broken:") {
            return Err(ImageError {
                why: format!("no environment for image {image}: {why}"),
                permanent: false,
            });
        }
        let mut found = ExecutionEnvironment {
            description: "the machine's own".into(),
            ..ExecutionEnvironment::default()
        };
        if image.starts_with("unmapped") {
            found.warning = Some(format!("image {image} is not mapped"));
        }
        if let Some(path) = annotations.get("test/path-prefix") {
            found.path_prefix.push(path.into());
        }
        Ok(found)
    }
}

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
pub fn serve(options: &str) -> ExitCode {
    let options: Options = serde_json::from_str(options).expect("the test writes the options");
    let tokio = tokio::runtime::Runtime::new().expect("a tokio runtime can be made");
    tokio.block_on(agent(&options));
    ExitCode::SUCCESS
}

async fn agent(options: &Options) {
    let supervisor = Supervisor::new();
    let tasks = supervisor.tasks().clone();
    let opened = ProcessRuntime::open(options.config(), Arc::new(TestImages), tasks)
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
