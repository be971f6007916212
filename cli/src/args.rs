//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use muster_agent::agent::CutOff;

use crate::exit::Failure;
use crate::target::Target;

mod nodes;
mod trust;

pub(crate) use nodes::{Changes, Drain, Nodes, NodesCommand, SomeNodes};
pub(crate) use trust::{Kubeconfig, Login, Token, TokenCommand, TokenCreate};

/// Runs distributed training: hand it the manifest you already have.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The coordinator, https://HOST:PORT, or several of its members with commas between them. Without it: the one that
    /// `muster login` has named, or the one that runs on this data directory.
    #[arg(long, global = true, env = "MUSTER_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The file with a user token. Without it: that of `muster login`, or what lies in the data directory.
    #[arg(long, global = true, env = "MUSTER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Where an embedded coordinator and agent keep everything.
    /// [default: $XDG_DATA_HOME/muster or ~/.local/share/muster]
    #[arg(long, global = true, env = "MUSTER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The namespace.
    #[arg(long, short, global = true, env = "MUSTER_NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// What daemons log, such as debug or info,muster_coordinator=trace.
    #[arg(long, global = true, env = "MUSTER_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Daemons log one JSON object a line.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit manifests, follow their jobs, and exit with their result.
    Run(Run),
    /// Start a coordinator and an agent on this machine.
    Up(Up),
    /// Stop what `up` or `run` started on this machine. Running jobs go on when it is started again.
    Down,
    /// Create jobs from manifests, or change those that exist.
    Apply(Apply),
    /// Show jobs, pods, nodes or events.
    Get(Get),
    /// Show everything about a job.
    Describe(Named),
    /// Print the logs of a job's ranks.
    Logs(Logs),
    /// Delete jobs.
    Delete(Delete),
    /// Hold a job back: its ranks stop and its resources are free.
    Suspend(Named),
    /// Let a suspended job go on.
    Resume(Named),
    /// Wait until a job has reached a condition.
    Wait(Wait),
    /// Say why a job waits, or what an error code means.
    Explain(Explain),
    /// Show nodes, keep gangs off them, drain, label, taint or remove them.
    Nodes(Nodes),
    /// Show the members of the coordinator, take one out, or let another lead.
    Members(Members),
    /// Make, show and remove tokens: for machines that join, and for users.
    Token(Token),
    /// Print the configuration with which kubectl and the SDKs of Kubeflow work against the coordinator.
    Kubeconfig(Kubeconfig),
    /// Remember a coordinator and a user token for the commands that follow.
    Login(Login),
    /// Forget what `login` has remembered.
    Logout,
    /// Show for whom the coordinator takes you, and what you may do.
    Whoami(Output),
    /// Write the coordinator's whole state into a file.
    Backup(Backup),
    /// Make the data directory of a new coordinator from a backup.
    Restore(Restore),
    /// Show and prune the cached environments that images map to.
    Env(Env),
    /// Show how the coordinator is.
    Status(Output),
    /// Collect what somebody who is asked for help wants to see, without secrets.
    Debug(Debug),
    /// Run a coordinator.
    Coordinator(Coordinator),
    /// Run an agent.
    Agent(Agent),
    /// Print the version.
    Version(Output),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// Only kind and name.
    Name,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `muster run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Manifests; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Submit and return at once.
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Do not print the ranks' output.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Delete the jobs when they have ended.
    #[arg(long)]
    pub(crate) rm: bool,
    /// Where ranks without a working directory of their own start. [default: the manifest's directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster up`
#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Go to the background once everything is ready.
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Stop when nothing has been asked and no job has run for so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) exit_when_idle: Option<Duration>,
    /// Started by another muster, which waits for a word on standard output.
    #[arg(long, hide = true)]
    pub(crate) background: bool,
    #[command(flatten)]
    pub(crate) doors: Doors,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// Where a coordinator listens.
#[derive(Debug, Clone, Args)]
pub(crate) struct Doors {
    /// Where the gRPC door listens. Port 0: any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7450")]
    pub(crate) listen: SocketAddr,
    /// Where the HTTP door listens: /healthz, /readyz, /metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7451")]
    pub(crate) http_listen: SocketAddr,
    /// How many seconds an agent may be silent before its node counts as unreachable.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub(crate) lease: Duration,
    /// Speak TLS on loopback too. Addresses that others can reach have it always.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Where other members, agents and clients reach the gRPC door. [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
}

/// What a node offers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Node {
    /// The node's name. [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Capacities that replace or add to the detected ones: cpu=8,nvidia.com/gpu=4.
    #[arg(long, value_name = "NAME=QUANTITY,..")]
    pub(crate) capacity: Option<String>,
    /// The image map, a YAML file. [default: DATA_DIR/images.yaml if it is there]
    #[arg(long, value_name = "FILE", env = "MUSTER_IMAGES")]
    pub(crate) images: Option<PathBuf>,
    /// Do not use control groups: limits are not enforced.
    #[arg(long)]
    pub(crate) no_cgroups: bool,
    /// Stop what runs here so long after the last word of a leader, unless it is sure that nobody leads: 60s, 5m, or never.
    /// The coordinator starts it elsewhere after that. [default: 60s; never, if the coordinator is on this machine]
    #[arg(long, value_parser = cut_off, value_name = "TIME")]
    pub(crate) cut_off_after: Option<CutOff>,
    /// The port at which other agents ask this one whether it hears a leader. [default: any]
    #[arg(long, value_name = "PORT")]
    pub(crate) witness_port: Option<u16>,
}

/// A time after which a node that is cut off has stopped everything, or `never`.
fn cut_off(text: &str) -> Result<CutOff, String> {
    if text == "never" {
        return Ok(CutOff::Never);
    }
    let after = seconds(text)?;
    if after < CutOff::SHORTEST {
        let shortest = CutOff::SHORTEST.as_secs();
        return Err(format!(
            "too short: the election of a leader must fit in; use {shortest}s or more, or never"
        ));
    }
    Ok(CutOff::After(after))
}

/// `muster coordinator`
#[derive(Debug, Args)]
pub(crate) struct Coordinator {
    #[command(flatten)]
    pub(crate) doors: Doors,
    /// Join the cluster of this member instead of starting a new one. A data directory that belongs to a cluster stays
    /// there.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) join: Option<String>,
    /// The file with a join token of the role member, for --join. On loopback without TLS: with the others' own token.
    #[arg(long, value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
}

/// `muster debug`
#[derive(Debug, Args)]
pub(crate) struct Debug {
    #[command(subcommand)]
    pub(crate) command: DebugCommand,
}

/// What to collect.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Everything, into a directory. Values of variables, commands and annotations are left out.
    Bundle {
        /// The directory; it must not be there yet.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

/// `muster backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file; it is replaced once the new one is complete.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `muster restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster members`
#[derive(Debug, Args)]
pub(crate) struct Members {
    #[command(subcommand)]
    pub(crate) command: Option<MembersCommand>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What to do about members.
#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Take a member out. Stop its process once it is gone.
    Remove {
        /// Its id, as `muster members` shows it.
        id: u64,
    },
    /// Hand the leadership to another member.
    Transfer {
        /// To whom. [default: whoever is furthest]
        id: Option<u64>,
    },
}

/// `muster agent`
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// The address at which this node's ranks can be reached. [default: found out]
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// The user that the agent and all ranks run as, where it is started by root.
    #[arg(long, value_name = "USER")]
    pub(crate) run_as: Option<String>,
    /// The file with a join token of the role agent. Needed only until the agent has its certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// `muster apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Manifests; - is standard input.
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Check everything and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster get`
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// What: jobs, pytorchjobs, pods, nodes or events; or KIND/NAME.
    #[arg(default_value = "jobs", value_name = "KIND[/NAME]")]
    pub(crate) kind: String,
    /// Only this one.
    pub(crate) name: Option<String>,
    /// In all namespaces.
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
    /// Only what carries these labels: app=x,tier in (a,b).
    #[arg(long, short = 'l', default_value = "")]
    pub(crate) selector: String,
    /// Only what belongs to this job.
    #[arg(long, default_value = "")]
    pub(crate) job: String,
    /// Then print each change.
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A job by its name.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// NAME, KIND/NAME or KIND NAME.
    #[arg(value_name = "JOB", required = true, num_args = 1..=2)]
    job: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Named {
    /// The job; of two words that are not kind and name the second is one too many.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let mut targets = Target::parse_all(&self.job);
        match (targets.pop(), targets.pop()) {
            (Some(target), None) => Ok(target),
            _ => {
                let message =
                    format!("one job at a time, not {:?}: KIND/NAME or KIND NAME", self.job);
                Err(Failure::usage(message))
            }
        }
    }
}

/// `muster logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// NAME or KIND/NAME.
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
    /// Only these replicas, such as worker-0.
    #[arg(value_name = "REPLICA")]
    pub(crate) replicas: Vec<String>,
    /// Go on with what comes, through restarts, until the job ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// At most so many lines from the end of each replica's log.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Print the time of each line.
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Of this generation. [default: the current one]
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u32>,
    /// Of the generation before the last restart.
    #[arg(long, short, conflicts_with = "generation")]
    pub(crate) previous: bool,
}

/// `muster delete`
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// NAME..., KIND/NAME... or KIND NAME...
    #[arg(value_name = "JOB", required_unless_present = "files")]
    pub(crate) jobs: Vec<String>,
    /// The jobs of these manifests.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Do not wait until they are gone.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// What does not exist is no error.
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

/// `muster wait`
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// NAME..., KIND/NAME... or KIND NAME...
    #[arg(value_name = "JOB", required = true)]
    pub(crate) jobs: Vec<String>,
    /// condition=NAME[=VALUE], phase=PHASE or delete.
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Succeeded")]
    pub(crate) what: String,
    /// For how many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    pub(crate) timeout: Duration,
}

/// `muster explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A job, or an error code such as M1001.
    #[arg(value_name = "JOB|CODE")]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster env`
#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(subcommand)]
    pub(crate) command: EnvCommand,
}

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// List what there is.
    List(Output),
    /// Delete what is not used.
    Prune {
        /// Only what was not used for so many days.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
        /// Say what would be deleted, and do not.
        #[arg(long)]
        dry_run: bool,
    },
    /// Build what an image maps to, before a job needs it.
    Build {
        /// The image.
        image: String,
        /// Further packages, separated by commas.
        #[arg(long, default_value = "")]
        packages: String,
        /// The image map, a YAML file.
        #[arg(long, value_name = "FILE", env = "MUSTER_IMAGES")]
        images: Option<PathBuf>,
    },
    /// Delete one.
    Remove {
        /// Its name or key.
        name: String,
    },
}

/// A span in seconds, or with a unit: 90, 90s, 5m, 2h.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        unit => return Err(format!("{unit:?} is no unit; use s, m, h or d")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no span of time"))?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| "too long".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds("2h"), Ok(Duration::from_secs(7200)));
        assert!(seconds("2y").is_err());
        assert!(seconds("").is_err());
        assert!(seconds("99999999999999999999d").is_err());
    }
}
