//! MPIJob of `kubeflow.org/v1` (`pkg/controller.v1/mpi` of the v1 training operator).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_model::{GangSpec, JobKey, RoleIndex};

use super::files::{self, Hosts};
use super::labels::{self, Launcher};
use super::{LAUNCHER, SPECS, WORKER};
use crate::findings::Findings;
use crate::injection::{Injection, path_of, text};
use crate::kind::{Facts, Job, Kind};
use crate::node::Node;
use crate::replica::{Replica, set_label};
use crate::roles::{self, Replicas};
use crate::run_policy::{self, Policies};
use crate::schema::{
    Object, Type,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

/// The kind.
pub(crate) struct MpiJobV1;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v1",
    kind: "MPIJob",
    plural: "mpijobs",
    singular: "mpijob",
    short_names: &[],
    operator_name: "mpijob-controller",
    selector_in_status: false,
};

static SPEC: Object = Object {
    name: "MPIJobSpec",
    fields: &[
        used("cleanPodPolicy", Type::Text),
        used("mainContainer", Type::Text),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used("slotsPerWorker", Type::Int32),
    ],
};

impl Kind for MpiJobV1 {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        run_policy::read_with_older(spec, to)
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let mut all = super::read(job, to);
        roles::check_counts(&job.spec.field(SPECS), &all, to);
        let slots = super::slots(job, to);
        let container = main_container(job, &all, to);
        labels::put_into(&mut all, job, &FACTS, Launcher { job_role: "master", is_worker: false });
        for one in &mut all {
            set_label(&mut one.pod.labels, "replica-type", &one.role.to_ascii_lowercase());
        }
        let has_gpus = all.iter().any(|one| one.role == LAUNCHER && limits_gpus(one));
        let hosts = Hosts { launcher: has_gpus, ..Hosts::new(job, &all) };
        let injection = |one: &Replicas<'_>| {
            let mut injection = Injection::new();
            injection.file(files::RSH, 0o555, files::remote_shell(container));
            if one.role == LAUNCHER {
                let after = (&*format!(" slots={slots}"), &*format!(":{slots}"));
                hosts.put_into(&mut injection, after);
                super::offer_remote_shell(&mut injection);
                injection
                    .offer_in_main("OMPI_MCA_orte_default_hostfile", path_of(files::HOSTFILE))
                    .offer_in_main("I_MPI_HYDRA_BOOTSTRAP", text("rsh"))
                    .offer_in_main("I_MPI_HYDRA_BOOTSTRAP_EXEC", path_of(files::RSH));
                if !has_gpus {
                    super::hide_gpus(&mut injection);
                }
            }
            injection
        };
        super::assemble(job, all, injection, to)
    }

    fn is_master(&self, gang: &GangSpec, role: RoleIndex, _: u32) -> bool {
        gang.role(role).name.0 == LAUNCHER
    }

    fn label(&self, _: &JobKey, replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
        labels::index(replica, labels);
    }
}

/// The container of the Workers in which ranks start, if the job names one.
fn main_container<'m>(job: &Job<'m>, all: &[Replicas<'_>], to: &mut Findings) -> Option<&'m str> {
    let field = job.spec.field("mainContainer");
    let name = field.nonempty()?;
    let worker = all.iter().find(|one| one.role == WORKER)?;
    if worker.pod.containers.iter().all(|container| container.name != name) {
        let known: Vec<&str> =
            worker.pod.containers.iter().map(|container| container.name.as_str()).collect();
        to.not_supported(field.path(), name, &known);
    }
    Some(name)
}

/// Whether a container's limits name GPUs: then the Launcher is a host of ranks, too.
fn limits_gpus(one: &Replicas<'_>) -> bool {
    let mut limits = one.pod.containers.iter().flat_map(|container| container.limits.iter());
    limits.any(|(name, _)| name.0.contains("gpu"))
}
