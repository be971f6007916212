//! Noticing that nobody needs this coordinator any more. Only an embedded one that a client started on its
//! own uses it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::brain::{Brain, BrainError};
use crate::hub::Hub;

/// When a request last came.
#[derive(Debug, Clone)]
pub(crate) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// A request has come.
    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until, for the given span, no request came, nobody watched and every job had ended.
pub(crate) async fn idle(span: Duration, brain: Brain, (hub, activity): (Arc<Hub>, Activity)) {
    loop {
        let quiet_since = activity.last();
        tokio::time::sleep_until(quiet_since + span).await;
        let busy = brain
            .read(|state| {
                let mut statuses = state.tables().statuses.iter();
                statuses.any(|(_, status)| !status.phase.is_final())
            })
            .await;
        match busy {
            Ok(false) if hub.watcher_count() == 0 => {
                if activity.last() == quiet_since {
                    return;
                }
            }
            Err(BrainError::Stopping) => return,
            _ => activity.touch(),
        }
    }
}
