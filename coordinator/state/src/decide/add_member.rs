//! A member is to join the coordinator. Consensus takes it in as a learner and gives it a vote once it has caught up.

use muster_model::Reason;

use crate::command::{Accepted, AddMember};
use crate::draft::Draft;
use crate::record::{Member, MemberPhase};

/// More members make every commit slower and no cluster safer (Raft thesis, section 2.1: five tolerate two failures).
const MAX_MEMBERS: usize = 9;

pub(super) fn decide(draft: &mut Draft<'_>, add: &AddMember) -> Result<Accepted, Reason> {
    let members = &draft.base.tables().members;
    if let Some((id, _)) = members.iter().find(|(_, member)| member.address == add.address) {
        return Err(Reason::MemberAddressTaken { member: *id, address: add.address.clone() });
    }
    if members.iter().count() >= MAX_MEMBERS {
        return Err(Reason::TooManyMembers { limit: MAX_MEMBERS });
    }
    let id = draft.new_member_id();
    let member = Member {
        address: add.address.clone(),
        version: add.version.clone(),
        joined: draft.now,
        phase: MemberPhase::Staying,
    };
    draft.set_member(id, Some(member));
    Ok(Accepted::Member(id))
}
