//! The fields of a TrainJob in all of its releases (`trainer.kubeflow.org/v1alpha1`, kubeflow/trainer 2.0 to 2.3).

use crate::schema::Type::{self, Any, Flag, Int32, Int64, List, Map, Object as Obj, Text};
use crate::schema::{
    Object,
    core::{ENV, NAME_REF, RESOURCES},
    instead, quiet, used,
};

const ENVS: Type = List(&Obj(&ENV));
const NOT_PODS: &str = "there is no JobSet to put them on; patch the metadata of the pods";

pub(super) static SPEC: Object = Object {
    name: "TrainJobSpec",
    fields: &[
        used("runtimeRef", Obj(&RUNTIME_REF)),
        used("initializer", Obj(&INITIALIZER)),
        used("trainer", Obj(&TRAINER)),
        used("runtimePatches", List(&Obj(&RUNTIME_PATCH))),
        used("podTemplateOverrides", List(&Obj(&TEMPLATE_OVERRIDE))),
        used("podSpecOverrides", List(&Obj(&SPEC_OVERRIDE))),
        used("suspend", Flag),
        used("activeDeadlineSeconds", Int64),
        used("managedBy", Text),
        instead("labels", Map(&Text), NOT_PODS),
        instead("annotations", Map(&Text), NOT_PODS),
    ],
};

static RUNTIME_REF: Object = Object {
    name: "RuntimeRef",
    fields: &[used("apiGroup", Text), used("kind", Text), used("name", Text)],
};

static INITIALIZER: Object = Object {
    name: "Initializer",
    fields: &[used("dataset", Obj(&SOURCE)), used("model", Obj(&SOURCE))],
};

static SOURCE: Object = Object {
    name: "DatasetInitializer",
    fields: &[used("storageUri", Text), used("env", ENVS), used("secretRef", Obj(&NAME_REF))],
};

static TRAINER: Object = Object {
    name: "Trainer",
    fields: &[
        used("image", Text),
        used("command", List(&Text)),
        used("args", List(&Text)),
        used("env", ENVS),
        used("numNodes", Int32),
        used("numProcPerNode", Type::IntOrText),
        used("resourcesPerNode", Obj(&RESOURCES)),
    ],
};

// What is patched is checked where it ends up.
static RUNTIME_PATCH: Object = Object {
    name: "RuntimePatch",
    fields: &[
        used("manager", Text),
        quiet("time", Text),
        used("trainingRuntimeSpec", Obj(&RUNTIME_SPEC)),
    ],
};

static RUNTIME_SPEC: Object =
    Object { name: "TrainingRuntimeSpecPatch", fields: &[used("template", Obj(&JOB_SET))] };

static JOB_SET: Object = Object {
    name: "JobSetTemplatePatch",
    fields: &[quiet("metadata", Any), used("spec", Obj(&JOB_SET_SPEC))],
};

static JOB_SET_SPEC: Object = Object {
    name: "JobSetSpecPatch",
    fields: &[used("replicatedJobs", List(&Obj(&REPLICATED_JOB)))],
};

static REPLICATED_JOB: Object = Object {
    name: "ReplicatedJobPatch",
    fields: &[used("name", Text), used("template", Obj(&JOB_TEMPLATE))],
};

static JOB_TEMPLATE: Object = Object {
    name: "JobTemplatePatch",
    fields: &[quiet("metadata", Any), used("spec", Obj(&JOB_SPEC))],
};

static JOB_SPEC: Object = Object { name: "JobSpecPatch", fields: &[used("template", Any)] };

static TARGET: Object = Object { name: "PodOverrideTargetJob", fields: &[used("name", Text)] };

static TEMPLATE_OVERRIDE: Object = Object {
    name: "PodTemplateOverride",
    fields: &[used("targetJobs", List(&Obj(&TARGET))), used("metadata", Any), used("spec", Any)],
};

static SPEC_OVERRIDE: Object = Object {
    name: "PodSpecOverride",
    fields: &[
        used("targetJobs", List(&Obj(&TARGET))),
        used("affinity", Any),
        used("containers", List(&Any)),
        used("imagePullSecrets", List(&Any)),
        used("initContainers", List(&Any)),
        used("nodeSelector", Map(&Text)),
        used("schedulingGates", List(&Any)),
        used("serviceAccountName", Text),
        used("tolerations", List(&Any)),
        used("volumes", List(&Any)),
    ],
};
