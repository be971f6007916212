//! The plain kinds of Kubernetes: a `batch/v1` Job and a bare Pod. Their replicas do not know each other.

mod job;
mod pod;

pub(crate) use self::job::BatchJob;
pub(crate) use self::pod::BarePod;
