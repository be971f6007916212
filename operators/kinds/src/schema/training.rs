//! `kubeflow.org/v1`: what the training kinds share (`common_types.go` of the v1 training operator).

use super::Type::{Flag, Int32, Int64, Map, Object as Obj, Quantity, Text};
use super::core::POD_TEMPLATE;
use super::{Object, instead, used};

pub(crate) static RUN_POLICY: Object = Object {
    name: "RunPolicy",
    fields: &[
        used("activeDeadlineSeconds", Int64),
        used("backoffLimit", Int32),
        used("cleanPodPolicy", Text),
        used("managedBy", Text),
        used("schedulingPolicy", Obj(&SCHEDULING_POLICY)),
        used("suspend", Flag),
        used("ttlSecondsAfterFinished", Int32),
    ],
};

const WHOLE: &str = "Muster always places the whole gang or nothing";

static SCHEDULING_POLICY: Object = Object {
    name: "SchedulingPolicy",
    fields: &[
        used("priorityClass", Text),
        used("queue", Text),
        instead("minAvailable", Int32, WHOLE),
        instead("minResources", Map(&Quantity), WHOLE),
        instead("scheduleTimeoutSeconds", Int32, "use activeDeadlineSeconds"),
    ],
};

pub(crate) static REPLICA_SPEC: Object = Object {
    name: "ReplicaSpec",
    fields: &[
        used("replicas", Int32),
        used("restartPolicy", Text),
        used("template", Obj(&POD_TEMPLATE)),
    ],
};
