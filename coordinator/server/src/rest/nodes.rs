//! Changes of nodes: `kubectl cordon`, `uncordon` and `label`.

use std::collections::BTreeMap;

use muster_apimachinery::{ApiStatus, Cause};
use muster_model::LABEL_VALUE;
use muster_state::{Body, CordonNode, LabelNode};
use serde_json::Value;

use super::answer::{self, Answer, brain_status};
use super::body;
use super::read::found;
use super::serve::{Asked, RestContext};
use super::write::{cause, is_dry};
use crate::grpc::checked_labels;

pub(super) async fn patch(context: &RestContext, asked: &Asked) -> Result<Answer, ApiStatus> {
    let kind = body::media_type(&asked.headers);
    let accepted = ["application/merge-patch+json", "application/strategic-merge-patch+json"];
    if !accepted.contains(&&*kind) {
        return Err(body::unsupported(&kind, &accepted));
    }
    let patch = body::json(&asked.bytes)?;
    let dry = is_dry(asked)?;
    // It must be there before anything about it is judged.
    let object = found(context, asked).await?;
    let name = asked.target.name.clone();
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    let empty = serde_json::Map::new();
    let top = patch.as_object().unwrap_or(&empty);
    for (part, fields) in top {
        for (field, value) in fields.as_object().unwrap_or(&empty) {
            match (part.as_str(), field.as_str()) {
                ("spec", "unschedulable") => {
                    let cordon = value.as_bool().unwrap_or(false);
                    changes.push(Body::CordonNode(CordonNode { name: name.clone(), cordon }));
                }
                ("metadata", "labels") => {
                    let labels = labels(value, &mut wrong);
                    let labels = LabelNode { name: name.clone(), labels, overwrite: true };
                    changes.push(Body::LabelNode(labels));
                }
                ("metadata", "name" | "resourceVersion" | "uid") => {}
                _ => wrong.push(invalid(
                    &format!("{part}.{field}"),
                    "of a node only metadata.labels and spec.unschedulable can be patched; `muster nodes taint` taints".into(),
                )),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(ApiStatus::invalid(asked.target.info(), &name, wrong));
    }
    if dry {
        return Ok(answer::json(200, &object));
    }
    for change in changes {
        context.brain.submit(None, change).await.map_err(|error| brain_status(&error))?;
    }
    let object = found(context, asked).await?;
    Ok(answer::json(200, &object))
}

fn invalid(field: &str, message: String) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message, field: field.into() }
}

fn labels(value: &Value, wrong: &mut Vec<Cause>) -> BTreeMap<String, Option<String>> {
    let mut changes = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Null => changes.push((key.clone(), None)),
            Value::String(text) => changes.push((key.clone(), Some(text.clone()))),
            other => {
                let message = format!("Invalid value: {other}: {LABEL_VALUE}");
                wrong.push(invalid(&format!("metadata.labels[{key}]"), message));
            }
        }
    }
    let mut errors = Vec::new();
    let labels = checked_labels(changes, &mut errors);
    wrong.extend(errors.iter().map(cause));
    labels
}
