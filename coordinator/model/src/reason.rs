//! Why the coordinator refuses a request. Every reason has a code with a page in `docs/errors/`, a
//! sentence that says what is wrong, and the next step.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::{TokenFault, TokenId};
use crate::field_error::FieldError;
use crate::ids::{MemberId, ObjectKey};
use crate::names::{JobKey, NodeName};

/// A stable error code, such as `M1004`; `muster explain M1004` prints its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a command was refused. Nothing of a refused command has been applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Fields of the manifest are wrong; all of them are listed.
    Invalid {
        /// What the manifest is about, as `Kind name`.
        object: String,
        /// The problems.
        errors: Vec<FieldError>,
    },
    /// A job of that name exists.
    AlreadyExists {
        /// The job.
        job: JobKey,
    },
    /// There is no such job.
    JobNotFound {
        /// The job.
        job: JobKey,
    },
    /// There is no such node.
    NodeNotFound {
        /// The node.
        node: String,
    },
    /// Fields that cannot change after creation would change.
    Immutable {
        /// The job.
        job: JobKey,
        /// The fields.
        errors: Vec<FieldError>,
    },
    /// The job is being deleted.
    BeingDeleted {
        /// The job.
        job: JobKey,
    },
    /// The job has ended, so that the change has no meaning any more.
    Finished {
        /// The job.
        job: JobKey,
    },
    /// A placement was planned on a state that has changed since.
    StalePlan {
        /// What has changed.
        why: String,
    },
    /// The node is in use and reachable; its agent would have to go first.
    NodeInUse {
        /// The node.
        node: NodeName,
    },
    /// The node is not cordoned, so that an evicted gang could come straight back.
    NodeNotCordoned {
        /// The node.
        node: NodeName,
    },
    /// The job says that its gang is never to be restarted.
    NotToRestart {
        /// The job.
        job: JobKey,
    },
    /// Labels or taints have other values already.
    NodeHasOther {
        /// The node.
        node: NodeName,
        /// Which, and what they are.
        what: Vec<String>,
    },
    /// The node has no such taints.
    TaintNotFound {
        /// The node.
        node: NodeName,
        /// Which.
        taints: Vec<String>,
    },
    /// There is no such member of the coordinator.
    MemberNotFound {
        /// The member.
        member: MemberId,
    },
    /// Another member is at that address.
    MemberAddressTaken {
        /// The member that has it.
        member: MemberId,
        /// The address.
        address: String,
    },
    /// A cluster of more members would be slower and not safer.
    TooManyMembers {
        /// The most that there may be.
        limit: usize,
    },
    /// Without this member nobody would be left.
    LastMember {
        /// The member.
        member: MemberId,
    },
    /// The manifest names another object or an older version than there is now.
    Conflict {
        /// The job.
        job: JobKey,
        /// What has happened to it.
        why: String,
    },
    /// The change alone does not fit into an entry of the log.
    TooLarge {
        /// Its size in bytes, about.
        bytes: usize,
        /// What an entry may measure.
        limit: usize,
    },
    /// A token does not let its bearer in.
    TokenRefused {
        /// Why.
        fault: TokenFault,
    },
    /// There is a token of that name.
    TokenExists {
        /// The token.
        token: TokenId,
    },
    /// There is no token of that name.
    TokenNotFound {
        /// The token.
        token: TokenId,
    },
    /// There is an object of that name.
    ObjectExists {
        /// The object.
        object: ObjectKey,
    },
    /// There is no object of that name.
    ObjectNotFound {
        /// The object.
        object: ObjectKey,
    },
    /// There are tokens enough.
    TooManyTokens {
        /// The most that there may be.
        limit: usize,
    },
    /// Another agent has registered under this name.
    NodeNameTaken {
        /// The name.
        node: NodeName,
        /// The address of the agent that holds it.
        address: String,
    },
}

impl Reason {
    /// The code of this reason.
    #[must_use]
    pub fn code(&self) -> Code {
        Code(match self {
            Self::Invalid { .. } => "M1001",
            Self::AlreadyExists { .. } => "M1004",
            Self::JobNotFound { .. } | Self::NodeNotFound { .. } => "M1005",
            Self::Immutable { .. } => "M1006",
            Self::BeingDeleted { .. } => "M1007",
            Self::Finished { .. } => "M1008",
            Self::StalePlan { .. } | Self::Conflict { .. } => "M2002",
            Self::NodeInUse { .. } => "M2003",
            Self::NodeNotCordoned { .. } | Self::NotToRestart { .. } => "M2009",
            Self::NodeHasOther { .. } => "M2010",
            Self::TaintNotFound { .. } => "M1005",
            Self::NodeNameTaken { .. } => "M2004",
            Self::MemberNotFound { .. } => "M1005",
            Self::MemberAddressTaken { .. }
            | Self::TooManyMembers { .. }
            | Self::LastMember { .. } => "M2007",
            Self::TooLarge { .. } => "M1011",
            Self::TokenRefused { .. } => "M1012",
            Self::TokenExists { .. } | Self::ObjectExists { .. } => "M1004",
            Self::TokenNotFound { .. } | Self::ObjectNotFound { .. } => "M1005",
            Self::TooManyTokens { .. } => "M1013",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { object, errors } => {
                write!(f, "{object} is invalid:")?;
                list(f, errors)
            }
            Self::AlreadyExists { job } => write!(
                f,
                "{job} already exists; use `muster apply` to change it, another name, or delete it first"
            ),
            Self::JobNotFound { job } => {
                write!(f, "{job} not found; `muster get -A` lists what there is")
            }
            Self::NodeNotFound { node } => {
                write!(f, "node {node:?} not found; `muster nodes` lists what there is")
            }
            Self::Immutable { job, errors } => {
                write!(
                    f,
                    "{job} cannot be changed in these fields after its creation; delete it and create it anew:"
                )?;
                list(f, errors)
            }
            Self::BeingDeleted { job } => write!(
                f,
                "{job} is being deleted; wait until it is gone (`muster wait --for=delete`) and try again"
            ),
            Self::Finished { job } => {
                write!(f, "{job} has ended; delete it and create it anew to run it again")
            }
            Self::StalePlan { why } => write!(f, "the plan is out of date: {why}"),
            Self::NodeInUse { node } => {
                write!(f, "node {node} is reachable; stop its agent before you remove it")
            }
            Self::NodeNotCordoned { node } => write!(
                f,
                "node {node} takes new gangs, so that an evicted one could come straight back; cordon it first with \
                 `muster nodes cordon {node}`"
            ),
            Self::NotToRestart { job } => write!(
                f,
                "{job} has restartPolicy Never, and an evicted gang starts anew elsewhere; use --force if it may, or \
                 wait for its end"
            ),
            Self::NodeHasOther { node, what } => write!(
                f,
                "node {node} has already: {}; use --overwrite to change that",
                what.join(", ")
            ),
            Self::TaintNotFound { node, taints } => {
                write!(f, "node {node} has no taint {}", taints.join(" and none "))
            }
            Self::MemberNotFound { member } => {
                write!(f, "member {member} not found; `muster members` lists what there is")
            }
            Self::MemberAddressTaken { member, address } => write!(
                f,
                "member {member} is at {address} already; remove it first with `muster members remove {member}`, or \
                 give this one another address with --advertise"
            ),
            Self::TooManyMembers { limit } => write!(
                f,
                "a cluster has at most {limit} members, and three or five are best; remove one first"
            ),
            Self::LastMember { member } => {
                write!(f, "member {member} is the last one; add another before you remove it")
            }
            Self::Conflict { job, why } => write!(f, "{job} is not the one in the manifest: {why}"),
            Self::TooLarge { bytes, limit } => write!(
                f,
                "the change is too large: {bytes} bytes of records, and {limit} go into one entry of the log; use \
                 fewer replicas, smaller manifests or fewer documents at a time"
            ),
            Self::TokenRefused { fault } => f.write_str(match fault {
                TokenFault::Unknown => {
                    "the token is not known here: it was removed, or damaged on its way, or is another cluster's; an \
                     admin makes a new one with `muster token create`"
                }
                TokenFault::Expired => {
                    "the token has expired; an admin makes a new one with `muster token create`, with a longer --ttl \
                     if need be"
                }
                TokenFault::Used => {
                    "the token has been used as often as it may be; if that was not you, remove what joined with it, \
                     and make a new one with `muster token create`"
                }
                TokenFault::OtherRole => {
                    "the token is for another role; make one with `muster token create --role agent` or `--role member`"
                }
            }),
            Self::TokenExists { token } => {
                write!(f, "token {token} exists already; remove it first, or choose another name")
            }
            Self::TokenNotFound { token } => {
                write!(f, "token {token} not found; `muster token list` lists what there is")
            }
            Self::ObjectExists { object } => {
                write!(f, "{object} exists already; change it, or choose another name")
            }
            Self::ObjectNotFound { object } => write!(f, "{object} not found"),
            Self::TooManyTokens { limit } => {
                write!(f, "there are {limit} tokens already; remove some with `muster token remove`")
            }
            Self::NodeNameTaken { node, address } => write!(
                f,
                "the name {node} belongs to another agent, last seen at {address}; give this one another with \
                 --node-name, or, if that machine is gone for good, free the name with `muster nodes remove {node}`"
            ),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, errors: &[FieldError]) -> fmt::Result {
    errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
}

impl std::error::Error for Reason {}
