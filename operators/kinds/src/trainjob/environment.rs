//! What the policy of a runtime gives to the pods that train (`pkg/runtime/framework/plugins` of the trainer).

use muster_model::{Part, PeerPart, ResourceName, RoleIndex, Template, Variable};
use serde_json::Value;

use super::blueprint::{Blueprint, LAUNCHER, NODE, Policy, Step};
use crate::findings::Findings;
use crate::injection::{Injection, leader_endpoint, path_of, peers, text};
use crate::kind::Job;
use crate::mpi::{self, HOSTFILE, RSH};
use crate::node::Node;
use crate::roles::{self, Replicas};

/// How many there are of what.
pub(super) struct Sizes {
    nodes: i64,
    /// What torchrun is told.
    processes: String,
    /// How many ranks a node of MPI has.
    slots: i64,
    /// How many workers XGBoost has in all.
    workers: i64,
    hosts: Vec<Host>,
}

/// A line of MPI's host file, or several.
enum Host {
    Launcher,
    Nodes(RoleIndex),
}

impl Sizes {
    /// Of a job with these roles, the first of which trains, on so many nodes.
    pub(super) fn of(
        trainer: &Node<'_>,
        all: &[Replicas<'_>],
        (blueprint, nodes): (&Blueprint, i64),
        to: &mut Findings,
    ) -> Self {
        let policy = &blueprint.policy;
        let field = trainer.field("numProcPerNode");
        let given = field.value().filter(|_| check(&field, to));
        let asked =
            |wanted: fn(&ResourceName) -> bool| all.first().map_or(0, |one| amount(one, wanted));
        let gpus = asked(|name| name.0.contains("gpu"));
        let cores = asked(|name| *name == ResourceName::cpu()) / 1000;
        let of_runtime = match policy {
            Policy::Torch { processes } => processes.as_ref(),
            _ => None,
        };
        let automatic = if gpus > 0 { "auto".to_owned() } else { cores.max(1).to_string() };
        let per_gpu = i64::try_from(gpus.max(1)).unwrap_or(i64::MAX);
        let slots = match (given.and_then(Value::as_i64), policy) {
            (Some(given), _) => given,
            (None, Policy::Mpi { slots: 1, .. }) => per_gpu,
            (None, Policy::Mpi { slots, .. }) => *slots,
            (None, _) => 1,
        };
        Self {
            nodes,
            processes: given.or(of_runtime).map_or(automatic, word),
            slots,
            workers: nodes.saturating_mul(per_gpu),
            hosts: hosts(all, blueprint),
        }
    }
}

/// Whether `numProcPerNode` can be used: a number, or a word of the first releases.
fn check(field: &Node<'_>, to: &mut Findings) -> bool {
    match (field.int(), field.text()) {
        (Some(number), _) if number < 1 => {
            to.invalid(field.path(), number, "must be at least 1");
            false
        }
        (Some(_), _) => true,
        (None, Some(text)) => {
            let known = ["auto", "cpu", "gpu"];
            let right = known.contains(&text) || text.parse::<u32>().is_ok_and(|number| number > 0);
            if !right {
                to.not_supported(field.path(), text, &["auto", "cpu", "gpu", "<a number>"]);
            }
            right
        }
        // Of a wrong type.
        (None, None) => false,
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn amount(one: &Replicas<'_>, wanted: fn(&ResourceName) -> bool) -> u64 {
    let main = one.pod.containers.get(one.pod.main);
    let all = main.into_iter().flat_map(|main| main.requests.iter());
    all.filter(|(name, _)| wanted(name)).map(|(_, amount)| amount).sum()
}

/// Where ranks run, in the order of the runtime's jobs.
fn hosts(all: &[Replicas<'_>], blueprint: &Blueprint) -> Vec<Host> {
    let Policy::Mpi { launcher_is_node, .. } = blueprint.policy else { return Vec::new() };
    let host = |step: &Step| match step.name.as_str() {
        LAUNCHER => launcher_is_node.then_some(Host::Launcher),
        NODE => roles::index_of(all, NODE).map(Host::Nodes),
        _ => None,
    };
    blueprint.steps.iter().filter_map(host).collect()
}

/// What the pods that train are given.
pub(super) fn of(job: &Job<'_>, policy: &Policy, sizes: &Sizes) -> Injection {
    let hole = Template::hole;
    let mut given = Injection::new();
    match policy {
        Policy::Plain | Policy::Flux => {}
        Policy::Torch { .. } => {
            given
                .set_in_main("PET_NNODES", text(sizes.nodes))
                .set_in_main("PET_NPROC_PER_NODE", text(&sizes.processes))
                .set_in_main("PET_NODE_RANK", hole(Variable::RoleIndex))
                .set_in_main("PET_MASTER_ADDR", hole(Variable::LeaderAddress))
                .set_in_main("PET_MASTER_PORT", hole(Variable::FreePort))
                // As for a PyTorchJob.
                .offer_in_main("PET_LOCAL_ADDR", hole(Variable::NodeAddress));
        }
        Policy::Jax => {
            given
                .set_in_main("JAX_NUM_PROCESSES", text(sizes.nodes))
                .set_in_main("JAX_PROCESS_ID", hole(Variable::RoleIndex))
                .set_in_main("JAX_COORDINATOR_ADDRESS", leader_endpoint());
        }
        Policy::XgBoost => {
            given
                .set_in_main("DMLC_TRACKER_URI", hole(Variable::LeaderAddress))
                .set_in_main("DMLC_TRACKER_PORT", hole(Variable::FreePort))
                .set_in_main("DMLC_TASK_ID", hole(Variable::RoleIndex))
                .set_in_main("DMLC_NUM_WORKER", text(sizes.workers));
        }
        Policy::Mpi { .. } => {
            given
                .set_in_main("OMPI_MCA_orte_default_hostfile", path_of(HOSTFILE))
                .set_in_main("OMPI_MCA_orte_keep_fqdn_hostnames", text(true))
                .set_in_main("OMPI_MCA_orte_set_default_slots", text(sizes.slots))
                .set_in_main("OMPI_MCA_plm_rsh_args", text(mpi::SSH_ARGS))
                .file(HOSTFILE, 0o444, hostfile(job, sizes))
                .file(RSH, 0o555, mpi::remote_shell(None));
            mpi::offer_remote_shell(&mut given);
        }
    }
    given
}

fn hostfile(job: &Job<'_>, sizes: &Sizes) -> Template {
    let (name, slots) = (job.name, sizes.slots);
    let end = format!(".{name} slots={slots}\n");
    let line = |host: &Host| match host {
        Host::Launcher => Part::Text(format!("{name}-{LAUNCHER}-0-0{end}")),
        Host::Nodes(role) => {
            let start = PeerPart::Text(format!("{name}-{NODE}-0-"));
            peers(*role, &[start, PeerPart::Index, PeerPart::Text(end.clone())], "")
        }
    };
    Template(sizes.hosts.iter().map(line).collect())
}
