//! `muster nodes drain`: every gang leaves, one after the other or all together, and the command ends when nothing runs on
//! the nodes any more.
//!
//! The nodes are cordoned first, all of them, so that a gang that leaves one does not go to another. Every step may be
//! repeated, so a drain that was interrupted is simply started again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use muster_client::{Client, api};

use super::change::cordon_all;
use super::told;
use crate::args::Drain;
use crate::exit::{Failure, TIMED_OUT};
use crate::output::{Board, elapsed};

/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A gang on the nodes that are drained.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gang {
    reference: api::Ref,
    phase: String,
    /// The first of the nodes that it has live ranks on.
    node: String,
    /// How many live there, on all of the nodes.
    here: u32,
    replicas: u32,
    never_restarts: bool,
}

/// What was seen at one look, by the jobs' uids.
#[derive(Debug, Default)]
struct Seen {
    gangs: BTreeMap<String, Gang>,
    unreachable: Vec<String>,
}

pub(super) async fn run(client: &Client, args: &Drain) -> Result<ExitCode, Failure> {
    let mut cordoned = Vec::new();
    if let Some(missing) = cordon_all(client, (&args.names, true), &mut cordoned).await? {
        return Err(missing);
    }
    let mut board = Board::new();
    for name in &args.names {
        board.say(&format!("node/{name} cordoned"));
    }
    let mut evicted = BTreeMap::new();
    let work = empty(client, args, (&mut board, &mut evicted));
    let ended = match args.timeout.filter(|timeout| !timeout.is_zero()) {
        None => work.await,
        Some(timeout) => match tokio::time::timeout(timeout, work).await {
            Ok(ended) => ended,
            Err(_) => Err(too_late(client, (args, timeout)).await),
        },
    };
    ended?;
    for reference in evicted.values() {
        tell_where(client, reference, &board).await;
    }
    drop(board);
    let mut done = Vec::new();
    for name in &args.names {
        let request =
            api::GetRequest { kind: "node".into(), name: name.clone(), ..Default::default() };
        done.push((client.get(request).await?, "drained".to_owned()));
    }
    told(&done, args.output.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Evicts until nothing is left.
async fn empty(
    client: &Client,
    args: &Drain,
    (board, evicted): (&mut Board, &mut BTreeMap<String, api::Ref>),
) -> Result<(), Failure> {
    let mut warned = Vec::new();
    loop {
        let seen = look(client, &args.names).await?;
        if seen.gangs.is_empty() {
            return Ok(());
        }
        for name in seen.unreachable.iter().filter(|name| !warned.contains(*name)) {
            board.say(&format!(
                "node {name} cannot be reached, and what it ran may still run: start its agent, or, if the machine is gone \
                 for good, say so with `muster nodes remove {name}`"
            ));
        }
        warned = seen.unreachable.clone();
        may_leave(&seen, args)?;
        for (uid, gang) in next(&seen, (args, evicted)) {
            let Gang { reference, here, replicas, .. } = gang;
            let kind = reference.kind.to_lowercase();
            if evicted.insert(uid.clone(), reference.clone()).is_none() {
                board.say(&format!(
                    "evicting {kind}/{} of {} ({here} of its {replicas} ranks are here)",
                    reference.name, reference.namespace
                ));
            }
            evict(client, args, (uid, &gang.node)).await?;
        }
        board.show(&waiting(&seen), false);
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(client: &Client, names: &[String]) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    for name in names {
        let reply = match client.gangs_on(name).await {
            Ok(reply) => reply,
            // Somebody has removed it meanwhile: nothing runs there, they say.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
        };
        if !reply.reachable && !reply.gangs.is_empty() {
            seen.unreachable.push(name.clone());
        }
        for gang in reply.gangs {
            let reference = gang.r#ref.unwrap_or_default();
            let known = seen.gangs.entry(reference.uid.clone()).or_insert_with(|| Gang {
                reference,
                phase: gang.gang_phase,
                node: name.clone(),
                here: 0,
                replicas: gang.replicas,
                never_restarts: gang.never_restarts,
            });
            known.here += gang.here;
        }
    }
    Ok(seen)
}

/// Who is told to leave now: everybody, or one at a time, the next when the one before has gone. Who was leaving before
/// this drain is only told to hurry.
fn next<'s>(
    seen: &'s Seen,
    (args, evicted): (&Drain, &BTreeMap<String, api::Ref>),
) -> Vec<(&'s String, &'s Gang)> {
    let (leaving, staying): (Vec<_>, Vec<_>) =
        seen.gangs.iter().partition(|(_, gang)| is_leaving(gang));
    let at_once = match (args.parallel, leaving.is_empty()) {
        (true, _) => staying.len(),
        (false, true) => 1,
        (false, false) => 0,
    };
    let hurried = leaving
        .into_iter()
        .filter(|(uid, _)| args.grace_period.is_some() && !evicted.contains_key(*uid));
    hurried.chain(staying.into_iter().take(at_once)).collect()
}

fn is_leaving(gang: &Gang) -> bool {
    gang.phase == "Stopping"
}

/// All jobs that nobody may restart are named at once, before any other one is told to leave.
fn may_leave(seen: &Seen, args: &Drain) -> Result<(), Failure> {
    // One that drains has succeeded, and only its last ranks are told to hurry.
    let would_restart = |gang: &&Gang| !is_leaving(gang) && gang.phase != "Draining";
    let refused = seen.gangs.values().filter(|gang| gang.never_restarts).filter(would_restart);
    let names: Vec<String> = refused
        .map(|gang| format!("{}/{}", gang.reference.kind.to_lowercase(), gang.reference.name))
        .collect();
    if args.force || names.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(
        "M2009",
        format!(
            "jobs with restartPolicy Never run there: {}; an evicted gang starts anew elsewhere. Use --force if they may, or \
             wait for their ends; the nodes stay cordoned",
            names.join(", ")
        ),
    ))
}

async fn evict(
    client: &Client,
    args: &Drain,
    (uid, node): (&str, &str),
) -> Result<(), muster_client::Error> {
    let grace_ms =
        args.grace_period.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let (job_uid, node) = (uid.to_owned(), node.to_owned());
    client.evict_gang(api::EvictGangRequest { job_uid, node, grace_ms, force: args.force }).await
}

fn waiting(seen: &Seen) -> String {
    let ranks: u32 = seen.gangs.values().map(|gang| gang.here).sum();
    let mut names: Vec<&str> =
        seen.gangs.values().take(4).map(|gang| &*gang.reference.name).collect();
    if seen.gangs.len() > names.len() {
        names.push("...");
    }
    format!("{ranks} ranks of {} jobs left: {}", seen.gangs.len(), names.join(", "))
}

async fn too_late(client: &Client, (args, timeout): (&Drain, Duration)) -> Failure {
    let mut message = format!("{} not drained within {}", args.names.join(", "), elapsed(timeout));
    if let Ok(seen) = look(client, &args.names).await {
        // Writing to a string cannot fail.
        let _ = write!(message, "; {}", waiting(&seen));
    }
    Failure::refused("M5005", message + "; the nodes stay cordoned").with_exit(TIMED_OUT)
}

/// What has become of an evicted job.
async fn tell_where(client: &Client, reference: &api::Ref, board: &Board) {
    let (kind, name) = (reference.kind.to_lowercase(), &reference.name);
    let request = api::ExplainRequest {
        kind: reference.kind.clone(),
        namespace: reference.namespace.clone(),
        name: name.clone(),
    };
    // The drain is done, whatever has become of the job since.
    let Ok(reply) = client.explain(request).await else { return };
    let summary = reply.summary.unwrap_or_default();
    let why =
        if summary.detail.is_empty() { String::new() } else { format!(": {}", summary.detail) };
    board.say(&format!("{kind}/{name} evicted, now {}{why}", summary.phase));
}
