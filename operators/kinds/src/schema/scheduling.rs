//! Affinity, tolerations and spreading. What a node must have is acted on; the rest is known and checked.

use super::Type::{self, Int32, Int64, List, Map, Object as Obj, Text};
use super::{Object, ignored, used};

pub(super) static TOLERATION: Object = Object {
    name: "Toleration",
    fields: &[
        used("effect", Text),
        used("key", Text),
        used("operator", Text),
        used("tolerationSeconds", Int64),
        used("value", Text),
    ],
};

pub(super) static SPREAD: Object = Object {
    name: "TopologySpreadConstraint",
    fields: &[
        used("labelSelector", SELECTOR),
        used("matchLabelKeys", List(&Text)),
        used("maxSkew", Int32),
        used("minDomains", Int32),
        used("nodeAffinityPolicy", Text),
        used("nodeTaintsPolicy", Text),
        used("topologyKey", Text),
        used("whenUnsatisfiable", Text),
    ],
};

pub(super) static AFFINITY: Object = Object {
    name: "Affinity",
    fields: &[
        used("nodeAffinity", Obj(&NODE_AFFINITY)),
        ignored("podAffinity", Obj(&POD_AFFINITY)),
        ignored("podAntiAffinity", Obj(&POD_AFFINITY)),
    ],
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const SELECTOR: Type = Obj(&LABEL_SELECTOR);
const EXPRESSIONS: Type = List(&Obj(&EXPRESSION));

static LABEL_SELECTOR: Object = Object {
    name: "LabelSelector",
    fields: &[used("matchExpressions", EXPRESSIONS), used("matchLabels", Map(&Text))],
};

static EXPRESSION: Object = Object {
    name: "LabelSelectorRequirement",
    fields: &[used("key", Text), used("operator", Text), used("values", List(&Text))],
};

static NODE_AFFINITY: Object = Object {
    name: "NodeAffinity",
    fields: &[used(REQUIRED, Obj(&NODE_SELECTOR)), ignored(PREFERRED, List(&Obj(&PREFERRED_NODE)))],
};

static NODE_SELECTOR: Object =
    Object { name: "NodeSelector", fields: &[used("nodeSelectorTerms", List(&Obj(&NODE_TERM)))] };

static NODE_TERM: Object = Object {
    name: "NodeSelectorTerm",
    fields: &[used("matchExpressions", EXPRESSIONS), used("matchFields", EXPRESSIONS)],
};

static PREFERRED_NODE: Object = Object {
    name: "PreferredSchedulingTerm",
    fields: &[used("preference", Obj(&NODE_TERM)), used("weight", Int32)],
};

static POD_AFFINITY: Object = Object {
    name: "PodAffinity",
    fields: &[
        used(REQUIRED, List(&Obj(&POD_TERM))),
        used(PREFERRED, List(&Obj(&WEIGHTED_POD_TERM))),
    ],
};

static WEIGHTED_POD_TERM: Object = Object {
    name: "WeightedPodAffinityTerm",
    fields: &[used("podAffinityTerm", Obj(&POD_TERM)), used("weight", Int32)],
};

static POD_TERM: Object = Object {
    name: "PodAffinityTerm",
    fields: &[
        used("labelSelector", SELECTOR),
        used("matchLabelKeys", List(&Text)),
        used("mismatchLabelKeys", List(&Text)),
        used("namespaceSelector", SELECTOR),
        used("namespaces", List(&Text)),
        used("topologyKey", Text),
    ],
};
