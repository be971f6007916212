//! decide(): the leader's judgement, one file per command.

mod add_member;
mod announce_member;
mod bind_gang;
mod cordon_node;
mod create_job;
mod cut_off;
mod delete_job;
mod evict_gang;
mod label_node;
mod member_left;
mod node_knows;
mod object;
mod register_node;
mod remove_member;
mod remove_node;
mod report_replicas;
mod revoke;
mod taint_node;
mod tick;
mod token;
mod unreachable_node;
mod update_job;

use muster_model::{JobId, NodeId, Reason};

use crate::change::Changes;
use crate::command::{Accepted, Apply, Body, Command, Decision, Reply};
use crate::draft::Draft;
use crate::policy::Policy;
use crate::record::Node;
use crate::state::State;

/// What a command does to the state. Total and pure: it reads the state, refuses with a typed
/// reason or answers with the changes, and equal inputs give equal outputs.
#[must_use]
pub fn decide(state: &State, policy: &Policy, command: &Command) -> Decision {
    let mut draft = Draft::new(state, policy, command.at);
    if let Some(done) = command.request.and_then(|request| draft.request(request)) {
        let reply = Reply::Accepted(again(&command.body, &done.jobs));
        return Decision { reply, changes: Changes::default() };
    }
    match judge(&mut draft, &command.body) {
        Ok(accepted) => {
            if let (Some(request), Some(jobs)) = (command.request, jobs_of(&accepted)) {
                draft.remember(request, jobs);
            }
            Decision { reply: Reply::Accepted(accepted), changes: draft.finish() }
        }
        Err(reason) => Decision { reply: Reply::Rejected(reason), changes: Changes::default() },
    }
}

fn judge(draft: &mut Draft<'_>, body: &Body) -> Result<Accepted, Reason> {
    match body {
        Body::Apply(manifests) => {
            let ids: Result<Vec<JobId>, Reason> =
                manifests.iter().map(|manifest| apply(draft, manifest)).collect();
            ids.map(Accepted::Applied)
        }
        Body::DeleteJob(delete) => delete_job::decide(draft, delete),
        Body::BindGang(bind) => bind_gang::decide(draft, bind),
        Body::ReportReplicas(reports) => Ok(report_replicas::decide(draft, reports)),
        Body::RegisterNode(register) => register_node::decide(draft, register),
        Body::NodeKnows(knows) => Ok(node_knows::decide(draft, knows)),
        Body::CutOff(cut) => Ok(cut_off::decide(draft, cut)),
        Body::NodeUnreachable(node) => Ok(unreachable_node::decide(draft, node)),
        Body::RemoveNode(remove) => remove_node::decide(draft, remove),
        Body::CordonNode(cordon) => cordon_node::decide(draft, cordon),
        Body::LabelNode(label) => label_node::decide(draft, label),
        Body::TaintNode(taint) => taint_node::decide(draft, taint),
        Body::EvictGang(evict) => evict_gang::decide(draft, evict),
        Body::AnnounceMember(announce) => announce_member::decide(draft, announce),
        Body::AddMember(add) => add_member::decide(draft, add),
        Body::RemoveMember(remove) => remove_member::decide(draft, remove),
        Body::MemberLeft(left) => Ok(member_left::decide(draft, left)),
        Body::CreateToken(create) => token::create(draft, create),
        Body::RemoveToken(remove) => token::remove(draft, remove),
        Body::UseToken(used) => token::use_once(draft, used),
        Body::Revoke(revoke) => Ok(revoke::decide(draft, revoke)),
        Body::PutObject(put) => object::put(draft, put),
        Body::DeleteObject(delete) => object::delete(draft, delete),
        Body::Tick => Ok(tick::decide(draft)),
    }
}

fn apply(draft: &mut Draft<'_>, manifest: &Apply) -> Result<JobId, Reason> {
    match manifest {
        Apply::Create(create) => create_job::decide(draft, create),
        Apply::Update(update) => update_job::decide(draft, update),
    }
}

/// The node that an operator names.
fn named_node(draft: &Draft<'_>, name: &str) -> Result<(NodeId, Node), Reason> {
    let found = draft.base.node_id(name).and_then(|id| Some((id, draft.node(id)?.clone())));
    found.ok_or_else(|| Reason::NodeNotFound { node: name.to_owned() })
}

/// The answer to the retry of a request that was accepted before.
fn again(body: &Body, jobs: &[JobId]) -> Accepted {
    match (body, jobs) {
        (Body::Apply(_), jobs) => Accepted::Applied(jobs.to_vec()),
        (Body::DeleteJob(_), [job]) => Accepted::Deleted(*job),
        _ => Accepted::Done,
    }
}

/// The jobs that a client's request was about.
fn jobs_of(accepted: &Accepted) -> Option<Vec<JobId>> {
    match accepted {
        Accepted::Applied(jobs) => Some(jobs.clone()),
        Accepted::Deleted(job) => Some(vec![*job]),
        // Nothing is to be remembered of it but that it was done.
        Accepted::NodeChanged => Some(Vec::new()),
        Accepted::Bound(_) | Accepted::Registered(_) | Accepted::Member(_) | Accepted::Done => None,
    }
}
