//! Consensus follows the records: whoever is to stay becomes a learner and, once it has caught up, a voter; whoever is
//! to leave is taken out, and then its record goes.
//!
//! One step at a time, and only between entries. Every step is computed anew from records and membership, so that a new
//! leader goes on where the old one stopped.

use bytes::Bytes;
use muster_consensus::{Change, Index, MemberId, Role, Status, Step};
use muster_state::{Body, MemberLeft, MemberPhase, State};

use crate::batch::Waiting;
use crate::member::Member;

/// A learner gets its vote when it lacks at most so many entries.
const CAUGHT_UP: u64 = 1000;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Change(Step),
    /// This member is to leave and must not lead then.
    HandOver(MemberId),
    /// The record can go.
    Forget(MemberId),
}

/// Takes the next step, if there is one.
pub(crate) fn reconcile<R, L>(member: &mut Member<R, L>) {
    if !member.leads() {
        return;
    }
    match next(&member.state, &member.node.status()) {
        None => {}
        Some(Next::Change(step)) => {
            // Refused while another change is under way; then it is computed again.
            let _ = member.node.propose_membership(&Change::Now(vec![step]), Bytes::new());
        }
        Some(Next::HandOver(to)) => {
            let _ = member.transfer(Some(to));
        }
        Some(Next::Forget(id)) => {
            let body = Body::MemberLeft(MemberLeft { id: muster_model::MemberId(id.0) });
            member.waiting.push_back(Waiting { request: None, body, reply: None });
        }
    }
}

fn next(state: &State, status: &Status) -> Option<Next> {
    let membership = &status.membership;
    if status.standing.role != Role::Leader
        || membership.is_joint()
        || status.transferring.is_some()
    {
        return None;
    }
    state.tables().members.iter().find_map(|(id, record)| {
        let id = MemberId(id.0);
        let leaves = record.phase == MemberPhase::Leaving;
        let peer = status.peers.iter().find(|peer| peer.id == id);
        let caught_up =
            peer.is_some_and(|peer| peer.active && reaches(peer.matched, status.commit));
        match (leaves, membership.contains(id)) {
            (true, false) => Some(Next::Forget(id)),
            (true, true) if id == status.id => {
                let fit = status.peers.iter().filter(|peer| {
                    peer.active
                        && membership.voters.contains(&peer.id)
                        && reaches(peer.matched, status.commit)
                });
                fit.max_by_key(|peer| peer.matched).map(|peer| Next::HandOver(peer.id))
            }
            (true, true) => Some(Next::Change(Step::Remove(id))),
            (false, false) => Some(Next::Change(Step::Learner(id))),
            (false, true) if membership.learners.contains(&id) && caught_up => {
                Some(Next::Change(Step::Voter(id)))
            }
            (false, true) => None,
        }
    })
}

/// A member that has acknowledged nothing yet is no member to count on, however short the log is.
fn reaches(matched: Index, commit: Index) -> bool {
    matched.0 > 0 && matched.0 + CAUGHT_UP >= commit.0
}
