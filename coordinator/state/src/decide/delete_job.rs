//! A job goes: at once when it holds nothing, else as soon as all its ranks have stopped.

use muster_model::Reason;

use crate::command::{Accepted, DeleteJob};
use crate::draft::Draft;
use crate::lifecycle;

pub(super) fn decide(draft: &mut Draft<'_>, delete: &DeleteJob) -> Result<Accepted, Reason> {
    let not_found = || Reason::JobNotFound { job: delete.key.clone() };
    let id = draft.base.job_id(&delete.key).ok_or_else(not_found)?;
    if delete.uid.as_ref().is_some_and(|uid| *uid != draft.the_job(id).uid) {
        return Err(not_found());
    }
    lifecycle::delete(draft, id);
    Ok(Accepted::Deleted(id))
}
