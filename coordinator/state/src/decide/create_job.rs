//! A new job: stored, and its gang waits for a place unless it is suspended.

use muster_model::{Attempt, Conditions, GangPhase, Generation, JobId, JobPhase, Reason, Severity};

use crate::command::CreateJob;
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Gang, Job, JobStatus, RoleTally};

pub(super) fn decide(draft: &mut Draft<'_>, create: &CreateJob) -> Result<JobId, Reason> {
    if let Some(old) = draft.job_id(&create.key) {
        let job = create.key.clone();
        return Err(if draft.the_job(old).deleting.is_some() {
            Reason::BeingDeleted { job }
        } else {
            Reason::AlreadyExists { job }
        });
    }
    let id = draft.new_job_id();
    let held = create.external || create.gang.run_policy.suspend;
    let (job_phase, gang_phase) = if held {
        (JobPhase::Suspended, GangPhase::Released)
    } else {
        (JobPhase::Queued, GangPhase::Waiting)
    };
    let now = draft.now;
    draft.set_job(
        id,
        Some(Job {
            id,
            uid: create.uid.clone(),
            key: create.key.clone(),
            created: now,
            manifest: create.manifest.clone(),
            spec_generation: 1,
            gang: create.gang.clone(),
            submit_dir: create.submit_dir.clone(),
            external: create.external,
            deleting: None,
        }),
    );
    draft.set_status(
        id,
        Some(JobStatus {
            phase: job_phase,
            conditions: Conditions::default(),
            started: None,
            completed: None,
            restarts: 0,
            streak: 0,
            program_streak: 0,
        }),
    );
    draft.set_gang(
        id,
        Some(Gang {
            attempt: Attempt::default(),
            generation: Generation::default(),
            phase: gang_phase,
            since: now,
            opened: None,
            rendezvous: None,
            tally: vec![RoleTally::default(); create.gang.roles.len()],
            failure: None,
            stop_grace: None,
        }),
    );
    if !create.external {
        narrate::created(draft, id);
        if held {
            narrate::suspended(draft, id);
        }
    }
    for warning in &create.warnings {
        draft.event(id, (Severity::Warning, "Manifest".into()), warning.clone());
    }
    Ok(id)
}
