//! A member is to leave the coordinator. The record goes once consensus has taken it out.

use muster_model::Reason;

use crate::command::{Accepted, RemoveMember};
use crate::draft::Draft;
use crate::record::{Member, MemberPhase};

pub(super) fn decide(draft: &mut Draft<'_>, remove: &RemoveMember) -> Result<Accepted, Reason> {
    let id = remove.id;
    let Some(member) = draft.member(id).cloned() else {
        return Err(Reason::MemberNotFound { member: id });
    };
    let staying =
        |(other, member): (&_, &Member)| *other != id && member.phase == MemberPhase::Staying;
    if !draft.base.tables().members.iter().any(staying) {
        return Err(Reason::LastMember { member: id });
    }
    draft.set_member(id, Some(Member { phase: MemberPhase::Leaving, ..member }));
    Ok(Accepted::Member(id))
}
