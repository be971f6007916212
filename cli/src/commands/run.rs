//! `muster run`: submit, follow, and exit with the jobs' result.

use std::process::ExitCode;
use std::sync::Arc;

use muster_client::{Client, api};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::delete;
use super::follow::{Ended, Follower};
use super::submit::{How, check_all, refused, show_warnings, submit};
use crate::args::{Format, Global, Run};
use crate::connect::connect_or_start;
use crate::exit::{Failure, INTERRUPTED, JOB_FAILED};
use crate::files::{self, Manifest};
use crate::output::{Board, line, print_value, say};
use crate::target::Target;

/// Finds the coordinator again when it has gone away; starts the embedded one again where that is
/// what was used.
#[derive(Debug, Clone)]
pub(super) struct Reconnect {
    global: Global,
}

impl Reconnect {
    /// A client of the coordinator as it can be reached now.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let global = self.global.clone();
        let connected = tokio::task::spawn_blocking(move || connect_or_start(&global)).await;
        connected.unwrap_or_else(|error| Err(Failure::unreachable("M5001", error.to_string())))
    }
}

pub(super) async fn run(global: &Global, args: &Run) -> Result<ExitCode, Failure> {
    let mut manifests = files::read_all(&args.files)?;
    if let Some(directory) = &args.workdir {
        let directory = std::fs::canonicalize(directory)?;
        manifests.iter_mut().for_each(|manifest| manifest.directory.clone_from(&directory));
    }
    let reconnect = Reconnect { global: global.clone() };
    let client = reconnect.client().await?;
    check_all(&client, &global.namespace, &manifests).await?;
    let mut jobs = Vec::new();
    for manifest in &manifests {
        jobs.extend(create(&client, (manifest, &global.namespace)).await?);
    }
    if args.detach {
        for job in &jobs {
            line(format!("{}/{}", job.kind.to_lowercase(), job.name));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let ended = follow(&reconnect, &jobs, args).await?;
    if args.rm {
        for job in &jobs {
            let target = Target { kind: job.kind.clone(), name: job.name.clone() };
            match delete::delete(&client, &job.namespace, &target).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
    }
    report(&jobs, &ended, args.output.output)?;
    let worst = ended.iter().map(Ended::exit_code).max().unwrap_or(0);
    Ok(ExitCode::from(worst))
}

/// Creates the jobs of a manifest. A job of the same name that has ended makes room for the new
/// one; one that still runs is followed if it is the same, and otherwise in the way.
async fn create(
    client: &Client,
    (manifest, namespace): (&Manifest, &str),
) -> Result<Vec<api::Ref>, Failure> {
    loop {
        let only = How { create_only: true, ..How::default() };
        let reply = submit(client, (manifest, namespace), only).await?;
        if reply.refused.is_empty() {
            reply.applied.iter().for_each(show_warnings);
            return Ok(reply.applied.into_iter().filter_map(|applied| applied.r#ref).collect());
        }
        let in_the_way: Option<Vec<api::Ref>> = reply
            .refused
            .iter()
            .map(|refusal| refusal.r#ref.clone().filter(|_| is_in_the_way(&refusal.code)))
            .collect();
        let Some(in_the_way) = in_the_way else {
            return Err(refused(manifest, &reply.refused));
        };
        let mut made_room = false;
        for job in &in_the_way {
            made_room |= make_room(client, job).await?;
        }
        if !made_room {
            return attach(client, (manifest, namespace)).await;
        }
    }
}

/// A job of that name exists, or is being deleted.
fn is_in_the_way(code: &str) -> bool {
    matches!(code, "M1004" | "M1007")
}

/// Deletes a job that has ended; answers whether there is room now.
async fn make_room(client: &Client, job: &api::Ref) -> Result<bool, Failure> {
    let request = api::GetRequest {
        kind: job.kind.clone(),
        namespace: job.namespace.clone(),
        name: job.name.clone(),
    };
    let object = match client.get(request).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let summary = object.summary.unwrap_or_default();
    if !summary.deleting {
        if !matches!(&*summary.phase, "Succeeded" | "Failed") {
            return Ok(false);
        }
        say(format!(
            "{} of an earlier run ({}) is replaced",
            job.name,
            summary.phase.to_lowercase()
        ));
        let target = Target { kind: job.kind.clone(), name: job.name.clone() };
        match delete::delete(client, &job.namespace, &target).await {
            // Somebody else has made room.
            Err(error) if error.is_not_found() => return Ok(true),
            other => drop(other?),
        }
    }
    delete::wait_until_gone(client, job).await?;
    Ok(true)
}

/// Follows jobs that run already, if the manifest says what they are.
async fn attach(
    client: &Client,
    (manifest, namespace): (&Manifest, &str),
) -> Result<Vec<api::Ref>, Failure> {
    let reply = submit(client, (manifest, namespace), How::default()).await?;
    if !reply.refused.is_empty() {
        return Err(refused(manifest, &reply.refused));
    }
    let jobs: Vec<api::Ref> =
        reply.applied.into_iter().filter_map(|applied| applied.r#ref).collect();
    for job in &jobs {
        say(format!("{} runs already; following it", job.name));
    }
    Ok(jobs)
}

async fn follow(
    reconnect: &Reconnect,
    jobs: &[api::Ref],
    args: &Run,
) -> Result<Vec<Ended>, Failure> {
    let board = Arc::new(Mutex::new(Board::new()));
    let mut followers = JoinSet::new();
    for (position, job) in jobs.iter().enumerate() {
        let follower = Follower::new((job.clone(), jobs.len() > 1), args.quiet, Arc::clone(&board));
        let reconnect = reconnect.clone();
        followers.spawn(async move { (position, follower.run(&reconnect).await) });
    }
    let mut ended = Vec::new();
    while let Some(joined) = followers.join_next().await {
        let (position, result) =
            joined.map_err(|error| Failure::unreachable("M5004", error.to_string()))?;
        ended.push((position, result?));
    }
    ended.sort_by_key(|(position, _)| *position);
    Ok(ended.into_iter().map(|(_, ended)| ended).collect())
}

fn report(jobs: &[api::Ref], ended: &[Ended], format: Format) -> Result<(), Failure> {
    if matches!(format, Format::Json | Format::Yaml) {
        let values = jobs.iter().zip(ended).map(|(job, ended)| ended.to_json(job)).collect();
        return print_value(&serde_json::Value::Array(values), format);
    }
    for (job, ended) in jobs.iter().zip(ended) {
        say(ended.sentence(job));
    }
    Ok(())
}

impl Ended {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Succeeded(_) => 0,
            Self::Failed(_) | Self::Gone => JOB_FAILED,
            Self::Interrupted => INTERRUPTED,
        }
    }
}
