//! The promises of the trait, for any runtime.

use muster_agent::runtime::{Observation, Seen};
use muster_model::ExitStatus;

use crate::lab::{Lab, key};
use crate::replica::{at_rank, replica, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_prepared_started_and_ends_with_its_code() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    assert!(node.adopted.is_empty());
    for (rank, text, status) in [
        (1, "exit 0", ExitStatus::Code(0)),
        (2, "exit 3", ExitStatus::Code(3)),
        (3, "exit 255", ExitStatus::Code(255)),
        (4, "kill -SEGV $$", ExitStatus::Signal(11)),
        (5, "kill -KILL $$", ExitStatus::Signal(9)),
    ] {
        let spec = at_rank(replica(&lab.job, script("main", text)), rank);
        node.start(&spec).await;
        let exit = node.exit(&spec).await;
        assert_eq!((exit.status, exit.after_stop), (status, false), "{text}");
        let states: Vec<&Seen> =
            node.told(key(&spec)).iter().filter(|seen| matches!(seen, Seen::State(_))).collect();
        assert!(
            matches!(
                states[..],
                [
                    Seen::State(Observation::Ready { .. }),
                    Seen::State(Observation::Running),
                    Seen::State(Observation::Exited(_))
                ]
            ),
            "{states:?}"
        );
    }
    node.finish(&lab).await;
}
