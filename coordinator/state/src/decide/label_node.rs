//! An operator sets labels of a node, or takes them away. They lie over those that the agent registers with, so that they
//! survive its next registration; a label of the agent that is taken away is hidden.

use muster_model::Reason;

use super::named_node;
use crate::command::{Accepted, LabelNode};
use crate::draft::Draft;

pub(super) fn decide(draft: &mut Draft<'_>, change: &LabelNode) -> Result<Accepted, Reason> {
    let (id, mut node) = named_node(draft, &change.name)?;
    let labels = node.all_labels();
    let taken = change.labels.iter().filter_map(|(key, new)| {
        let (old, new) = (labels.get(key)?, new.as_ref()?);
        (old != new).then(|| format!("label {key} (it is {old:?}, not {new:?})"))
    });
    let taken: Vec<String> = if change.overwrite { Vec::new() } else { taken.collect() };
    if !taken.is_empty() {
        return Err(Reason::NodeHasOther { node: node.name, what: taken });
    }
    for (key, value) in &change.labels {
        match value {
            Some(value) => node.set_labels.insert(key.clone(), Some(value.clone())),
            None if node.labels.contains_key(key) => node.set_labels.insert(key.clone(), None),
            None => node.set_labels.remove(key),
        };
    }
    draft.set_node(id, Some(node));
    Ok(Accepted::NodeChanged)
}
