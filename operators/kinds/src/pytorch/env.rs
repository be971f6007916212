//! The variables that every container of a PyTorchJob is given.

use muster_model::{EnvTemplate, Template, Variable};

use super::elastic::Elastic;
use super::launch::{Launch, Nproc};
use super::rendezvous::{Plan, injected};

/// All that the variables depend on.
pub(super) struct EnvPlan<'p> {
    /// How many replicas the gang has.
    pub(super) total: u32,
    pub(super) launch: Launch,
    pub(super) nproc: &'p Nproc,
    pub(super) elastic: Option<&'p Elastic<'p>>,
    pub(super) backoff_limit: Option<u32>,
}

/// The variables, the same for every role: what differs between ranks is a hole.
pub(super) fn variables(plan: &EnvPlan<'_>, rendezvous: Plan) -> Vec<EnvTemplate> {
    let hole = Template::hole;
    let text = |value: &dyn ToString| Template::text(value.to_string());
    let is_launcher = matches!(plan.launch, Launch::Launcher { .. });
    // A launcher binds the port itself; any other program finds the gang's store there.
    let port = match is_launcher {
        true => Variable::FreePort,
        false => Variable::StorePort,
    };
    let rank = match plan.launch {
        Launch::Agent { .. } => Variable::ProcessRank,
        Launch::Script { .. } | Launch::Launcher { .. } => Variable::Rank,
    };
    let world = u64::from(plan.total) * u64::from(plan.launch.ranks_per_replica());
    let nodes = match plan.elastic {
        Some(elastic) => format!("{}:{}", elastic.min, elastic.max),
        None => plan.total.to_string(),
    };
    let mut all = vec![
        ("PYTHONUNBUFFERED", text(&1)),
        ("MASTER_PORT", hole(port)),
        ("PET_MASTER_PORT", hole(port)),
        ("MASTER_ADDR", hole(Variable::LeaderAddress)),
        ("PET_MASTER_ADDR", hole(Variable::LeaderAddress)),
        ("WORLD_SIZE", text(&world)),
        ("RANK", hole(rank)),
        ("PET_NODE_RANK", hole(Variable::Rank)),
        ("PET_NPROC_PER_NODE", text(&plan.nproc.text)),
        ("PET_NNODES", Template::text(nodes)),
    ];
    all.extend(rendezvous.variables());
    if let Some(elastic) = plan.elastic {
        all.extend(elastic.max_restarts.map(|limit| ("PET_MAX_RESTARTS", text(&limit))));
        if elastic.standalone {
            all.push(("PET_STANDALONE", text(&1)));
        }
    }
    if !is_launcher {
        all.push(("TORCHELASTIC_USE_AGENT_STORE", text(&"True")));
        all.push(("TORCHELASTIC_RESTART_COUNT", hole(Variable::RestartCount)));
    }
    if let Launch::Agent { processes } = plan.launch {
        all.extend(of_torchrun(plan, processes, world));
    }
    let mut all: Vec<EnvTemplate> =
        all.into_iter().map(|(name, value)| injected(name, value)).collect();
    // torchrun otherwise asks the resolver for its machine's full name (`socket.getfqdn`), which can take
    // long, and tells the other nodes a name that they may not know. `--local-addr` wins over it.
    all.push(EnvTemplate {
        name: "PET_LOCAL_ADDR".to_owned(),
        value: hole(Variable::NodeAddress),
        user_wins: true,
    });
    // The processes of a launcher share the replica's cores, and torchrun divides them itself (into
    // one each) unless it is told otherwise.
    if !is_launcher || plan.nproc.text == "1" {
        all.push(EnvTemplate {
            name: "OMP_NUM_THREADS".to_owned(),
            value: hole(Variable::Threads),
            user_wins: true,
        });
    }
    all
}

/// What torchrun tells each process that it starts (`torch/distributed/elastic/agent/server`), for
/// processes that the agent starts in its place.
fn of_torchrun(plan: &EnvPlan<'_>, processes: u32, world: u64) -> Vec<(&'static str, Template)> {
    let hole = Template::hole;
    let number = |value: u64| Template::text(value.to_string());
    let restarts = match (plan.backoff_limit, plan.elastic) {
        (Some(limit), _) => u64::from(limit),
        (None, Some(elastic)) => u64::try_from(elastic.max_restarts.unwrap_or(0)).unwrap_or(0),
        (None, None) => 0,
    };
    let id = plan.elastic.and_then(|elastic| elastic.id);
    vec![
        ("LOCAL_RANK", hole(Variable::LocalRank)),
        ("LOCAL_WORLD_SIZE", number(u64::from(processes))),
        ("GROUP_RANK", hole(Variable::Rank)),
        ("GROUP_WORLD_SIZE", number(u64::from(plan.total))),
        ("ROLE_RANK", hole(Variable::ProcessRank)),
        ("ROLE_WORLD_SIZE", number(world)),
        ("ROLE_NAME", Template::text("default")),
        ("TORCHELASTIC_MAX_RESTARTS", number(restarts)),
        ("TORCHELASTIC_RUN_ID", id.map_or_else(|| hole(Variable::JobUid), Template::text)),
    ]
}
