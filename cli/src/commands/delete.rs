//! `muster delete`

use std::process::ExitCode;

use muster_client::{Client, api};

use super::submit::{How, submit};
use crate::args::{Delete, Global};
use crate::connect::connect;
use crate::exit::Failure;
use crate::files;
use crate::output::{Spinner, line, say};
use crate::target::Target;

pub(super) async fn run(global: &Global, args: &Delete) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    let mut targets = Target::parse_all(&args.jobs);
    for manifest in files::read_all(&args.files)? {
        let how = How { dry_run: true, ..How::default() };
        let reply = submit(&client, (&manifest, &global.namespace), how).await?;
        let named = reply.applied.into_iter().filter_map(|applied| applied.r#ref);
        let immutable = reply.refused.into_iter().filter_map(|refused| refused.r#ref);
        targets.extend(named.chain(immutable).map(|r| Target { kind: r.kind, name: r.name }));
    }
    if targets.is_empty() {
        return Err(Failure::refused("M1003", "these manifests name no job that could be deleted"));
    }
    let mut missing = None;
    for target in &targets {
        let deleted = match delete(&client, &global.namespace, target).await {
            Ok(reference) => reference,
            Err(error) if error.is_not_found() && args.ignore_not_found => continue,
            // The others are deleted all the same; the first one that was not there is the result.
            Err(error) if error.is_not_found() => {
                match &missing {
                    None => missing = Some(error),
                    Some(_) => say(error.to_string()),
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !args.no_wait {
            wait_until_gone(&client, &deleted).await?;
        }
        line(format!("{}/{} deleted", deleted.kind.to_lowercase(), deleted.name));
    }
    missing.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

/// Deletes a job; its ranks are being stopped when this returns.
pub(super) async fn delete(
    client: &Client,
    namespace: &str,
    target: &Target,
) -> Result<api::Ref, muster_client::Error> {
    let request = api::DeleteRequest {
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
        request_id: Vec::new(),
    };
    Ok(client.delete(request).await?.r#ref.unwrap_or_default())
}

/// Waits until a job that is being deleted is gone.
pub(super) async fn wait_until_gone(client: &Client, job: &api::Ref) -> Result<(), Failure> {
    let request = api::WatchRequest {
        kind: job.kind.clone(),
        namespace: job.namespace.clone(),
        name: job.name.clone(),
    };
    let mut events = client.watch(request).await?;
    let mut spinner = None;
    let mut seen = false;
    while let Some(event) = events.next().await? {
        let ours = event.object.and_then(|object| object.r#ref).is_some_and(|r| r.uid == job.uid);
        match (event.r#type, ours) {
            (kind, true) if kind == i32::from(api::watch_event::Type::Deleted) => return Ok(()),
            (_, true) => seen = true,
            (kind, false) if kind == i32::from(api::watch_event::Type::Synced) => {
                if !seen {
                    return Ok(());
                }
                let what = format!("waiting until every rank of {} has stopped", job.name);
                spinner.get_or_insert_with(|| Spinner::start(&what));
            }
            _ => {}
        }
    }
    Ok(())
}
