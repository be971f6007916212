//! `muster logs`

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use muster_client::{Client, Error, api};

use super::printed::Printed;
use crate::args::{Global, Logs};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Painter, say};
use crate::target::Target;

pub(super) async fn run(global: &Global, args: &Logs) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let target = Target::parse(&args.job);
    let generation = match (args.generation, args.previous) {
        (Some(generation), _) => generation,
        (None, true) => previous(&client, (&global.namespace, &target)).await?,
        (None, false) => 0,
    };
    let request = api::LogsRequest {
        kind: target.kind,
        namespace: global.namespace.clone(),
        name: target.name,
        replicas: args.replicas.clone(),
        follow: args.follow,
        tail: args.tail,
        generation,
    };
    let mut reading = Reading {
        painter: Painter::new(args.timestamps, None),
        any: false,
        printed: Printed::default(),
    };
    let mut request = request;
    loop {
        match reading.read(&client, &request).await {
            Ok(End::Reader) => break,
            // A coordinator that stops in order ends its streams, too.
            Ok(End::Logs) if !args.follow || is_over(&client, &request).await? => break,
            Ok(End::Logs) => {
                request.tail = None;
                reading.printed.read_again();
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) if args.follow && error.is_transient() => {
                say(format!("{error}; the ranks go on, trying again"));
                // What was printed is not printed again, so that everything is read.
                request.tail = None;
                reading.printed.read_again();
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !reading.any {
        say("there is no output");
    }
    Ok(ExitCode::SUCCESS)
}

/// The pause before a connection that broke is made again.
const AGAIN: Duration = Duration::from_millis(200);

/// Why reading ended.
enum End {
    /// The stream is over.
    Logs,
    /// Nobody wants to read on.
    Reader,
}

/// Whether a job has ended, or one of its generations was asked for, so that nothing more will come.
async fn is_over(client: &Client, request: &api::LogsRequest) -> Result<bool, Failure> {
    if request.generation != 0 {
        return Ok(true);
    }
    let (kind, namespace) = (request.kind.clone(), request.namespace.clone());
    let job = api::GetRequest { kind, namespace, name: request.name.clone() };
    match client.get(job).await {
        Ok(object) => {
            let summary = object.summary.unwrap_or_default();
            Ok(matches!(&*summary.phase, "Succeeded" | "Failed")
                && summary.gang_phase == "Released")
        }
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

struct Reading {
    painter: Painter,
    any: bool,
    printed: Printed,
}

impl Reading {
    /// Prints until the logs end, or whoever reads has seen enough.
    async fn read(&mut self, client: &Client, request: &api::LogsRequest) -> Result<End, Error> {
        let mut stream = client.logs(request.clone()).await?;
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk?,
                _ = tokio::signal::ctrl_c() => return Ok(End::Reader),
            };
            let Some(mut chunk) = chunk else { return Ok(End::Logs) };
            self.printed.take(&mut chunk);
            self.any |= !chunk.lines.is_empty();
            let mut out = std::io::stdout().lock();
            if out.write_all(&self.painter.paint(&chunk)).and_then(|()| out.flush()).is_err() {
                // The reader has gone away, as in `muster logs ddp | head`.
                return Ok(End::Reader);
            }
        }
    }
}

async fn previous(client: &Client, (namespace, target): (&str, &Target)) -> Result<u32, Failure> {
    let request = api::GetRequest {
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
    };
    let generation = client.get(request).await?.summary.unwrap_or_default().generation;
    if generation < 2 {
        let message =
            format!("{} was not restarted, so there is no earlier generation", target.name);
        return Err(Failure::refused("M1005", message));
    }
    Ok(generation - 1)
}
