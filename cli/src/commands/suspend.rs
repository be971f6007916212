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
    set(&client, (&global.namespace, &target), suspend).await?;
    let word = if suspend { "suspended" } else { "resumed" };
    line(format!("{} {word}", target.name));
    Ok(ExitCode::SUCCESS)
}

/// Sets `spec.runPolicy.suspend` of a job.
pub(super) async fn set(
    client: &Client,
    (namespace, target): (&str, &Target),
    suspend: bool,
) -> Result<(), Failure> {
    let request = api::GetRequest {
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
    };
    let object = client.get(request).await?;
    let mut job: Value = serde_json::from_slice(&object.json).map_err(|error| {
        Failure::refused("M5004", format!("the coordinator sent no JSON: {error}"))
    })?;
    job["spec"]["runPolicy"]["suspend"] = suspend.into();
    let manifest = Manifest {
        name: target.name.clone(),
        bytes: job.to_string().into_bytes(),
        directory: std::env::current_dir()?,
    };
    let reply = submit(client, (&manifest, namespace), How::default()).await?;
    if reply.refused.is_empty() { Ok(()) } else { Err(refused(&manifest, &reply.refused)) }
}
