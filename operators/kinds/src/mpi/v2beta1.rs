//! MPIJob of `kubeflow.org/v2beta1` (`kubeflow/mpi-operator`).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_model::{GangSpec, JobKey, RestartPolicy, RoleIndex};

use super::files::{self, Hosts};
use super::labels::{self, Launcher};
use super::{LAUNCHER, SPECS, SSH_ARGS, WORKER};
use crate::findings::Findings;
use crate::injection::{Injection, path_of, text};
use crate::kind::{Facts, Job, Kind};
use crate::node::Node;
use crate::replica::{Replica, set_label};
use crate::roles::Replicas;
use crate::run_policy::{self, MULTI_KUEUE, Places, Policies};
use crate::schema::{
    Object, Type, quiet,
    training::{REPLICA_SPEC, RUN_POLICY},
    used,
};

/// Who may manage a job.
const MANAGERS: [&str; 2] = ["kubeflow.org/mpi-operator", MULTI_KUEUE];
const OPEN_MPI: &str = "OpenMPI";
const INTEL: &str = "Intel";
const MPICH: &str = "MPICH";

/// The kind.
pub(crate) struct MpiJob;

static FACTS: Facts = Facts {
    api_version: "kubeflow.org/v2beta1",
    kind: "MPIJob",
    plural: "mpijobs",
    singular: "mpijob",
    short_names: &[],
    operator_name: "mpi-operator",
    selector_in_status: false,
};

static SPEC: Object = Object {
    name: "MPIJobSpec",
    fields: &[
        used("launcherCreationPolicy", Type::Text),
        used("mpiImplementation", Type::Text),
        used(SPECS, Type::Map(&Type::Object(&REPLICA_SPEC))),
        used("runLauncherAsWorker", Type::Flag),
        used("runPolicy", Type::Object(&RUN_POLICY)),
        used("slotsPerWorker", Type::Int32),
        // There is no ssh.
        quiet("sshAuthMountPath", Type::Text),
    ],
};

impl Kind for MpiJob {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn spec(&self) -> &'static Object {
        &SPEC
    }

    fn policies(&self, spec: &Node<'_>, to: &mut Findings) -> Policies {
        let policy = &spec.field("runPolicy");
        run_policy::read(&Places { policy, older: None, managers: &MANAGERS }, to)
    }

    fn expand(&self, job: &Job<'_>, to: &mut Findings) -> Option<GangSpec> {
        let mut all = super::read(job, to);
        check_workers(&all, to);
        set_restart_policies(&mut all, to);
        let spec = &job.spec;
        let slots = super::slots(job, to);
        let implementation =
            super::one_of(&spec.field("mpiImplementation"), &[OPEN_MPI, INTEL, MPICH], to);
        // All replicas of a gang start together, whichever it is.
        let creation = ["AtStartup", "WaitForWorkersReady"];
        super::one_of(&spec.field("launcherCreationPolicy"), &creation, to);
        let launcher_works = spec.field("runLauncherAsWorker").flag();
        for one in &mut all {
            set_command(one, to);
        }
        let launcher = Launcher { job_role: "launcher", is_worker: launcher_works };
        labels::put_into(&mut all, job, &FACTS, launcher);
        for one in all.iter_mut().filter(|one| one.role == WORKER) {
            set_label(&mut one.pod.labels, "job-role", "worker");
        }
        let hosts = Hosts {
            domain: format!(".{}.{}.svc", job.name, job.namespace),
            launcher: launcher_works,
            launcher_is_discovered: launcher_works,
            ..Hosts::new(job, &all)
        };
        let injection = |one: &Replicas<'_>| {
            let mut injection = Injection::new();
            injection.set_in_main("K_MPI_JOB_ROLE", text(one.role.to_ascii_lowercase()));
            if one.role == LAUNCHER {
                let after = match implementation {
                    OPEN_MPI => format!(" slots={slots}"),
                    _ => format!(":{slots}"),
                };
                hosts.put_into(&mut injection, (&after, ""));
                injection.file(files::RSH, 0o555, files::remote_shell(None));
                set_implementation(&mut injection, implementation, slots);
                if !launcher_works {
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

    /// For both versions.
    fn label(&self, _: &JobKey, replica: Replica<'_>, labels: &mut BTreeMap<String, String>) {
        labels::index(replica, labels);
    }
}

fn check_workers(all: &[Replicas<'_>], to: &mut Findings) {
    for worker in all.iter().filter(|one| one.role == WORKER) {
        let field = worker.node.field("replicas");
        match worker.given {
            Some(count) if count < 1 && field.is_set() => {
                to.invalid(field.path(), count, "must be at least 1");
            }
            Some(0) => to.required(field.path(), "write how many Workers there are"),
            _ => {}
        }
    }
}

/// The Launcher is started again by default. What the end of a Worker means is decided by the Launcher, whose ranks
/// end with it.
fn set_restart_policies(all: &mut [Replicas<'_>], to: &mut Findings) {
    let allowed = [RestartPolicy::Never, RestartPolicy::OnFailure];
    for one in all.iter_mut() {
        let field = one.node.field("restartPolicy");
        if !allowed.contains(&one.restart) {
            to.not_supported(
                field.path(),
                one.restart.as_str(),
                &allowed.map(RestartPolicy::as_str),
            );
        }
        if one.role == LAUNCHER && field.nonempty().is_none() {
            one.restart = RestartPolicy::OnFailure;
        }
    }
    let launcher = all.iter().find(|one| one.role == LAUNCHER).map(|one| one.restart);
    for one in all.iter_mut().filter(|one| one.role == WORKER) {
        one.restart = launcher.unwrap_or(one.restart);
    }
}

/// The entry points of the operator's Intel and MPICH images wait until names resolve and then run their arguments, so
/// that a job without a command means them.
fn set_command(one: &mut Replicas<'_>, to: &mut Findings) {
    if one.role == WORKER {
        super::wait_for_ranks(one, to);
    }
    if let Some(main) = one.pod.containers.get_mut(one.pod.main)
        && main.command.is_empty()
    {
        main.command = std::mem::take(&mut main.args);
    }
}

fn set_implementation(launcher: &mut Injection, implementation: &str, slots: i64) {
    match implementation {
        INTEL => launcher
            .set_in_main("I_MPI_HYDRA_HOST_FILE", path_of(files::HOSTFILE))
            .set_in_main("I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS", text(SSH_ARGS))
            .set_in_main("I_MPI_PERHOST", text(slots))
            .offer_in_main("I_MPI_HYDRA_BOOTSTRAP", text("ssh"))
            .offer_in_main("I_MPI_HYDRA_BOOTSTRAP_EXEC", path_of(files::RSH)),
        MPICH => launcher
            .set_in_main("HYDRA_HOST_FILE", path_of(files::HOSTFILE))
            .set_in_main("HYDRA_LAUNCH_EXTRA_ARGS", text(SSH_ARGS))
            .offer_in_main("HYDRA_LAUNCHER", text("ssh"))
            .offer_in_main("HYDRA_LAUNCHER_EXEC", path_of(files::RSH)),
        _ => {
            launcher
                .set_in_main("OMPI_MCA_orte_keep_fqdn_hostnames", text(true))
                .set_in_main("OMPI_MCA_orte_default_hostfile", path_of(files::HOSTFILE))
                .set_in_main("OMPI_MCA_plm_rsh_args", text(SSH_ARGS))
                .set_in_main("OMPI_MCA_orte_set_default_slots", text(slots));
            super::offer_remote_shell(launcher);
            launcher
        }
    };
}
