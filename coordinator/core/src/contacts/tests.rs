use super::*;

const LEASE: Millis = Millis(10_000);
const CUT_OFF: Millis = Millis(60_000);
/// The promise, one in a hundred of it, and the slack.
const SURE: u64 = 60_000 + 600 + 2000;
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn contacts() -> Contacts {
    let mut contacts = Contacts::new(LEASE);
    contacts.attached(A);
    contacts.attached(B);
    contacts
}

/// B's heartbeats and their answers, one every two seconds.
fn steady(contacts: &mut Contacts, (from, to): (u64, u64), lapses: u64) {
    for second in (from..=to).step_by(2) {
        let now = Millis(second * 1000);
        let heard = second.checked_sub(2);
        contacts.heard(B, Beat { number: second, hearing: true, lapses, heard }, now);
        contacts.answers(B, second, now);
    }
}

#[test]
fn a_lease_ends_once_when_its_time_is_over() {
    let mut contacts = contacts();
    assert!(!contacts.any_absent());
    contacts.detached(A, Millis(1000));
    assert!(contacts.ended(Millis(10_999)).is_empty());
    assert_eq!(contacts.ended(Millis(11_000)), [A]);
    assert!(contacts.ended(Millis(12_000)).is_empty());
    contacts.not_declared(A);
    assert_eq!(contacts.ended(Millis(13_000)), [A]);
    contacts.attached(A);
    assert!(!contacts.any_absent() && contacts.stopped_at(A, CUT_OFF, &[]).is_none());
}

#[test]
fn a_leader_that_begins_gives_everybody_the_whole_time() {
    let mut contacts = contacts();
    contacts.detached(A, Millis(0));
    let gone = NodeId(3);
    contacts.began([(A, true), (B, true), (gone, false)], Millis(500_000));
    assert!(contacts.is_present(B));
    assert!(contacts.ended(Millis(505_000)).is_empty());
    assert_eq!(contacts.ended(Millis(510_000)), [A], "the other one was declared before");
    assert_eq!(contacts.declared().collect::<Vec<_>>(), [A, gone]);
    let sure = Some(Millis(500_000 + SURE));
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[]), sure);
    assert_eq!(contacts.stopped_at(gone, CUT_OFF, &[]), sure);
}

#[test]
fn a_leader_that_stood_still_begins_anew() {
    let mut contacts = contacts();
    contacts.detached(A, Millis(0));
    assert!(contacts.ended(Millis(1000)).is_empty());
    assert!(contacts.ended(Millis(100_000)).is_empty(), "its beats may wait to be read");
    assert_eq!(contacts.ended(Millis(110_000)), [A]);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[]), Some(Millis(100_000 + SURE)));
}

#[test]
fn an_agent_with_a_witness_has_stopped_only_if_the_witness_heard_the_leader_all_the_while() {
    let mut contacts = contacts();
    contacts.detached(A, Millis(10_000));
    steady(&mut contacts, (0, 70), 0);
    assert_eq!(
        contacts.stopped_at(A, CUT_OFF, &[B]),
        None,
        "the answer of 70 s is not known to have come"
    );
    steady(&mut contacts, (72, 72), 0);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), Some(Millis(10_000 + SURE)));
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[NodeId(7), B]), Some(Millis(10_000 + SURE)));
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[NodeId(7)]), None, "nothing is known of it");
}

#[test]
fn a_witness_that_lost_its_lease_in_between_counts_from_then_on() {
    let mut contacts = contacts();
    contacts.detached(A, Millis(10_000));
    steady(&mut contacts, (0, 50), 0);
    steady(&mut contacts, (52, 100), 1);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), None);
    steady(&mut contacts, (102, 114), 1);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), Some(Millis(52_000 + SURE)));
    let silent = Beat { number: 116, hearing: false, lapses: 2, heard: Some(114) };
    contacts.heard(B, silent, Millis(116_000));
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), None);
}

#[test]
fn a_new_session_of_a_witness_begins_anew() {
    let mut contacts = contacts();
    contacts.detached(A, Millis(10_000));
    steady(&mut contacts, (0, 74), 0);
    contacts.attached(B);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), None);
    steady(&mut contacts, (76, 140), 0);
    assert_eq!(contacts.stopped_at(A, CUT_OFF, &[B]), Some(Millis(76_000 + SURE)));
}
