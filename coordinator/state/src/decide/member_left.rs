//! A member that was to leave has neither vote nor log any more.

use crate::command::{Accepted, MemberLeft};
use crate::draft::Draft;
use crate::record::MemberPhase;

pub(super) fn decide(draft: &mut Draft<'_>, left: &MemberLeft) -> Accepted {
    if draft.member(left.id).is_some_and(|member| member.phase == MemberPhase::Leaving) {
        draft.set_member(left.id, None);
    }
    Accepted::Done
}
