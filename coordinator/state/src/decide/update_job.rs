//! A changed manifest. What may change was checked by the front door; here it takes effect.

use muster_model::{JobId, Reason, RunPolicy};

use crate::command::UpdateJob;
use crate::draft::Draft;
use crate::lifecycle;

pub(super) fn decide(draft: &mut Draft<'_>, update: &UpdateJob) -> Result<JobId, Reason> {
    let id =
        draft.job_id(&update.key).ok_or_else(|| Reason::JobNotFound { job: update.key.clone() })?;
    let mut job = draft.the_job(id).clone();
    if job.deleting.is_some() {
        return Err(Reason::BeingDeleted { job: job.key });
    }
    let version = draft.base.tables().jobs.version(&id).unwrap_or_default();
    if version != update.based_on {
        return Err(Reason::StalePlan {
            why: format!(
                "{} was changed by somebody else meanwhile (version {version}, expected {}); \
                 read it again and repeat the change",
                job.key, update.based_on
            ),
        });
    }
    let (old, new) = (job.gang.run_policy.clone(), update.gang.run_policy.clone());
    if !old.suspend && new.suspend && draft.the_status(id).phase.is_final() {
        return Err(Reason::Finished { job: job.key });
    }
    job.manifest.clone_from(&update.manifest);
    job.gang.run_policy = new.clone();
    job.spec_generation += u64::from(update.spec_changed);
    let external = job.external;
    draft.set_job(id, Some(job));
    if !external {
        take_effect(draft, id, (&old, &new));
    }
    Ok(id)
}

fn take_effect(draft: &mut Draft<'_>, id: JobId, (old, new): (&RunPolicy, &RunPolicy)) {
    if old.active_deadline != new.active_deadline {
        lifecycle::set_deadline(draft, id);
    }
    if old.ttl_after_finished != new.ttl_after_finished {
        lifecycle::set_time_to_live(draft, id);
    }
    match (old.suspend, new.suspend) {
        (false, true) => lifecycle::suspend(draft, id),
        (true, false) => lifecycle::resume(draft, id),
        _ => {}
    }
}
