//! `muster logs`

use std::io::Write;
use std::process::ExitCode;

use muster_client::{Client, api};

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
    let mut stream = client.logs(request).await?;
    let painter = Painter::new(args.timestamps, None);
    let mut any = false;
    loop {
        let chunk = tokio::select! {
            chunk = stream.next() => chunk?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let Some(chunk) = chunk else { break };
        any |= !chunk.lines.is_empty();
        let mut out = std::io::stdout().lock();
        if out.write_all(&painter.paint(&chunk)).and_then(|()| out.flush()).is_err() {
            // The reader has gone away, as in `muster logs ddp | head`.
            break;
        }
    }
    if !any {
        say("no output yet");
    }
    Ok(ExitCode::SUCCESS)
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
