//! How many threads a process of a replica should use, for `OMP_NUM_THREADS` and the like.

use muster_model::{LaunchSpec, ResourceName};

/// The replica's share of cores, divided by its processes; at least 1.
///
/// The share is the main container's cpu request, else its limit, else an equal part of the node's
/// cores (`node_millicores`) among the replicas of the gang on that node. Fractions are rounded down: one
/// thread too many costs more than one too few.
#[must_use]
pub fn threads(spec: &LaunchSpec, node_millicores: u64) -> u64 {
    let main = spec.role.pod.main_container();
    let share = [&main.requests, &main.limits]
        .into_iter()
        .map(|amounts| amounts.get(&ResourceName::cpu()))
        .find(|millicores| *millicores > 0)
        .unwrap_or(node_millicores / u64::from(spec.replicas_on_node.max(1)));
    (share / 1000 / u64::from(spec.role.processes.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use muster_model::Resources;

    use super::*;
    use crate::launch::environment::tests::spec;

    #[test]
    fn the_share_is_request_then_limit_then_an_equal_part_of_the_node() {
        // request, limit (millicores), node, replicas on node, processes -> threads
        for (request, limit, node, replicas, processes, expected) in [
            (0, 0, 8000, 1, 1, 8),
            (0, 0, 8000, 3, 1, 2),
            (0, 0, 2000, 4, 1, 1),
            (4000, 0, 64_000, 1, 1, 4),
            (0, 6000, 64_000, 1, 1, 6),
            (4000, 6000, 64_000, 1, 1, 4),
            (4000, 0, 64_000, 1, 3, 1),
            (8000, 0, 64_000, 1, 4, 2),
            (500, 0, 64_000, 1, 1, 1),
            (3900, 0, 64_000, 1, 1, 3),
            (0, 0, 8000, 0, 0, 8),
        ] {
            let mut spec = spec();
            spec.replicas_on_node = replicas;
            spec.role.processes = processes;
            let main = &mut spec.role.pod.containers[0];
            main.requests = Resources::new().with("cpu", request);
            main.limits = Resources::new().with("cpu", limit);
            assert_eq!(
                threads(&spec, node),
                expected,
                "{request} {limit} {node} {replicas} {processes}"
            );
        }
    }
}
