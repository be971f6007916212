//! Cordon, uncordon, label and taint.

use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

use muster_client::{Client, api};
use muster_model::{LabelChange, TaintChange};

use super::told;
use crate::args::{Changes, Global, SomeNodes};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::say;

pub(super) async fn cordon(
    client: &Client,
    (nodes, cordon): (&SomeNodes, bool),
) -> Result<ExitCode, Failure> {
    let mut done = Vec::new();
    let refused = cordon_all(client, (&nodes.names, cordon), &mut done).await?;
    told(&done, nodes.output.output)?;
    refused.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Cordons what there is and says what is not; the last of that is the result.
pub(super) async fn cordon_all(
    client: &Client,
    (names, cordon): (&[String], bool),
    done: &mut Vec<(api::Object, String)>,
) -> Result<Option<Failure>, Failure> {
    let word = if cordon { "cordoned" } else { "uncordoned" };
    let mut missing: Option<Failure> = None;
    for name in names {
        match client.cordon_node(name, cordon).await {
            Ok(reply) => {
                let already = if reply.changed { "" } else { "already " };
                done.push((reply.node.unwrap_or_default(), format!("{already}{word}")));
            }
            Err(error) if error.is_not_found() => {
                if let Some(earlier) = missing.replace(error.into()) {
                    say(earlier.to_string());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

pub(super) async fn label(global: &Global, args: &Changes) -> Result<ExitCode, Failure> {
    let changes: Vec<LabelChange> = parse(&args.changes)?;
    let removes = changes.iter().all(|change| change.value.is_none());
    let changes = changes.into_iter();
    let request = api::LabelNodeRequest {
        name: args.name.clone(),
        changes: changes.map(|c| api::LabelChange { key: c.key, value: c.value }).collect(),
        overwrite: args.overwrite,
        request_id: Vec::new(),
    };
    let reply = connect(global)?.label_node(request).await?;
    let what = match (reply.changed, removes) {
        (false, _) => "not labeled",
        (true, true) => "unlabeled",
        (true, false) => "labeled",
    };
    finish(reply, what, args)
}

pub(super) async fn taint(global: &Global, args: &Changes) -> Result<ExitCode, Failure> {
    let changes: Vec<TaintChange> = parse(&args.changes)?;
    let removes = changes.iter().all(|change| matches!(change, TaintChange::Remove { .. }));
    let request = api::TaintNodeRequest {
        name: args.name.clone(),
        changes: changes.into_iter().map(wire).collect(),
        overwrite: args.overwrite,
        request_id: Vec::new(),
    };
    let reply = connect(global)?.taint_node(request).await?;
    let what = match (reply.changed, removes) {
        (false, _) => "not tainted",
        (true, true) => "untainted",
        (true, false) => "tainted",
    };
    finish(reply, what, args)
}

fn wire(change: TaintChange) -> api::TaintChange {
    match change {
        TaintChange::Set(taint) => api::TaintChange {
            key: taint.key,
            value: taint.value,
            effect: taint.effect.as_str().into(),
            remove: false,
        },
        TaintChange::Remove { key, effect } => api::TaintChange {
            key,
            value: String::new(),
            effect: effect.map(|effect| effect.as_str().to_owned()).unwrap_or_default(),
            remove: true,
        },
    }
}

fn finish(reply: api::NodeReply, what: &str, args: &Changes) -> Result<ExitCode, Failure> {
    let done = [(reply.node.unwrap_or_default(), what.to_owned())];
    told(&done, args.output.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads all changes, or says everything that is wrong with them.
fn parse<T: FromStr>(texts: &[String]) -> Result<Vec<T>, Failure>
where
    T::Err: Display,
{
    let mut wrong = Vec::new();
    let mut changes = Vec::new();
    for text in texts {
        match text.parse::<T>() {
            Ok(change) => changes.push(change),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if wrong.is_empty() { Ok(changes) } else { Err(Failure::usage(wrong.join("\n  "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let texts = ["zone=a", "b c=d", "plain", "x=-"].map(ToOwned::to_owned);
        let error = parse::<LabelChange>(&texts).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
        let texts = ["a:NoExecute", "a=b", "a:Never"].map(ToOwned::to_owned);
        let error = parse::<TaintChange>(&texts).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}
