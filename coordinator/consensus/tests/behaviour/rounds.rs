//! What may leave a node before its write, and what only after it.

use bytes::Bytes;
use muster_consensus::{
    Boot, Config, ElectionError, Index, MemberId, Membership, Message, Node, ProposeError, Role,
    StepError,
};

fn trio() -> Vec<Node> {
    let membership = Membership::of_voters((1..=3).map(MemberId));
    (1..=3)
        .map(|id| Node::new(Config::new(MemberId(id)), Boot::first_start(membership.clone())))
        .collect::<Result<_, _>>()
        .expect("healthy members")
}

/// Lets a node do everything; returns what it sends.
fn settle(node: &mut Node) -> Vec<Message> {
    let mut outbox = Vec::new();
    while let Some(mut ready) = node.ready() {
        outbox.extend(ready.take_messages());
        outbox.extend(ready.persisted().messages);
    }
    outbox
}

/// Carries messages until there are none.
fn exchange(nodes: &mut [Node], mut outbox: Vec<Message>) {
    while !outbox.is_empty() {
        let mut next = Vec::new();
        for message in outbox {
            let node = &mut nodes[message.to.0 as usize - 1];
            node.step(&message.bytes).expect("a correct message");
            next.extend(settle(node));
        }
        outbox = next;
    }
}

fn trio_with_leader() -> Vec<Node> {
    let mut nodes = trio();
    nodes[0].campaign().expect("a voter");
    let outbox = settle(&mut nodes[0]);
    exchange(&mut nodes, outbox);
    assert_eq!(nodes[0].standing().role, Role::Leader);
    nodes
}

#[test]
fn a_leader_sends_its_appends_before_its_own_write() {
    let mut nodes = trio_with_leader();
    nodes[0].propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    let mut ready = nodes[0].ready().expect("an entry");
    assert_eq!(ready.take_messages().len(), 2);
    assert!(ready.write().sync && ready.write().entries.len() == 1);
    drop(ready.persisted());
}

#[test]
fn a_follower_acknowledges_only_after_its_write() {
    let mut nodes = trio_with_leader();
    nodes[0].propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    let append = settle(&mut nodes[0]).remove(0);
    let follower = &mut nodes[append.to.0 as usize - 1];
    follower.step(&append.bytes).expect("an append");
    let mut ready = follower.ready().expect("an entry to write");
    assert!(ready.take_messages().is_empty());
    assert_eq!(ready.persisted().messages.len(), 1);
}

#[test]
fn a_vote_is_told_only_after_it_is_written() {
    let mut nodes = trio();
    nodes[0].campaign().expect("a voter");
    let mut requests = settle(&mut nodes[0]);
    let answers: Vec<_> = requests
        .drain(..)
        .flat_map(|request| {
            let peer = &mut nodes[request.to.0 as usize - 1];
            peer.step(&request.bytes).expect("a pre-vote request");
            settle(peer)
        })
        .collect();
    let before = nodes[0].standing().term;
    nodes[0].step(&answers[0].bytes).expect("a pre-vote");
    let mut ready = nodes[0].ready().expect("a candidacy to write");
    assert!(ready.take_messages().is_empty(), "the candidate's own vote is not durable yet");
    let term = ready.write().hard_state.expect("a new term").term;
    assert!(term > before && ready.write().sync);
    let request = ready.persisted().messages.remove(0);
    let peer = &mut nodes[request.to.0 as usize - 1];
    peer.step(&request.bytes).expect("a vote request");
    let mut ready = peer.ready().expect("a vote to write");
    assert!(ready.take_messages().is_empty() && ready.write().sync);
    let vote = ready.write().hard_state.expect("a vote").vote;
    assert_eq!(vote, Some(MemberId(1)));
    drop(ready.persisted());
}

#[test]
fn a_commit_alone_needs_no_sync() {
    let mut nodes = trio_with_leader();
    nodes[0].propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    let appends = settle(&mut nodes[0]);
    for append in appends {
        let follower = &mut nodes[append.to.0 as usize - 1];
        follower.step(&append.bytes).expect("an append");
        for answer in settle(follower) {
            nodes[0].step(&answer.bytes).expect("an acknowledgement");
        }
    }
    let mut ready = nodes[0].ready().expect("a commit");
    assert_eq!(ready.take_committed().len(), 1);
    assert!(!ready.write().sync && ready.write().entries.is_empty());
    assert_eq!(ready.write().hard_state.map(|state| state.commit), Some(Index(3)));
    drop(ready.persisted());
}

#[test]
fn a_node_whose_write_was_not_done_falls_silent() {
    let mut nodes = trio_with_leader();
    nodes[0].propose(Bytes::from_static(b"data"), Bytes::new()).expect("the leader proposes");
    drop(nodes[0].ready().expect("an entry"));
    let node = &mut nodes[0];
    assert!(node.has_stopped() && node.ready().is_none());
    (0..100).for_each(|_| node.tick());
    assert!(node.ready().is_none());
    assert_eq!(node.propose(Bytes::from_static(b"x"), Bytes::new()), Err(ProposeError::Stopped));
    assert_eq!(node.step(&Bytes::new()), Err(StepError::Stopped));
    assert_eq!(node.campaign(), Err(ElectionError::Stopped));
}

#[test]
fn a_burst_of_proposals_travels_in_messages_of_bounded_size() {
    let mut nodes = trio_with_leader();
    let data = Bytes::from(vec![7; 400 << 10]);
    for _ in 0..10 {
        nodes[0].propose(data.clone(), Bytes::new()).expect("the leader proposes");
    }
    let outbox = settle(&mut nodes[0]);
    let limit = Config::default().max_message_bytes + (64 << 10);
    assert!(outbox.len() >= 10 && outbox.iter().all(|message| message.bytes.len() < limit));
    exchange(&mut nodes, outbox);
    for node in &mut nodes {
        node.tick();
        node.tick();
    }
    let outbox = settle(&mut nodes[0]);
    exchange(&mut nodes, outbox);
    assert!(nodes.iter().all(|node| node.status().applied == Index(12)));
}

#[test]
fn proposals_over_the_limits_are_refused() {
    let mut nodes = trio_with_leader();
    let limit = Config::default().max_entry_bytes;
    let large = Bytes::from(vec![0; limit]);
    let context = Bytes::from_static(b"x");
    assert_eq!(
        nodes[0].propose(large.clone(), context.clone()),
        Err(ProposeError::TooLarge { bytes: limit + 1, limit })
    );
    assert_eq!(nodes[0].propose(Bytes::new(), Bytes::new()), Err(ProposeError::Empty));
    let refused = (0..100).find_map(|_| nodes[0].propose(large.clone(), Bytes::new()).err());
    let waiting = Config::default().max_uncommitted_bytes;
    assert_eq!(refused, Some(ProposeError::Busy { waiting }));
    let leader = Some(MemberId(1));
    assert_eq!(nodes[1].propose(large, context), Err(ProposeError::NotLeader { leader }));
}
