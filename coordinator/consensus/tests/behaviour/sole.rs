//! A cluster of one goes the same road as any other, without waiting for anybody.

use bytes::Bytes;
use muster_consensus::{
    Boot, Config, EntryKind, HardState, Index, MemberId, Membership, Node, Payload, Position, Role,
    Term,
};

const ME: MemberId = MemberId(1);

fn start(boot: Boot) -> Node {
    Node::new(Config::new(ME), boot).expect("a healthy member")
}

#[test]
fn a_sole_member_leads_at_once_and_writes_its_term_before_anything_else() {
    let mut node = start(Boot::first_start(Membership::of_voters([ME])));
    let mut ready = node.ready().expect("an election to write");
    let standing = ready.standing().expect("it leads now");
    assert_eq!((standing.role, standing.term, standing.leader), (Role::Leader, Term(2), Some(ME)));
    assert!(ready.take_messages().is_empty() && ready.take_committed().is_empty());
    let write = ready.write().clone();
    let state = HardState { term: Term(2), vote: Some(ME), commit: Index(1) };
    assert_eq!((write.hard_state, write.sync), (Some(state), true));
    let positions: Vec<_> = write.entries.iter().map(|entry| entry.position()).collect();
    assert_eq!(positions, [Position::new(Index(2), Term(2))]);
    let done = ready.persisted();
    assert_eq!(done.committed.len(), 1);
    assert_eq!(done.committed[0].payload, Payload::Nothing);
    assert!(node.ready().is_none());
}

#[test]
fn a_proposal_is_committed_by_its_own_write_and_not_before() {
    let mut node = start(Boot::first_start(Membership::of_voters([ME])));
    drop(node.ready().expect("an election").persisted());
    let data = Bytes::from_static(b"data");
    let context = Bytes::from_static(b"context");
    let at = node.propose(data.clone(), context.clone()).expect("the leader proposes");
    assert_eq!(at, Position::new(Index(3), Term(2)));
    let mut ready = node.ready().expect("an entry to write");
    assert!(ready.take_committed().is_empty());
    let entry = &ready.write().entries[0];
    assert_eq!((entry.position(), entry.kind), (at, EntryKind::Data));
    assert_eq!((&entry.data, &entry.context), (&data, &context));
    // The commit of the entry before rides along.
    assert_eq!(ready.write().hard_state.map(|state| state.commit), Some(Index(2)));
    let committed = ready.persisted().committed;
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[0].payload, Payload::Data { data, context });
}

#[test]
fn a_restarted_sole_member_first_commits_what_it_had_and_leads_in_a_new_term() {
    let mut node = start(Boot::first_start(Membership::of_voters([ME])));
    let mut boot = Boot::first_start(Membership::of_voters([ME]));
    node.propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    while let Some(ready) = node.ready() {
        boot.entries.extend(ready.write().entries.iter().cloned());
        boot.hard_state = ready.write().hard_state.unwrap_or(boot.hard_state);
        drop(ready.persisted());
    }
    assert_eq!(boot.hard_state.commit, Index(1), "the last commit was never written");
    let mut node = start(boot);
    let mut applied = Vec::new();
    while let Some(mut ready) = node.ready() {
        applied.extend(ready.take_committed());
        applied.extend(ready.persisted().committed);
    }
    let indexes: Vec<_> = applied.iter().map(|entry| (entry.index.0, entry.term.0)).collect();
    assert_eq!(indexes, [(2, 2), (3, 2), (4, 3)]);
    assert_eq!(node.standing().role, Role::Leader);
}

#[test]
fn a_sole_voter_tells_its_learners_nothing_before_its_term_is_durable() {
    let mut membership = Membership::of_voters([ME]);
    membership.learners.insert(MemberId(2));
    let mut node = start(Boot::first_start(membership));
    let mut ready = node.ready().expect("an election to write");
    assert!(ready.take_messages().is_empty());
    assert!(!ready.persisted().messages.is_empty());
}
