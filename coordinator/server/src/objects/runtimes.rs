//! What a TrainJob may refer to.

use muster_kinds::Runtimes;
use muster_state::State;

/// The resources whose objects are runtimes end so.
const RUNTIMES: &str = "trainingruntimes.trainer.kubeflow.org";

/// The runtimes that come with Muster, and those that were made.
pub(crate) fn known_runtimes(state: &State) -> Runtimes {
    let objects = state.tables().objects.iter();
    let made = objects.filter(|(key, _)| key.resource.ends_with(RUNTIMES));
    // Only objects that parsed are kept.
    Runtimes::with(made.filter_map(|(_, object)| serde_json::from_str(&object.json).ok()))
}
