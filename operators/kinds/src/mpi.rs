//! MPIJob in its two versions, `kubeflow.org/v2beta1` and `kubeflow.org/v1`: a Launcher that runs `mpirun`, and Workers
//! that wait for it to start ranks in them.
//!
//! The contracts are those of `kubeflow/mpi-operator` and of the v1 training operator (`pkg/controller.v1/mpi`);
//! where Muster differs, `docs/divergences.md` says why. Upstream reaches the Workers by ssh (v2beta1) or
//! `kubectl exec` (v1). Here `mpirun` is given [`files::RSH`] as its remote shell, which hands host and command to
//! `muster rsh`. Hosts have the names that upstream gives them; nothing resolves them but `muster rsh`.
//!
//! Both versions are one kind: a job of one version and a job of the other cannot have the same name, as in a
//! cluster with both operators.

mod files;
mod labels;
mod v1;
mod v2beta1;

pub(crate) use self::files::{HOSTFILE, RSH, remote_shell};
pub(crate) use self::v1::MpiJobV1;
pub(crate) use self::v2beta1::MpiJob;

use muster_model::{GangSpec, Naming, Rendezvous, RestartPolicy, SuccessRule};

use crate::findings::Findings;
use crate::injection::{Injection, path_of, text};
use crate::kind::Job;
use crate::node::Node;
use crate::pod::PodRules;
use crate::roles::{self, Plan, Replicas, RoleRules};

const LAUNCHER: &str = "Launcher";
const WORKER: &str = "Worker";
const SPECS: &str = "mpiReplicaSpecs";
/// What upstream lets ssh do, and `muster rsh` does anyway.
pub(crate) const SSH_ARGS: &str = "-o ConnectionAttempts=10";
/// What a Worker runs while it waits for ranks.
pub(crate) const IDLE: [&str; 2] = ["sleep", "365d"];

static RULES: RoleRules = RoleRules {
    types: &[LAUNCHER, WORKER],
    any_case: false,
    pod: |role| PodRules {
        main_container: None,
        port: None,
        command: if role == WORKER { &IDLE } else { &[] },
    },
    restart: RestartPolicy::Never,
};

/// Reads the replica specs. A Worker without a number has none.
fn read<'m>(job: &Job<'m>, to: &mut Findings) -> Vec<Replicas<'m>> {
    let specs = job.spec.field(SPECS);
    let mut all = roles::read(&specs, &RULES, to);
    let launcher = specs.field(LAUNCHER);
    match all.iter().find(|one| one.role == LAUNCHER) {
        Some(one) => {
            if let Some(count) = one.given.filter(|count| *count != 1) {
                to.invalid(one.node.field("replicas").path(), count, "must be 1");
            }
        }
        // A null has its error already.
        None if specs.value().is_some_and(|map| map.get(LAUNCHER).is_some()) => {}
        None => to.required(launcher.path(), "must be present"),
    }
    for one in all.iter_mut().filter(|one| one.role == WORKER) {
        one.given = one.given.or(Some(0));
    }
    all
}

/// Reads `slotsPerWorker`, by default 1.
fn slots(job: &Job<'_>, to: &mut Findings) -> i64 {
    let field = job.spec.field("slotsPerWorker");
    let slots = field.int().unwrap_or(1);
    if slots < 0 {
        to.invalid(field.path(), slots, "must not be negative");
    }
    slots
}

/// A field with one of these values, by default the first.
fn one_of(field: &Node<'_>, values: &[&'static str], to: &mut Findings) -> &'static str {
    let Some(given) = field.nonempty() else { return values[0] };
    values.iter().find(|known| **known == given).copied().unwrap_or_else(|| {
        to.not_supported(field.path(), given, values);
        values[0]
    })
}

/// What the Launcher is given so that `mpirun` and `mpiexec` start their daemons through Muster, beside what
/// upstream sets. The job may say otherwise.
pub(crate) fn offer_remote_shell(launcher: &mut Injection) {
    launcher
        .offer_in_main("OMPI_MCA_plm_rsh_agent", path_of(files::RSH))
        // Without these two, daemons start each other or leave the shell that started them, and nobody would
        // know how they ended.
        .offer_in_main("OMPI_MCA_plm_rsh_no_tree_spawn", text(1))
        .offer_in_main("OMPI_MCA_orte_leave_session_attached", text(1))
        // An agent may run all ranks as root, whatever the image says.
        .offer_in_main("OMPI_ALLOW_RUN_AS_ROOT", text(1))
        .offer_in_main("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", text(1))
        // Open MPI 5, whose runtime is PRRTE.
        .offer_in_main("PRTE_MCA_plm_ssh_agent", path_of(files::RSH))
        .offer_in_main("PRTE_MCA_prte_default_hostfile", path_of(files::HOSTFILE));
}

/// A replica in which ranks start needs no sshd: it waits instead.
pub(crate) fn wait_for_ranks(one: &mut Replicas<'_>, to: &mut Findings) {
    let Some(main) = one.pod.containers.get_mut(one.pod.main) else { return };
    let first = main.command.iter().chain(&main.args).next();
    let program = first.and_then(|program| program.rsplit('/').next());
    if program != Some("sshd") {
        return;
    }
    let containers = one.node.field("template").field("spec").field("containers");
    if let Some(container) = containers.items().nth(one.pod.main) {
        to.note(container.path(), "sshd is not started: ranks come through Muster");
    }
    main.command = IDLE.map(str::to_owned).to_vec();
    main.args.clear();
}

/// Programs in a Launcher that is no rank itself see no GPUs.
fn hide_gpus(launcher: &mut Injection) {
    launcher
        .set_in_main("NVIDIA_VISIBLE_DEVICES", text(""))
        .set_in_main("NVIDIA_DRIVER_CAPABILITIES", text(""));
}

/// The gang: the Launcher's end is the job's.
fn assemble<'m>(
    job: &Job<'_>,
    all: Vec<Replicas<'m>>,
    mut injection: impl FnMut(&Replicas<'m>) -> Injection,
    to: &mut Findings,
) -> Option<GangSpec> {
    let success = roles::index_of(&all, LAUNCHER).map(SuccessRule::All);
    let injection = |one: &Replicas<'m>| {
        let naming = if one.role == LAUNCHER { Naming::Role } else { Naming::RoleAndIndex };
        Injection { naming, ..injection(one) }
    };
    roles::assemble(job, all, Plan { rendezvous: Rendezvous::None, success, injection }, to)
}
