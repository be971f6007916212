//! Job conditions, with the update rule of the v1 training operators.

use serde::{Deserialize, Serialize};

use crate::names::JobKind;
use crate::time::Timestamp;

/// The types of a job's conditions (`kubeflow.org/v1` `JobConditionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The job was accepted.
    Created,
    /// Its deciding replicas run.
    Running,
    /// Its gang is being restarted.
    Restarting,
    /// It ended well.
    Succeeded,
    /// It is suspended, or was.
    Suspended,
    /// It ended badly.
    Failed,
}

impl ConditionType {
    /// The name as status objects write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Restarting => "Restarting",
            Self::Succeeded => "Succeeded",
            Self::Suspended => "Suspended",
            Self::Failed => "Failed",
        }
    }
}

impl ConditionType {
    /// The reason that goes with the condition in the v1 training operators: the job's kind and a word.
    /// `holds` is false only for a job that is resumed.
    #[must_use]
    pub fn reason(self, kind: &JobKind, holds: bool) -> String {
        let word = match (self, holds) {
            (Self::Suspended, false) => "Resumed",
            (Self::Running, false) => "Suspended",
            _ => self.as_str(),
        };
        format!("{kind}{word}")
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// The machine-readable cause, such as `PyTorchJobRunning`.
    pub reason: String,
    /// The cause as a sentence.
    pub message: String,
    /// When it was last written.
    pub updated: Timestamp,
    /// When its status last changed.
    pub transitioned: Timestamp,
}

/// A job's conditions, the latest last.
///
/// The rule, as in `kubeflow/trainer` v1 `pkg/util/status.go`: an unchanged status and reason is no
/// change; otherwise the condition moves to the end and keeps its transition time if only the
/// reason changed; Restarting and Running exclude each other; a final condition turns Running
/// to false; after Failed nothing changes any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// The conditions in order.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// The latest condition, which is the job's `State` in tables.
    #[must_use]
    pub fn last(&self) -> Option<&Condition> {
        self.0.last()
    }

    /// Whether a condition holds.
    #[must_use]
    pub fn holds(&self, kind: ConditionType) -> bool {
        self.0.iter().any(|condition| condition.kind == kind && condition.status)
    }

    /// Writes a condition by the rule above. `updated` of the given one is the time of the change;
    /// its `transitioned` is ignored.
    pub fn set(&mut self, mut new: Condition) {
        if self.holds(ConditionType::Failed) {
            return;
        }
        let now = new.updated;
        new.transitioned = now;
        if let Some(old) = self.0.iter().find(|old| old.kind == new.kind) {
            if old.status == new.status && old.reason == new.reason {
                return;
            }
            if old.status == new.status {
                new.transitioned = old.transitioned;
            }
        }
        let excluded = match (new.kind, new.status) {
            (ConditionType::Restarting, true) => Some(ConditionType::Running),
            (ConditionType::Running, true) => Some(ConditionType::Restarting),
            _ => None,
        };
        self.0.retain(|old| old.kind != new.kind && Some(old.kind) != excluded);
        if matches!(new.kind, ConditionType::Succeeded | ConditionType::Failed) && new.status {
            self.end_running(now);
        }
        self.0.push(new);
    }

    fn end_running(&mut self, now: Timestamp) {
        let running =
            self.0.iter_mut().find(|old| old.kind == ConditionType::Running && old.status);
        if let Some(running) = running {
            running.status = false;
            running.updated = now;
            running.transitioned = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: ConditionType, reason: &str, at: u64) -> Condition {
        Condition {
            kind,
            status: true,
            reason: reason.into(),
            message: String::new(),
            updated: Timestamp(at),
            transitioned: Timestamp(0),
        }
    }

    fn shape(conditions: &Conditions) -> Vec<(&'static str, bool)> {
        conditions.iter().map(|c| (c.kind.as_str(), c.status)).collect()
    }

    #[test]
    fn restarting_and_running_exclude_each_other_and_the_newest_stands_last() {
        let mut conditions = Conditions::default();
        conditions.set(condition(ConditionType::Created, "C", 1));
        conditions.set(condition(ConditionType::Running, "R", 2));
        conditions.set(condition(ConditionType::Restarting, "X", 3));
        assert_eq!(shape(&conditions), [("Created", true), ("Restarting", true)]);
        conditions.set(condition(ConditionType::Running, "R", 4));
        assert_eq!(shape(&conditions), [("Created", true), ("Running", true)]);
        conditions.set(condition(ConditionType::Succeeded, "S", 5));
        assert_eq!(
            shape(&conditions),
            [("Created", true), ("Running", false), ("Succeeded", true)]
        );
        assert_eq!(conditions.iter().nth(1).unwrap().transitioned, Timestamp(5));
    }

    #[test]
    fn the_same_status_and_reason_is_no_change() {
        let mut conditions = Conditions::default();
        conditions.set(condition(ConditionType::Running, "R", 2));
        conditions.set(condition(ConditionType::Running, "R", 9));
        assert_eq!(conditions.last().unwrap().updated, Timestamp(2));
        conditions.set(condition(ConditionType::Running, "Other", 9));
        assert_eq!(conditions.last().unwrap().updated, Timestamp(9));
        assert_eq!(conditions.last().unwrap().transitioned, Timestamp(2));
    }

    #[test]
    fn nothing_changes_after_failed() {
        let mut conditions = Conditions::default();
        conditions.set(condition(ConditionType::Failed, "F", 1));
        conditions.set(condition(ConditionType::Running, "R", 2));
        assert_eq!(shape(&conditions), [("Failed", true)]);
    }
}
