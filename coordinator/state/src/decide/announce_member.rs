//! A member tells where it is: the first one of a new cluster, and any one that starts with another address or version.

use muster_model::Reason;

use crate::command::{Accepted, AnnounceMember};
use crate::draft::Draft;
use crate::record::{Member, MemberPhase};

pub(super) fn decide(draft: &mut Draft<'_>, announce: &AnnounceMember) -> Result<Accepted, Reason> {
    let id = announce.id;
    let old = draft.member(id).cloned();
    // Only the first member of a new cluster comes without having been added.
    let is_first = draft.base.tables().members.iter().next().is_none();
    if old.is_none() && !is_first {
        return Err(Reason::MemberNotFound { member: id });
    }
    let mut others = draft.base.tables().members.iter().filter(|(other, _)| **other != id);
    if let Some((other, _)) = others.find(|(_, member)| member.address == announce.address) {
        let address = announce.address.clone();
        return Err(Reason::MemberAddressTaken { member: *other, address });
    }
    let member = Member {
        address: announce.address.clone(),
        version: announce.version.clone(),
        joined: old.as_ref().map_or(draft.now, |old| old.joined),
        phase: old.map_or(MemberPhase::Staying, |old| old.phase),
    };
    draft.set_member(id, Some(member));
    draft.member_id_is_taken(id);
    Ok(Accepted::Member(id))
}
