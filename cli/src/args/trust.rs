//! The flags of `muster token`, `login` and their like.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, seconds};

/// `muster token`
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What to do about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it. It cannot be shown again.
    Create(TokenCreate),
    /// Show all tokens, without their secrets.
    List(Output),
    /// Remove tokens. Machines that joined with one stay; `token revoke` is for those.
    Remove {
        /// As `muster token list` shows them.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Take back the certificates that an agent or a member has. It may join anew with a token.
    Revoke {
        /// agent/NODE/AGENT, as its log and the coordinator's say, or member/ID.
        #[arg(value_name = "SUBJECT")]
        subject: String,
    },
}

/// `muster token create`
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// A machine may join with it: as agent or as member.
    #[arg(long, value_parser = ["agent", "member"], required_unless_present = "user")]
    pub(crate) role: Option<String>,
    /// How many machines may.
    #[arg(long, default_value_t = 1, conflicts_with = "user", value_name = "COUNT")]
    pub(crate) uses: u32,
    /// It is for a user of this name.
    #[arg(long, conflicts_with = "role", requires = "grant", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// What the user may do: viewer, editor or admin, everywhere, or, as ROLE:NAMESPACE, there. May be repeated.
    #[arg(long, value_name = "ROLE[:NAMESPACE]", requires = "user")]
    pub(crate) grant: Vec<String>,
    /// How long it counts: 30m, 12h, 7d. [default: 1h for joining, for ever for a user]
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    pub(crate) ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `muster kubeconfig`
#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    /// Where clients reach the HTTP door, if that is not where it listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server_address: Option<String>,
    /// The namespace that clients use when none is named.
    #[arg(long, short = 'n', default_value = "default", value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// JSON instead of YAML.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the operator's certificate, as clients of Kubernetes ask a program for it.
    #[arg(long, hide = true)]
    pub(crate) credential: bool,
}

/// `muster login`
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The coordinator, https://HOST:PORT, or several of its members with commas between them.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
}
