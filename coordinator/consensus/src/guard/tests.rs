use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::boot::Boot;
use crate::config::Config;
use crate::entry::{Entry, EntryKind};
use crate::ids::Term;
use crate::membership::{Change, Step};
use crate::node::Node;

/// Member 1 of three, with a log of terms 1 1 2 2 after the first position, all of it committed
/// but the last entry.
fn node() -> Node {
    node_of(Membership::of_voters((1..4).map(MemberId)))
}

fn node_of(membership: Membership) -> Node {
    let mut boot = Boot::first_start(membership);
    boot.hard_state.term = Term(2);
    boot.hard_state.commit = Index(4);
    boot.entries = [(2, 1), (3, 1), (4, 2), (5, 2)]
        .map(|(index, term)| Entry {
            index: Index(index),
            term: Term(term),
            kind: EntryKind::Data,
            data: b"data"[..].into(),
            context: Bytes::new(),
        })
        .to_vec();
    let mut node = Node::new(Config::new(MemberId(1)), boot).expect("a healthy member");
    settle(&mut node);
    node
}

fn settle(node: &mut Node) {
    while let Some(ready) = node.ready() {
        drop(ready.persisted());
    }
}

fn bytes(message: &pb::Message) -> Bytes {
    message.write_to_bytes().expect("encoding into memory cannot fail").into()
}

fn message(kind: MessageType) -> pb::Message {
    let mut message = pb::Message { from: 2, to: 1, term: 3, ..Default::default() };
    message.set_msg_type(kind);
    message
}

fn entry(index: u64, term: u64) -> pb::Entry {
    pb::Entry { index, term, data: b"x"[..].into(), ..Default::default() }
}

fn append(after: (u64, u64), entries: &[(u64, u64)]) -> pb::Message {
    let mut append = message(MessageType::MsgAppend);
    (append.index, append.log_term) = after;
    for (index, term) in entries {
        append.mut_entries().push(entry(*index, *term));
    }
    append
}

fn refusal(message: &pb::Message) -> Option<Error> {
    node().step(&bytes(message)).err()
}

#[test]
fn what_a_correct_leader_sends_is_taken() {
    let mut node = node();
    node.step(&bytes(&append((5, 2), &[(6, 3), (7, 3)]))).expect("an append");
    settle(&mut node);
    let mut heartbeat = message(MessageType::MsgHeartbeat);
    heartbeat.commit = 7;
    node.step(&bytes(&heartbeat)).expect("a heartbeat");
    settle(&mut node);
    assert_eq!(node.status().applied, Index(7));
    assert_eq!(node.status().standing.leader, Some(MemberId(2)));
}

#[test]
fn a_heartbeat_beyond_the_log_says_that_the_log_was_lost() {
    let mut heartbeat = message(MessageType::MsgHeartbeat);
    heartbeat.commit = 6;
    let lost = Error::LogLost { commit: Index(6), last: Index(5) };
    assert_eq!(refusal(&heartbeat), Some(lost));
    // Of an old leader it means nothing.
    heartbeat.term = 1;
    assert_eq!(refusal(&heartbeat), None);
}

#[test]
fn senseless_appends_are_refused() {
    let change = |data: &'static [u8]| {
        let mut append = append((5, 2), &[(6, 3)]);
        append.mut_entries()[0].set_entry_type(pb::EntryType::EntryConfChangeV2);
        append.mut_entries()[0].data = data.into();
        append
    };
    assert_eq!(refusal(&change(b"")), None);
    for senseless in [
        append((9, 0), &[(10, 3)]),
        append((0, 2), &[]),
        append((5, 4), &[]),
        append((5, 2), &[(7, 3)]),
        append((5, 2), &[(6, 3), (6, 3)]),
        append((5, 2), &[(6, 1)]),
        append((5, 2), &[(6, 3), (7, 2)]),
        append((5, 2), &[(6, 4)]),
        append((1 << 62, 2), &[((1 << 62) + 1, 3)]),
        change(b"\x12\x7f"),
    ] {
        assert!(matches!(refusal(&senseless), Some(Error::Malformed(_))), "{senseless:?}");
    }
}

#[test]
fn kinds_that_do_not_travel_and_unused_features_are_refused() {
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgPropose,
        MessageType::MsgTransferLeader,
        MessageType::MsgReadIndex,
        MessageType::MsgReadIndexResp,
        MessageType::MsgCheckQuorum,
    ] {
        assert!(matches!(refusal(&message(kind)), Some(Error::Malformed(_))), "{kind:?}");
    }
    let vote = |change: fn(&mut pb::Message)| {
        let mut vote = message(MessageType::MsgRequestVote);
        change(&mut vote);
        refusal(&vote)
    };
    assert_eq!(vote(|_| {}), None);
    let unused: [fn(&mut pb::Message); 7] = [
        |vote| vote.priority = i64::MIN,
        |vote| vote.deprecated_priority = 1,
        |vote| vote.request_snapshot = 1,
        |vote| vote.term = 0,
        |vote| vote.term = u64::MAX,
        |vote| vote.from = 0,
        |vote| vote.mut_entries().push(entry(1, 1)),
    ];
    for change in unused {
        assert!(matches!(vote(change), Some(Error::Malformed(_))));
    }
}

#[test]
fn strangers_and_wrong_addresses_are_told_apart() {
    let mut answer = message(MessageType::MsgAppendResponse);
    answer.from = 9;
    assert_eq!(refusal(&answer), Some(Error::Stranger(MemberId(9))));
    answer.to = 5;
    let (to, from) = (MemberId(5), MemberId(9));
    assert_eq!(refusal(&answer), Some(Error::Misdelivered { to, from }));
    answer = message(MessageType::MsgHeartbeat);
    answer.from = 1;
    assert!(matches!(refusal(&answer), Some(Error::Misdelivered { .. })));
}

#[test]
fn a_snapshot_must_name_a_possible_membership() {
    let snapshot = |index, term, voters: &[u64], learners: &[u64]| {
        let mut snapshot = message(MessageType::MsgSnapshot);
        let meta = snapshot.mut_snapshot().mut_metadata();
        (meta.index, meta.term) = (index, term);
        meta.mut_conf_state().set_voters(voters.to_vec());
        meta.mut_conf_state().set_learners(learners.to_vec());
        refusal(&snapshot)
    };
    assert_eq!(snapshot(9, 3, &[1, 2], &[3]), None);
    for refused in [
        snapshot(0, 3, &[1, 2], &[]),
        snapshot(9, 0, &[1, 2], &[]),
        snapshot(9, 4, &[1, 2], &[]),
        snapshot(9, 3, &[], &[]),
        snapshot(9, 3, &[1, 2], &[2]),
        snapshot(9, 3, &[1, 2, 2], &[]),
        snapshot(9, 3, &[0, 1], &[]),
    ] {
        assert!(matches!(refused, Some(Error::Malformed(_))));
    }
}

#[test]
fn a_vote_before_the_vote_request_is_written_does_not_count() {
    let mut node = node();
    node.step(&bytes(&append((5, 2), &[(6, 3)]))).expect("an append");
    // Told to campaign before the append is durable, and a vote that nobody can have given yet.
    node.step(&bytes(&message(MessageType::MsgTimeoutNow))).expect("taken");
    let mut vote = message(MessageType::MsgRequestVoteResponse);
    vote.term = 4;
    assert_eq!(node.step(&bytes(&vote)), Err(Error::Unsettled));
    settle(&mut node);
    assert_eq!(node.step(&bytes(&vote)), Ok(()));
    assert_eq!(node.standing().role, crate::status::Role::Leader);
}

#[test]
fn a_message_over_the_limit_is_refused_unread() {
    let huge = Bytes::from(vec![0; Config::default().max_receive_bytes + 1]);
    assert!(matches!(node().step(&huge), Err(Error::TooLarge { .. })));
}

/// A message with every field in a range where it may hit something.
fn any_message() -> impl Strategy<Value = pb::Message> {
    let small = || prop_oneof![9 => 0u64..9, 1 => Just(u64::MAX), 1 => Just(1 << 61)];
    let run = (vec(0u64..5, 0..4), any::<bool>(), 0u8..9);
    let numbers = vec(small(), 9);
    let states = (vec(0u64..5, 0..4), vec(0u64..5, 0..2), vec(0u64..5, 0..3), any::<bool>());
    (0i32..19, 0u64..5, numbers, any::<bool>(), run, states).prop_map(
        |(
            kind,
            from,
            numbers,
            reject,
            (terms, gaps, kinds),
            (voters, learners, outgoing, auto),
        )| {
            let mut message = pb::Message { from, to: 1, reject, ..Default::default() };
            let kind = <MessageType as protobuf::ProtobufEnum>::from_i32(kind);
            message.set_msg_type(kind.expect("all of 0 to 18 are kinds"));
            message.term = numbers[0] % 7;
            message.log_term = numbers[1];
            message.index = numbers[2];
            message.commit = numbers[3];
            message.commit_term = numbers[4];
            message.reject_hint = numbers[5];
            message.request_snapshot = numbers[6].saturating_sub(7);
            if message.get_msg_type() == MessageType::MsgAppend {
                for (slot, term) in terms.into_iter().enumerate() {
                    let after = numbers[2].wrapping_add(1 + slot as u64);
                    let mut entry = entry(after.wrapping_add(u64::from(gaps && slot > 1)), term);
                    if kinds == 0 {
                        entry.set_entry_type(pb::EntryType::EntryConfChangeV2);
                        entry.data = Bytes::new();
                    }
                    message.mut_entries().push(entry);
                }
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                let meta = message.mut_snapshot().mut_metadata();
                (meta.index, meta.term) = (numbers[7], numbers[8]);
                let state = meta.mut_conf_state();
                state.set_voters(voters);
                state.set_learners(learners);
                state.set_voters_outgoing(outgoing);
                state.auto_leave = auto;
            }
            message
        },
    )
}

#[derive(Debug, Clone)]
enum Act {
    Step(pb::Message),
    Tick(u8),
    Settle,
    Propose,
    Change(Vec<Step>),
    LeaveJoint,
    Compact,
    Campaign,
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = || (1u64..5).prop_map(MemberId);
    prop_oneof![
        member().prop_map(Step::Voter),
        member().prop_map(Step::Learner),
        member().prop_map(Step::Remove),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => any_message().prop_map(Act::Step),
        1 => (1u8..25).prop_map(Act::Tick),
        2 => Just(Act::Settle),
        1 => Just(Act::Propose),
        1 => vec(any_step(), 1..3).prop_map(Act::Change),
        1 => Just(Act::LeaveJoint),
        1 => Just(Act::Compact),
        1 => Just(Act::Campaign),
    ]
}

/// A member that leads three in term 3, a follower, one that is alone, or one of a joint membership.
fn any_node() -> impl Strategy<Value = fn() -> Node> {
    let leader = || {
        let mut node = node();
        node.campaign().expect("a settled voter");
        settle(&mut node);
        for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
            node.step(&bytes(&message(kind))).expect("a vote");
            settle(&mut node);
        }
        assert_eq!(node.standing().role, crate::status::Role::Leader);
        node
    };
    let alone = || node_of(Membership::of_voters([MemberId(1)]));
    let joint = || {
        node_of(Membership {
            outgoing: [MemberId(1)].into(),
            learners: [MemberId(3)].into(),
            ..Membership::of_voters([MemberId(1), MemberId(2)])
        })
    };
    prop_oneof![
        Just(node as fn() -> Node),
        Just(leader as fn() -> Node),
        Just(alone as fn() -> Node),
        Just(joint as fn() -> Node),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Also messages that lie: what they may do is mislead the node, not take the process down.
    #[test]
    fn no_sequence_of_messages_makes_the_node_panic(
        start in any_node(),
        acts in vec(any_act(), 1..30),
    ) {
        let mut node = start();
        for act in acts {
            match act {
                Act::Step(message) => drop(node.step(&bytes(&message))),
                Act::Tick(ticks) => (0..ticks).for_each(|_| node.tick()),
                Act::Settle => settle(&mut node),
                Act::Propose => drop(node.propose(b"data"[..].into(), Bytes::new())),
                Act::Change(steps) => {
                    drop(node.propose_membership(&Change::Now(steps), Bytes::new()));
                }
                Act::LeaveJoint => {
                    drop(node.propose_membership(&Change::LeaveJoint, Bytes::new()));
                }
                Act::Compact => {
                    let applied = node.status().applied;
                    node.compact(applied).expect("what is applied can be compacted");
                }
                Act::Campaign => drop(node.campaign()),
            }
        }
        settle(&mut node);
    }

    #[test]
    fn no_bytes_make_the_node_panic(noise in vec(any::<u8>(), 0..200)) {
        let mut node = node();
        drop(node.step(&noise.into()));
        settle(&mut node);
    }
}
