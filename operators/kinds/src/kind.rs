//! The kinds of jobs: what each has to provide, and the register of those that there are.
//!
//! A kind is a folder of its own and one line in [`REGISTER`]. Everything that kinds share (metadata, run
//! policy, replica specs, pod templates, status, names) is read by the modules beside this one.

use std::collections::BTreeMap;
use std::fmt;

use muster_model::{GangSpec, JobKey, JobKind, RoleIndex};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::findings::Findings;
use crate::node::Node;
use crate::replica::{self, Replica};
use crate::run_policy::{self, Places, Policies};
use crate::schema::Object;
use crate::status::{self, JobView};
use crate::suggest::nearest;
use crate::trainjob::Runtimes;
use crate::update;

/// All kinds, in the order in which messages list them, newer versions of a kind before older ones.
static REGISTER: &[&dyn Kind] = &[
    &crate::pytorch::PyTorchJob,
    &crate::tensorflow::TfJob,
    &crate::xgboost::XgBoostJob,
    &crate::jax::JaxJob,
    &crate::paddle::PaddleJob,
    &crate::mxnet::MxJob,
    &crate::mpi::MpiJob,
    &crate::mpi::MpiJobV1,
    &crate::trainjob::TrainJob,
    &crate::plain::BatchJob,
    &crate::plain::BarePod,
];

/// What a front door needs to know about a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Group and version: `kubeflow.org/v1`.
    pub api_version: &'static str,
    /// The kind: `PyTorchJob`.
    pub kind: &'static str,
    /// The name of the resource in paths: `pytorchjobs`.
    pub plural: &'static str,
    /// Its name for one of them: `pytorchjob`.
    pub singular: &'static str,
    /// Abbreviations of it.
    pub short_names: &'static [&'static str],
    /// The value of the `operator-name` label of its replicas.
    pub operator_name: &'static str,
    /// Whether `replicaStatuses` carry a label selector.
    pub selector_in_status: bool,
}

impl Facts {
    /// The kind as the model names it.
    #[must_use]
    pub fn job_kind(&self) -> JobKind {
        JobKind(self.kind.to_owned())
    }
}

/// A job as a kind sees it.
pub(crate) struct Job<'m> {
    /// Its name, empty when that is an error of its own.
    pub(crate) name: &'m str,
    /// Likewise.
    pub(crate) namespace: &'m str,
    pub(crate) metadata: Node<'m>,
    /// `spec`, checked against [`Kind::spec`].
    pub(crate) spec: Node<'m>,
    pub(crate) policies: &'m Policies,
    /// What a TrainJob may refer to.
    pub(crate) runtimes: &'m Runtimes,
}

/// One kind of job.
pub(crate) trait Kind: Sync {
    fn facts(&self) -> &'static Facts;

    /// The fields of `spec`.
    fn spec(&self) -> &'static Object;

    /// Validates a job and says what it means. The gang counts only when there are no errors;
    /// `None` when there is nothing to build one from.
    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec>;

    /// Whether a replica carries the label `training.kubeflow.org/job-role: master`.
    fn is_master(&self, gang: &GangSpec, role: RoleIndex, index: u32) -> bool;

    /// Reads the policies of a job from its `spec`.
    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        let policy = &spec.field("runPolicy");
        let managers = &run_policy::TRAINING_MANAGERS;
        run_policy::read(&Places { policy, older: None, managers }, to)
    }

    /// Adds the labels that a replica carries beside those of its template, and wins over these. Asked of the newest
    /// version of a kind.
    fn label(&self, job: &JobKey, replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
        replica::training_labels(self.facts(), job, replica, labels);
        if self.is_master(replica.gang, replica.role, replica.index) {
            replica::set_label(labels, "job-role", "master");
        }
    }

    /// The fields that may change after the creation of a job.
    fn mutable(&self) -> &'static [&'static str] {
        &update::TRAINING
    }

    /// The status of a job, and what its `spec` is shown with.
    fn show(&self, job: &JobView<'_>, spec: &mut Map<String, Value>) -> Map<String, Value> {
        status::training(job, self.facts(), spec)
    }
}

/// Every kind that is accepted. One with several versions is listed once, in its newest.
pub fn supported() -> impl Iterator<Item = &'static Facts> {
    let facts = |kind: &&'static dyn Kind| kind.facts();
    let is_newest = |place: usize, one: &Facts| {
        REGISTER[..place].iter().all(|newer| newer.facts().kind != one.kind)
    };
    let all = REGISTER.iter().map(facts).enumerate();
    all.filter(move |(place, one)| is_newest(*place, one)).map(|(_, one)| one)
}

/// Every version of every kind that is accepted, newer versions of a kind before older ones.
pub fn versions() -> impl Iterator<Item = &'static Facts> {
    REGISTER.iter().map(|kind| kind.facts())
}

/// The facts of the newest version of a kind; `None` when it is not registered.
#[must_use]
pub fn facts(kind: &JobKind) -> Option<&'static Facts> {
    by_name(kind).map(Kind::facts)
}

/// The newest version of a kind.
pub(crate) fn by_name(kind: &JobKind) -> Option<&'static dyn Kind> {
    let mut found = REGISTER.iter().copied();
    found.find(|known| known.facts().kind == kind.0)
}

/// The kind that a manifest names.
pub(crate) fn of_manifest(manifest: &Value) -> Result<&'static dyn Kind, UnknownKind> {
    let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let of_that_name = || REGISTER.iter().filter(|known| known.facts().kind == kind);
    if let Some(found) = of_that_name().find(|known| known.facts().api_version == api_version) {
        return Ok(*found);
    }
    let hint = match of_that_name().next() {
        Some(known) => Hint::ApiVersion(known.facts().api_version),
        None => nearest(kind, supported().map(|facts| facts.kind)).map_or(Hint::None, Hint::Kind),
    };
    Err(UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned(), hint })
}

/// A manifest whose apiVersion and kind are not (both) known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct UnknownKind {
    /// Its apiVersion; empty when it has none.
    pub api_version: String,
    /// Its kind; empty when it has none.
    pub kind: String,
    /// What was probably meant.
    pub hint: Hint,
}

/// What the author of a manifest of an unknown kind probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Nothing that is known.
    None,
    /// This kind.
    Kind(&'static str),
    /// The kind is right; this is its apiVersion.
    ApiVersion(&'static str),
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version, kind, .. } = self;
        match (kind.is_empty(), api_version.is_empty(), self.hint) {
            (true, _, _) => f.write_str("the manifest has no kind")?,
            (false, true, Hint::ApiVersion(right)) => {
                return write!(f, "{kind} has no apiVersion; write apiVersion: {right}");
            }
            (false, true, _) => write!(f, "kind {kind} is not supported")?,
            (false, false, Hint::ApiVersion(right)) => {
                return write!(f, "{kind} is of apiVersion {right}, not {api_version}");
            }
            (false, false, _) => write!(f, "kind {kind} of {api_version} is not supported")?,
        }
        if let Hint::Kind(meant) = self.hint {
            write!(f, "; did you mean {meant}?")?;
        }
        f.write_str(" (supported: ")?;
        for (index, facts) in REGISTER.iter().map(|kind| kind.facts()).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} of {}", facts.kind, facts.api_version)?;
        }
        f.write_str(")")
    }
}
