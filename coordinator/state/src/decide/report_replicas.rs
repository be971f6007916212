//! What an agent says of its replicas. A report that is about another node's replica or carries
//! an old fence is dropped: its order has been overtaken, and the agent learns so from its next orders.

use muster_model::{ReplicaPhase, Severity};

use crate::command::{Accepted, ReplicaReport, ReportReplicas, Reported};
use crate::draft::Draft;
use crate::lifecycle;

pub(super) fn decide(draft: &mut Draft<'_>, reports: &ReportReplicas) -> Accepted {
    for report in &reports.reports {
        let known = draft.replica(report.id);
        let current = known.is_some_and(|replica| {
            replica.node == reports.node
                && (replica.fence == report.fence || cfg!(sim_bug = "take_stale_reports"))
                && !replica.phase.is_exited()
        });
        if current {
            take(draft, report);
        }
    }
    Accepted::Done
}

fn take(draft: &mut Draft<'_>, report: &ReplicaReport) {
    let id = report.id;
    let phase = match &report.what {
        Reported::Ready { store_port, free_port } => {
            ReplicaPhase::Ready { store_port: *store_port, free_port: *free_port }
        }
        Reported::Running => ReplicaPhase::Running { since: draft.now },
        Reported::Exited(exit) => ReplicaPhase::Exited { exit: exit.clone(), at: draft.now },
        Reported::Notice(text) => {
            let name = draft.the_job(id.job).gang.rank_name(id.rank);
            let message = format!("{name}: {text}");
            draft.event(id.job, (Severity::Warning, "Replica".into()), message);
            return;
        }
    };
    lifecycle::replica_moved(draft, id, phase);
}
