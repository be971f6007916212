//! Files of the job's kind, which name the replicas of the generation.

use muster_model::{
    EnvTemplate, ExitStatus, FileTemplate, Part, Peer, PeerPart, PeerSet, Peers, RoleIndex,
    Template, Variable,
};

use crate::lab::Lab;
use crate::replica::{opening, replica, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_finds_its_files_where_its_variables_say() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let seen = lab.path("seen");
    let mut spec = replica(
        &lab.job,
        script("main", &format!("stat -c %a $HOSTS > {0}; cat $HOSTS >> {0}", seen.display())),
    );
    let line = [PeerPart::Address, PeerPart::Text(" slots=2\n".into())];
    let hosts =
        Peers { of: PeerSet::Role(RoleIndex(0)), each: line.to_vec(), separator: String::new() };
    spec.role.files = vec![FileTemplate {
        path: "/etc/mpi/hostfile".into(),
        mode: 0o444,
        content: Template(vec![Part::Peers(hosts)]),
    }];
    spec.role.env.push(EnvTemplate {
        name: "HOSTS".into(),
        value: Template(vec![
            Part::Hole(Variable::FilesRoot),
            Part::Text("/etc/mpi/hostfile".into()),
        ]),
        user_wins: false,
    });
    node.runtime.prepare(spec.clone());
    node.ready(&spec).await;
    let mut context = opening(&spec);
    let peer = |address: &str| Peer { address: address.into(), port: None };
    context.peers = vec![vec![peer("10.0.0.1"), peer("10.0.0.2")]];
    node.runtime.start(spec.id, spec.fence, context);
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    let found = std::fs::read_to_string(&seen).expect("the program has written it");
    assert_eq!(found, "444\n10.0.0.1 slots=2\n10.0.0.2 slots=2\n");
    node.finish(&lab).await;
}
