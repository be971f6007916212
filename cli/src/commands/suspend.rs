//! `muster suspend` and `muster resume`

use std::process::ExitCode;

use muster_client::{Client, api};
use serde_json::Value;

use super::submit::{How, refused, submit};
use crate::args::{Global, Named};
use crate::connect::connect;
use crate::exit::Failure;
use crate::files::Manifest;
use crate::output::line;
use crate::target::Target;

pub(super) async fn run(
    global: &Global,
    (args, suspend): (&Named, bool),
) -> Result<ExitCode, Failure> {
    let target = args.target()?;
    let client = connect(global)?;
    let changed = set(&client, (&global.namespace, &target), suspend).await?;
    let said = match (suspend, changed) {
        (true, true) => "suspended",
        (false, true) => "resumed",
        (true, false) => "is suspended already",
        (false, false) => "is not suspended",
    };
    line(format!("{} {said}", target.name));
    Ok(ExitCode::SUCCESS)
}

/// How often a change that was overtaken is made again.
const ATTEMPTS: usize = 5;

/// Sets `spec.runPolicy.suspend` of a job that exists: of this very one, and nothing else of it. Answers whether that
/// has changed anything.
pub(super) async fn set(
    client: &Client,
    (namespace, target): (&str, &Target),
    suspend: bool,
) -> Result<bool, Failure> {
    let request = api::GetRequest {
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
    };
    for _ in 1..ATTEMPTS {
        match once(client, (namespace, target), (&request, suspend)).await {
            Err(failure) if failure.code() == Some(OVERTAKEN) => {}
            other => return other,
        }
    }
    once(client, (namespace, target), (&request, suspend)).await
}

/// Somebody else changed the job between the look at it and the change.
const OVERTAKEN: &str = "M2002";

async fn once(
    client: &Client,
    (namespace, target): (&str, &Target),
    (request, suspend): (&api::GetRequest, bool),
) -> Result<bool, Failure> {
    let object = client.get(request.clone()).await?;
    let mut job: Value = serde_json::from_slice(&object.json).map_err(|error| {
        Failure::refused("M5004", format!("the coordinator sent no JSON: {error}"))
    })?;
    let phase = object.summary.unwrap_or_default().phase;
    if matches!(&*phase, "Succeeded" | "Failed") {
        let message = format!(
            "{} has ended ({}); delete it and create it anew to run it again",
            target.name,
            phase.to_lowercase()
        );
        return Err(Failure::refused("M1008", message));
    }
    let old = &mut job["spec"]["runPolicy"]["suspend"];
    if old.as_bool().unwrap_or(false) == suspend {
        return Ok(false);
    }
    *old = suspend.into();
    let manifest = Manifest {
        name: target.name.clone(),
        bytes: job.to_string().into_bytes(),
        directory: std::env::current_dir()?,
    };
    let reply =
        submit(client, (&manifest, namespace), How { update_only: true, ..How::default() }).await?;
    if reply.refused.is_empty() { Ok(true) } else { Err(refused(&manifest, &reply.refused)) }
}
