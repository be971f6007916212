//! `muster get`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use muster_client::api;
use muster_client::api::watch_event::Type;

use crate::args::{Format, Get, Global};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{Rows, job_row, line, print_list, print_one, print_rows};
use crate::target::Target;

pub(super) async fn run(global: &Global, args: &Get) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let (kind, name) = what(args);
    let format = args.output.output;
    if args.watch {
        return watch(&client, global, (args, &kind, name.as_deref())).await;
    }
    if let Some(name) = name {
        let namespace = global.namespace.clone();
        let object = client.get(api::GetRequest { kind, namespace, name }).await?;
        print_one(&object, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let request = api::ListRequest {
        kind,
        namespace: if args.all_namespaces { String::new() } else { global.namespace.clone() },
        job: args.job.clone(),
        selector: args.selector.clone(),
    };
    let reply = client.list(request).await?;
    print_list(&reply.items, (format, args.all_namespaces))?;
    Ok(ExitCode::SUCCESS)
}

/// `get ddp`, `get pytorchjob ddp`, `get pytorchjob/ddp` and `get pods` all mean what they look like.
fn what(args: &Get) -> (String, Option<String>) {
    let target = Target::parse(&args.kind);
    match (&args.name, target.kind.is_empty()) {
        (Some(name), _) => (args.kind.clone(), Some(name.clone())),
        (None, false) => (target.kind, Some(target.name)),
        (None, true) => (target.name, None),
    }
}

/// The pause before a watch that broke is begun anew.
const AGAIN: Duration = Duration::from_millis(200);

async fn watch(
    client: &muster_client::Client,
    global: &Global,
    (args, kind, name): (&Get, &str, Option<&str>),
) -> Result<ExitCode, Failure> {
    let request = api::WatchRequest {
        kind: kind.to_owned(),
        namespace: if args.all_namespaces { String::new() } else { global.namespace.clone() },
        name: name.unwrap_or_default().to_owned(),
    };
    let mut events = client.watch(request.clone()).await?;
    // A watch that was begun anew tells everything again.
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut header = Some(vec!["NAME", "KIND", "STATE", "RUNNING", "RESTARTS", "AGE"]);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let event = match event {
            Ok(Some(event)) => event,
            Err(error) if !error.is_transient() => return Err(error.into()),
            Ok(None) | Err(_) => {
                tokio::time::sleep(AGAIN).await;
                events = client.watch(request.clone()).await?;
                continue;
            }
        };
        let (kind, Some(object)) = (event.r#type(), event.object) else { continue };
        match args.output.output {
            Format::Table | Format::Wide => {
                let mut row = job_row(&object, args.output.output == Format::Wide);
                if kind == Type::Deleted {
                    row[2] = "Deleted".into();
                }
                let key = format!("{:?}", object.r#ref);
                // The last column is the age.
                let news = row[..row.len() - 1].to_vec();
                if shown.insert(key, news.clone()).is_some_and(|old| old == news) {
                    continue;
                }
                if let Some(header) = header.take() {
                    print_rows(&Rows { header, rows: vec![row] });
                } else {
                    line(
                        row.iter().map(|cell| format!("{cell:<12}")).collect::<String>().trim_end(),
                    );
                }
            }
            format => print_one(&object, format)?,
        }
    }
}
