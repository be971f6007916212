//! A runtime as a TrainJob sees it: its replicated jobs, each with a pod template, and its policy.
//!
//! A runtime is read leniently: what cannot be read counts as absent. What becomes of a pod template after all patches is
//! checked as every other pod template is.

use serde_json::{Value, json};

/// The label of the job template whose pods train.
const STEP: &str = "trainer.kubeflow.org/trainjob-ancestor-step";
/// The container that the trainer's fields are for, and the replicated job that it is in by custom.
pub(super) const NODE: &str = "node";
/// The replicated job that runs `mpirun`.
pub(super) const LAUNCHER: &str = "launcher";

/// One replicated job.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) name: String,
    /// What it is for, such as `trainer`.
    pub(super) ancestor: String,
    /// How many pods it has.
    pub(super) pods: i64,
    pub(super) backoff_limit: Option<i64>,
    /// The steps that must have ended before it starts.
    pub(super) after: Vec<String>,
    /// An object whose field `template` is the pod template.
    pub(super) job: Value,
}

impl Step {
    /// The containers of a list of its pod template.
    pub(super) fn containers(&mut self, list: &str) -> Option<&mut Vec<Value>> {
        self.job.pointer_mut(&format!("/template/spec/{list}"))?.as_array_mut()
    }

    /// A container by its name.
    pub(super) fn container(&mut self, name: &str) -> Option<&mut Value> {
        self.containers("containers")?.iter_mut().find(|container| container["name"] == name)
    }
}

/// How ranks find each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Policy {
    Plain,
    Torch {
        /// Processes per node, unless the job says it.
        processes: Option<Value>,
    },
    Jax,
    XgBoost,
    Mpi {
        /// Slots per node, unless the job says it.
        slots: i64,
        launcher_is_node: bool,
    },
    Flux,
}

/// A whole runtime.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    pub(super) steps: Vec<Step>,
    /// Of several policies the first; `policies` says which there are.
    pub(super) policy: Policy,
    pub(super) policies: Vec<&'static str>,
    pub(super) nodes: i64,
    /// The step whose success is the job's, if the runtime names one.
    pub(super) decides: Option<String>,
    /// How often the whole is started again.
    pub(super) max_restarts: Option<i64>,
    pub(super) is_deprecated: bool,
}

const POLICIES: [&str; 5] = ["torch", "mpi", "jax", "xgboost", "flux"];

impl Blueprint {
    pub(super) fn read(runtime: &Value) -> Self {
        let spec = &runtime["spec"];
        let ml = &spec["mlPolicy"];
        let set = &spec["template"]["spec"];
        let policies: Vec<&'static str> =
            POLICIES.into_iter().filter(|name| ml[*name].is_object()).collect();
        let decides = set["successPolicy"]["targetReplicatedJobs"][0].as_str();
        Self {
            steps: set["replicatedJobs"].as_array().into_iter().flatten().map(step).collect(),
            policy: policy(policies.first().copied(), ml),
            policies,
            nodes: ml["numNodes"].as_i64().unwrap_or(1),
            decides: decides.map(str::to_owned),
            max_restarts: set["failurePolicy"]["maxRestarts"].as_i64(),
            is_deprecated: runtime["metadata"]["labels"]["trainer.kubeflow.org/support"]
                == "deprecated",
        }
    }

    /// The step that trains.
    pub(super) fn trainer(&self) -> Option<usize> {
        let labelled = self.steps.iter().position(|step| step.ancestor == "trainer");
        labelled.or_else(|| self.steps.iter().position(|step| step.name == NODE))
    }

    pub(super) fn has(&self, step: &str) -> bool {
        self.steps.iter().any(|one| one.name == step)
    }
}

fn policy(name: Option<&str>, ml: &Value) -> Policy {
    match name {
        Some("torch") => Policy::Torch { processes: ml["torch"].get("numProcPerNode").cloned() },
        Some("mpi") => Policy::Mpi {
            slots: ml["mpi"]["numProcPerNode"].as_i64().unwrap_or(1),
            launcher_is_node: ml["mpi"]["runLauncherAsNode"].as_bool().unwrap_or(false),
        },
        Some("jax") => Policy::Jax,
        Some("xgboost") => Policy::XgBoost,
        Some("flux") => Policy::Flux,
        _ => Policy::Plain,
    }
}

fn step(replicated: &Value) -> Step {
    let job = &replicated["template"];
    let after = replicated["dependsOn"].as_array().into_iter().flatten();
    let after = after.filter(|one| one["status"] == "Complete");
    Step {
        name: replicated["name"].as_str().unwrap_or_default().to_owned(),
        ancestor: job["metadata"]["labels"][STEP].as_str().unwrap_or_default().to_owned(),
        pods: job["spec"]["parallelism"].as_i64().unwrap_or(1),
        backoff_limit: job["spec"]["backoffLimit"].as_i64(),
        after: after.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect(),
        job: json!({"template": job["spec"]["template"]}),
    }
}
