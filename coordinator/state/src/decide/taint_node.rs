//! An operator taints a node, or takes taints away. Gangs that a new `NoExecute` taint drives away leave when its timer is
//! due: at once, unless they tolerate it for a while.

use muster_model::{Reason, TaintChange};

use super::named_node;
use crate::command::{Accepted, TaintNode};
use crate::draft::Draft;
use crate::lifecycle;
use crate::record::NodeTaint;

pub(super) fn decide(draft: &mut Draft<'_>, change: &TaintNode) -> Result<Accepted, Reason> {
    let (id, mut node) = named_node(draft, &change.name)?;
    let mut taken = Vec::new();
    let mut missing = Vec::new();
    // What goes goes first, so that one change may replace a taint by another.
    for change in &change.changes {
        let TaintChange::Remove { key, effect } = change else { continue };
        let before = node.taints.len();
        node.taints.retain(|mark| {
            mark.taint.key != *key || effect.is_some_and(|effect| mark.taint.effect != effect)
        });
        if node.taints.len() == before {
            let effect = effect.map(|effect| format!(":{}", effect.as_str())).unwrap_or_default();
            missing.push(format!("{key}{effect}"));
        }
    }
    for taint in change.changes.iter().filter_map(|change| match change {
        TaintChange::Set(taint) => Some(taint),
        TaintChange::Remove { .. } => None,
    }) {
        match node.taints.iter_mut().find(|mark| mark.taint.is_same_mark(taint)) {
            Some(mark) if mark.taint == *taint => {}
            Some(mark) if change.overwrite => {
                *mark = NodeTaint { taint: taint.clone(), added: draft.now };
            }
            Some(mark) => taken.push(format!("taint {}", mark.taint)),
            None => node.taints.push(NodeTaint { taint: taint.clone(), added: draft.now }),
        }
    }
    if !missing.is_empty() {
        return Err(Reason::TaintNotFound { node: node.name, taints: missing });
    }
    if !taken.is_empty() {
        return Err(Reason::NodeHasOther { node: node.name, what: taken });
    }
    node.taints.sort_by(|a, b| (&a.taint.key, a.taint.effect).cmp(&(&b.taint.key, b.taint.effect)));
    draft.set_node(id, Some(node));
    lifecycle::taints_changed(draft, id);
    Ok(Accepted::NodeChanged)
}
