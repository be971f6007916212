//! Certificates are taken back. Whoever they name may join anew with a token.

use crate::command::{Accepted, Revoke};
use crate::draft::Draft;
use crate::record::Revocation;

pub(super) fn decide(draft: &mut Draft<'_>, revoke: &Revoke) -> Accepted {
    // Certificates count in whole seconds: one made within this one is taken back too.
    let before = draft.now.plus(muster_model::Millis::from_secs(1));
    draft.revoke(revoke.subject.clone(), Revocation { before });
    Accepted::Done
}
