//! What a pod template asks of its node: tolerations and the required part of the node affinity, with the checks of
//! `k8s.io/kubernetes/pkg/apis/core/validation`.

use muster_model::{
    LabelRule, Millis, NameRule, NodeTerm, Rule, TaintEffect, Tolerated, Toleration,
};

use crate::findings::Findings;
use crate::node::Node;
use crate::syntax::{LABEL_KEY, LABEL_VALUE, is_label_key, is_label_value};

/// The only field of a node that `matchFields` may name.
const NAME_FIELD: &str = "metadata.name";

/// Reads `tolerations`. One that cannot be used is left out; then the findings say so.
pub(super) fn tolerations(list: &Node<'_>, to: &mut Findings) -> Vec<Toleration> {
    list.items().filter_map(|item| toleration(&item, to)).collect()
}

fn toleration(item: &Node<'_>, to: &mut Findings) -> Option<Toleration> {
    let (key, operator) = (item.field("key"), item.field("operator"));
    let (value, seconds) = (item.field("value"), item.field("tolerationSeconds"));
    let text = value.text().unwrap_or_default();
    if let Some(key_text) = key.nonempty().filter(|text| !is_label_key(text)) {
        to.invalid(key.path(), key_text, LABEL_KEY);
    }
    let tolerated = match operator.nonempty().unwrap_or("Equal") {
        "Equal" => {
            if key.nonempty().is_none() {
                let advice = "without a key it must be Exists, which means any taint";
                to.invalid(operator.path(), operator.text().unwrap_or_default(), advice);
            }
            if !is_label_value(text) {
                to.invalid(value.path(), text, LABEL_VALUE);
            }
            Tolerated::Value(text.to_owned())
        }
        "Exists" => {
            if !text.is_empty() {
                to.invalid(value.path(), text, "operator Exists takes no value");
            }
            Tolerated::Any
        }
        other => {
            to.not_supported(operator.path(), other, &["Equal", "Exists"]);
            return None;
        }
    };
    let effect = effect(&item.field("effect"), to);
    if seconds.is_set() && effect != Some(TaintEffect::NoExecute) {
        let advice = "only the effect NoExecute is tolerated for a time";
        to.invalid(
            item.field("effect").path(),
            item.field("effect").text().unwrap_or_default(),
            advice,
        );
    }
    Some(Toleration {
        key: key.nonempty().map(str::to_owned),
        value: tolerated,
        effect,
        // As in Kubernetes, a time that is not positive is none.
        lasts: seconds.int().map(|seconds| Millis::from_secs(u64::try_from(seconds).unwrap_or(0))),
    })
}

fn effect(field: &Node<'_>, to: &mut Findings) -> Option<TaintEffect> {
    let text = field.nonempty()?;
    let effect = text.parse().ok();
    if effect.is_none() {
        to.not_supported(field.path(), text, &TaintEffect::ALL.map(TaintEffect::as_str));
    }
    effect
}

/// Reads the required terms of `nodeAffinity` below `affinity`.
pub(super) fn affinity(affinity: &Node<'_>, to: &mut Findings) -> Option<Vec<NodeTerm>> {
    let required =
        affinity.field("nodeAffinity").field("requiredDuringSchedulingIgnoredDuringExecution");
    if !required.is_set() {
        return None;
    }
    let terms = required.field("nodeSelectorTerms");
    if terms.items().next().is_none() {
        to.required(terms.path(), "name at least one term");
    }
    Some(terms.items().map(|item| term(&item, to)).collect())
}

fn term(item: &Node<'_>, to: &mut Findings) -> NodeTerm {
    let labels = item.field("matchExpressions").items();
    let labels = labels.filter_map(|expression| {
        let rule = rule(&expression, to)?;
        let key = expression.field("key");
        let text = key.text().unwrap_or_default();
        if !is_label_key(text) {
            to.invalid(key.path(), text, LABEL_KEY);
        }
        Some(LabelRule { key: text.to_owned(), rule })
    });
    let labels = labels.collect();
    let names = item.field("matchFields").items().filter_map(|field| name_rule(&field, to));
    NodeTerm { labels, names: names.collect() }
}

fn rule(expression: &Node<'_>, to: &mut Findings) -> Option<Rule> {
    let (operator, values) = (expression.field("operator"), expression.field("values"));
    let texts = values.texts();
    match operator.text().unwrap_or_default() {
        name @ ("In" | "NotIn") => {
            if texts.is_empty() {
                to.required(values.path(), format!("operator {name} needs values"));
            }
            for (text, at) in texts.iter().zip(0..) {
                if !is_label_value(text) {
                    to.invalid(&values.path().index(at), text.as_str(), LABEL_VALUE);
                }
            }
            Some(if name == "In" { Rule::In(texts) } else { Rule::NotIn(texts) })
        }
        name @ ("Exists" | "DoesNotExist") => {
            if !texts.is_empty() {
                to.forbidden(values.path(), format!("operator {name} takes no values"));
            }
            Some(if name == "Exists" { Rule::Exists } else { Rule::DoesNotExist })
        }
        name @ ("Gt" | "Lt") => {
            let number = match texts.as_slice() {
                [one] => one.parse::<i64>().ok(),
                _ => None,
            };
            let Some(number) = number else {
                let advice = format!("operator {name} needs one value, a whole number");
                to.invalid(values.path(), texts, advice);
                return None;
            };
            Some(if name == "Gt" { Rule::Gt(number) } else { Rule::Lt(number) })
        }
        other => {
            let known = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
            to.not_supported(operator.path(), other, &known);
            None
        }
    }
}

fn name_rule(field: &Node<'_>, to: &mut Findings) -> Option<NameRule> {
    let (key, operator) = (field.field("key"), field.field("operator"));
    let values = field.field("values");
    let mut usable = true;
    let name = key.text().unwrap_or_default();
    if name != NAME_FIELD {
        to.not_supported(key.path(), name, &[NAME_FIELD]);
        usable = false;
    }
    let makes: fn(String) -> NameRule = match operator.text().unwrap_or_default() {
        "NotIn" => NameRule::IsNot,
        "In" => NameRule::Is,
        other => {
            to.not_supported(operator.path(), other, &["In", "NotIn"]);
            return None;
        }
    };
    let mut texts = values.texts();
    match (texts.pop(), texts.is_empty()) {
        (Some(node), true) if usable => Some(makes(node)),
        (Some(_), true) => None,
        _ => {
            to.required(values.path(), "name one node; further ones go into further terms");
            None
        }
    }
}
