//! `muster nodes`, in the words of kubectl.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, seconds};

/// `muster nodes`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Nodes {
    #[command(subcommand)]
    pub(crate) command: Option<NodesCommand>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// Keep new gangs off nodes. What runs there goes on.
    Cordon(SomeNodes),
    /// Let new gangs on nodes again.
    Uncordon(SomeNodes),
    /// Cordon nodes and make every gang leave that has ranks there. A gang stops whole and waits for another place, which
    /// counts as no failure. Ends when nothing runs there any more.
    Drain(Drain),
    /// Set labels of a node (key=value) or take them away (key-). They survive the agent's next registration.
    Label(Changes),
    /// Taint a node (key=value:EFFECT, key:EFFECT) or take taints away (key:EFFECT-, key-). Effects are NoSchedule,
    /// PreferNoSchedule and NoExecute.
    Taint(Changes),
    /// Forget an unreachable node that will not come back. You promise that nothing runs on it any more.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Nodes by their names.
#[derive(Debug, Args)]
pub(crate) struct SomeNodes {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Changes of one node.
#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Its name.
    pub(crate) name: String,
    /// What changes.
    #[arg(value_name = "CHANGE", required = true)]
    pub(crate) changes: Vec<String>,
    /// Change what has another value instead of refusing.
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster nodes drain`
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// How many seconds ranks have between SIGTERM and SIGKILL. [default: what each pod template says]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) grace_period: Option<Duration>,
    /// Give up after so many seconds; the nodes stay cordoned. [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Evict also jobs with restartPolicy Never. They start anew elsewhere.
    #[arg(long)]
    pub(crate) force: bool,
    /// Evict all gangs at once instead of one after the other.
    #[arg(long)]
    pub(crate) parallel: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
