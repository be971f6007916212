//! `muster wait`

use std::process::ExitCode;
use std::time::Duration;

use muster_client::api::watch_event::Type;
use muster_client::{Client, api};
use serde_json::Value;

use crate::args::{Global, Wait};
use crate::connect::connect;
use crate::exit::{Failure, JOB_FAILED, TIMED_OUT};
use crate::output::{Spinner, elapsed, line};
use crate::target::Target;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    Condition { name: String, value: String },
    Phase(String),
    Gone,
}

/// What an object says about a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Reached,
    NotYet,
    /// It will never be reached.
    Never,
}

/// The phases that a job can be in.
const PHASES: [&str; 7] =
    ["Suspended", "Queued", "Starting", "Running", "Restarting", "Succeeded", "Failed"];
/// The conditions that a job can have.
const CONDITIONS: [&str; 6] =
    ["Created", "Running", "Restarting", "Suspended", "Succeeded", "Failed"];

/// What would never come must not be waited for.
fn one_of(what: &str, given: &str, known: &[&str]) -> Result<String, Failure> {
    if known.iter().any(|one| one.eq_ignore_ascii_case(given)) {
        return Ok(given.to_owned());
    }
    let known = known.join(", ");
    Err(Failure::usage(format!(
        "{given:?} is no {what} that could be waited for; there are: {known}"
    )))
}

pub(super) async fn run(global: &Global, args: &Wait) -> Result<ExitCode, Failure> {
    let goal = Goal::parse(&args.what)?;
    let client = connect(global)?;
    let deadline = tokio::time::Instant::now() + args.timeout;
    for target in &Target::parse_all(&args.jobs) {
        let job = &target.name;
        let one = wait(&client, (&global.namespace, target), &goal);
        match tokio::time::timeout_at(deadline, one).await {
            Ok(result) => result?,
            Err(_) => return Err(too_late(job, (&args.what, args.timeout))),
        }
        line(format!("{job} condition met"));
    }
    Ok(ExitCode::SUCCESS)
}

fn too_late(job: &str, (what, timeout): (&str, Duration)) -> Failure {
    let message = format!("{job} has not reached {what} within {}", elapsed(timeout));
    Failure::refused("M5005", message).with_exit(TIMED_OUT)
}

async fn wait(
    client: &Client,
    (namespace, target): (&str, &Target),
    goal: &Goal,
) -> Result<(), Failure> {
    let request = api::WatchRequest {
        kind: target.kind.clone(),
        namespace: namespace.to_owned(),
        name: target.name.clone(),
    };
    let mut events = client.watch(request.clone()).await?;
    let mut seen = false;
    let mut spinner = None;
    loop {
        let event = match events.next().await {
            Ok(Some(event)) => event,
            Ok(None) => {
                events = client.watch(request.clone()).await?;
                continue;
            }
            Err(error) if error.is_transient() => {
                events = client.watch(request.clone()).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let verdict = match (event.r#type(), &event.object) {
            (Type::Deleted, _) if *goal == Goal::Gone => Verdict::Reached,
            (Type::Deleted, _) => {
                let message = format!("{} was deleted", target.name);
                return Err(Failure::refused("M1005", message));
            }
            (Type::Synced, _) if !seen && *goal == Goal::Gone => Verdict::Reached,
            (Type::Synced, _) if !seen => {
                let message = format!("job {:?} not found", target.name);
                return Err(Failure::refused("M1005", message));
            }
            (Type::Synced, _) => {
                let what = format!("waiting for {}", target.name);
                spinner.get_or_insert_with(|| Spinner::start(&what));
                continue;
            }
            (_, Some(object)) => {
                seen = true;
                goal.judge(object)
            }
            (_, None) => Verdict::NotYet,
        };
        match verdict {
            Verdict::Reached => return Ok(()),
            Verdict::NotYet => {}
            Verdict::Never => {
                let summary = event.object.and_then(|object| object.summary).unwrap_or_default();
                let message =
                    format!("{} has ended as {}: {}", target.name, summary.phase, summary.detail);
                return Err(Failure::refused("M5006", message).with_exit(JOB_FAILED));
            }
        }
    }
}

// === impl Goal ===

impl Goal {
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.splitn(3, '=').collect();
        match parts[..] {
            ["delete"] => Ok(Self::Gone),
            ["phase", phase] => Ok(Self::Phase(one_of("phase", phase, &PHASES)?)),
            ["condition", name] => Ok(Self::Condition {
                name: one_of("condition", name, &CONDITIONS)?,
                value: "True".into(),
            }),
            ["condition", name, value] => Ok(Self::Condition {
                name: one_of("condition", name, &CONDITIONS)?,
                value: one_of("a condition's status", value, &["True", "False", "Unknown"])?,
            }),
            _ => Err(Failure::usage(format!(
                "--for={text} cannot be waited for; write condition=NAME[=VALUE], phase=PHASE or delete"
            ))),
        }
    }

    fn judge(&self, object: &api::Object) -> Verdict {
        let summary = object.summary.clone().unwrap_or_default();
        let reached = match self {
            Self::Gone => false,
            Self::Phase(phase) => summary.phase.eq_ignore_ascii_case(phase),
            Self::Condition { name, value } => {
                let json: Value = serde_json::from_slice(&object.json).unwrap_or(Value::Null);
                let conditions =
                    json["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.iter().any(|condition| {
                    let is = |key: &str, wanted: &str| {
                        condition[key]
                            .as_str()
                            .is_some_and(|text| text.eq_ignore_ascii_case(wanted))
                    };
                    is("type", name) && is("status", value)
                })
            }
        };
        let over = matches!(&*summary.phase, "Succeeded" | "Failed");
        match (reached, over, self) {
            (true, ..) => Verdict::Reached,
            (false, true, Self::Gone) => Verdict::NotYet,
            (false, true, _) => Verdict::Never,
            (false, false, _) => Verdict::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_kubectl_writes_them() {
        assert_eq!(Goal::parse("delete").unwrap(), Goal::Gone);
        assert_eq!(Goal::parse("phase=Running").unwrap(), Goal::Phase("Running".into()));
        let condition =
            |value: &str| Goal::Condition { name: "Succeeded".into(), value: value.into() };
        assert_eq!(Goal::parse("condition=Succeeded").unwrap(), condition("True"));
        assert_eq!(Goal::parse("condition=Succeeded=false").unwrap(), condition("false"));
        assert!(Goal::parse("jsonpath={.x}").is_err());
    }

    #[test]
    fn a_job_that_has_ended_otherwise_is_not_waited_for() {
        let object = |phase: &str, json: &str| api::Object {
            summary: Some(api::JobSummary { phase: phase.into(), ..Default::default() }),
            json: json.to_owned().into(),
            r#ref: None,
        };
        let goal = Goal::parse("condition=Succeeded").unwrap();
        let holds = r#"{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}"#;
        assert_eq!(goal.judge(&object("Succeeded", holds)), Verdict::Reached);
        assert_eq!(goal.judge(&object("Failed", "{}")), Verdict::Never);
        assert_eq!(goal.judge(&object("Running", "{}")), Verdict::NotYet);
        assert_eq!(Goal::Gone.judge(&object("Failed", "{}")), Verdict::NotYet);
    }
}
