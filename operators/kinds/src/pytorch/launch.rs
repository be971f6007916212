//! Who starts the processes of a replica, and how many there are.
//!
//! Upstream starts the command once per replica, whatever `nprocPerNode` says: only a launcher in the
//! command, such as torchrun, starts more. The annotation [`LAUNCHER`] lets Muster do it instead.

use muster_model::ResourceName;
use serde_json::Value;

use super::elastic::Elastic;
use super::inspect;
use crate::findings::Findings;
use crate::kind::Job;
use crate::node::Node;
use crate::roles::Replicas;

/// On a job or on one of its pod templates, for the whole gang. `agent`: the command is started
/// `nprocPerNode` times per replica, with the variables of torchrun. `command`: the command is or
/// hides a launcher, although it does not look like one.
pub const LAUNCHER: &str = "muster.dev/launcher";

/// The most processes that one replica may have.
const MAX_PROCESSES: i64 = 4096;

/// `nprocPerNode` as it was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nproc {
    /// What torchrun is told.
    pub(super) text: String,
    count: Count,
    /// Whether the count is a factor of the world size. Upstream leaves the deprecated
    /// `elasticPolicy.nProcPerNode` out of it.
    factor: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    /// This many.
    Number(u32),
    /// One per GPU.
    Gpus,
    /// One per core.
    Cores,
}

impl Nproc {
    /// By how much the world is larger than the number of replicas.
    fn world_factor(&self) -> u32 {
        match self.count {
            Count::Number(number) if self.factor => number,
            _ => 1,
        }
    }
}

/// Who starts the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    /// The command is one rank, `world_factor` of which it counts for in the world size.
    Script { world_factor: u32 },
    /// The command starts the ranks of its replica.
    Launcher { world_factor: u32 },
    /// The agent starts the command so many times per replica.
    Agent { processes: u32 },
}

impl Launch {
    /// How often an agent starts the command in each replica.
    pub(super) fn processes(self) -> u32 {
        match self {
            Self::Agent { processes } => processes,
            Self::Script { .. } | Self::Launcher { .. } => 1,
        }
    }

    /// How many ranks of the world belong to each replica.
    pub(super) fn ranks_per_replica(self) -> u32 {
        match self {
            Self::Agent { processes } => processes,
            Self::Script { world_factor } | Self::Launcher { world_factor } => world_factor,
        }
    }
}

/// Reads `nprocPerNode`, by default `auto`.
pub(super) fn read_nproc(
    spec: &Node<'_>,
    elastic: Option<&Elastic<'_>>,
    to: &mut Findings,
) -> Nproc {
    const WORDS: [&str; 5] = ["auto", "cpu", "gpu", "xpu", "<a number>"];
    let node = spec.field("nprocPerNode");
    let old = spec.field("elasticPolicy").field("nProcPerNode");
    if old.is_set() {
        if node.is_set() {
            let advice = format!("must not be used with {}", node.path());
            to.forbidden(old.path(), advice);
        } else {
            let advice = format!("deprecated, use {} instead", node.path());
            to.note(old.path(), advice);
        }
    }
    if let (Some(number), false) = (elastic.and_then(|elastic| elastic.nproc), node.is_set()) {
        return Nproc {
            text: number.to_string(),
            count: number_of(number, &old, to),
            factor: false,
        };
    }
    let text = node.text().unwrap_or("auto");
    let count = match text.parse() {
        Ok(number) => number_of(number, &node, to),
        Err(_) => match text {
            "auto" | "gpu" | "xpu" => Count::Gpus,
            "cpu" => Count::Cores,
            other => {
                to.not_supported(node.path(), other, &WORDS);
                Count::Gpus
            }
        },
    };
    Nproc { text: text.to_owned(), count, factor: true }
}

fn number_of(number: i64, node: &Node<'_>, to: &mut Findings) -> Count {
    if !(1..=MAX_PROCESSES).contains(&number) {
        let value = node.value().cloned().unwrap_or(Value::Null);
        to.invalid(node.path(), value, format!("must be between 1 and {MAX_PROCESSES}"));
    }
    let clamped = number.clamp(1, MAX_PROCESSES);
    Count::Number(u32::try_from(clamped).expect("was clamped into the range"))
}

/// Decides who starts the ranks of the gang.
pub(super) fn decide(
    job: &Job<'_>,
    nproc: &Nproc,
    all: &[Replicas<'_>],
    to: &mut Findings,
) -> Launch {
    let world_factor = nproc.world_factor();
    let launcher = inspect(all).find_map(|found| found.launcher);
    let Some((wish, node)) = wish(job, all, to) else {
        return match launcher {
            Some(_) => Launch::Launcher { world_factor },
            None => Launch::Script { world_factor },
        };
    };
    match (wish, launcher) {
        (Wish::Command, _) => Launch::Launcher { world_factor },
        (Wish::Agent, Some(launcher)) => {
            to.invalid(
                node.path(),
                "agent",
                format!(
                    "the command starts {}, which starts the ranks itself; leave out one of the two",
                    launcher.as_str()
                ),
            );
            Launch::Launcher { world_factor }
        }
        (Wish::Agent, None) => {
            let mut counts = all.iter().map(|one| processes(nproc, one));
            let first = counts.next().unwrap_or(1);
            if let Some(other) = counts.find(|count| *count != first) {
                to.invalid(
                    node.path(),
                    "agent",
                    format!(
                        "the roles would have {first} and {other} processes per replica; ask for the same resources in all roles, or set nprocPerNode to a number"
                    ),
                );
            }
            Launch::Agent { processes: first }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Agent,
    Command,
}

/// What the annotation asks for, and where it stands.
fn wish<'m>(job: &Job<'m>, all: &[Replicas<'m>], to: &mut Findings) -> Option<(Wish, Node<'m>)> {
    let mut found: Option<(Wish, Node<'m>)> = None;
    let templates = all.iter().map(|one| one.node.field("template").field("metadata"));
    for metadata in std::iter::once(job.metadata.clone()).chain(templates) {
        let node = metadata.field("annotations").field(LAUNCHER);
        let wish = match node.text() {
            None => continue,
            Some("agent") => Wish::Agent,
            Some("command") => Wish::Command,
            Some(other) => {
                to.not_supported(node.path(), other, &["agent", "command"]);
                continue;
            }
        };
        match &found {
            Some((first, place)) if *first != wish => {
                let advice = format!("must be the same as in {}", place.path());
                to.invalid(node.path(), node.text().unwrap_or_default(), advice);
            }
            Some(_) => {}
            None => found = Some((wish, node)),
        }
    }
    found
}

/// How many processes a replica has when the agent starts them: the number given; for `auto`, `gpu` and `xpu`
/// the GPUs that the main container asks for; for `cpu` its whole cores; at least one.
fn processes(nproc: &Nproc, one: &Replicas<'_>) -> u32 {
    let amount = match nproc.count {
        Count::Number(number) => return number,
        Count::Gpus => requested(one, |name| name.0.contains("gpu")),
        Count::Cores => requested(one, |name| *name == ResourceName::cpu()) / 1000,
    };
    u32::try_from(amount).unwrap_or(u32::MAX).clamp(1, MAX_PROCESSES as u32)
}

fn requested(one: &Replicas<'_>, which: impl Fn(&ResourceName) -> bool) -> u64 {
    let main = one.pod.containers.get(one.pod.main);
    main.map_or(0, |main| {
        let amounts = main.requests.iter().filter(|(name, _)| which(name));
        amounts.fold(0u64, |sum, (_, amount)| sum.saturating_add(amount))
    })
}

/// Upstream's contract lets a job hang that asks for several processes and brings no launcher.
pub(super) fn warn_of_missing_processes(
    job: &Job<'_>,
    nproc: &Nproc,
    launch: Launch,
    total: u32,
    to: &mut Findings,
) {
    if let Launch::Script { world_factor } = launch
        && world_factor > 1
    {
        let world = u64::from(total) * u64::from(world_factor);
        to.note(
            job.spec.field("nprocPerNode").path(),
            format!(
                "the command is no launcher such as torchrun, so each of the {total} replicas runs one process, while WORLD_SIZE is {world}; set the annotation {LAUNCHER}: agent to let Muster start {} processes per replica",
                nproc.text
            ),
        );
    }
}
