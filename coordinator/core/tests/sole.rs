//! A lone member on a machine of memory.

use std::convert::Infallible;

use bytes::Bytes;
use muster_consensus::{
    Boot, Config, Index, MemberId, Membership, Message, Node, Position, Snapshot, SnapshotMeta,
    Write,
};
use muster_coordinator_core::{Host, Member, Outcome, Parts, Refused, RoleView};
use muster_model::Timestamp;
use muster_state::{
    Accepted, AddMember, AnnounceMember, Body, Changes, Effect, Policy, RemoveMember, State,
};

/// What a look found: how many members the state knows.
type Look = u32;

#[derive(Debug, Default)]
struct Memory {
    state: State,
    answers: Vec<(u32, Outcome)>,
    seen: Vec<(Look, Option<usize>)>,
    sent: Vec<Message>,
    role: RoleView,
    snapshot: Option<SnapshotMeta>,
}

impl Host for Memory {
    type Reply = u32;
    type Look = Look;
    type Error = Infallible;

    fn send(&mut self, messages: Vec<Message>) {
        self.sent.extend(messages);
    }

    fn persist(&mut self, _write: &Write) -> Result<(), Infallible> {
        Ok(())
    }

    fn install(&mut self, _snapshot: &Snapshot, _write: &Write) -> Result<State, Infallible> {
        Ok(self.state.clone())
    }

    fn applied(&mut self, _at: Position, _changes: &Changes, state: &State) {
        self.state = state.clone();
    }

    fn reload(&mut self) -> Result<State, Infallible> {
        Ok(self.state.clone())
    }

    fn room(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_is_due(&self) -> bool {
        false
    }

    fn snapshot(&mut self, meta: &SnapshotMeta, _: &State) -> Result<Option<Index>, Infallible> {
        self.snapshot = Some(meta.clone());
        Ok(Some(Index(1)))
    }

    fn newest_snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot.clone()
    }

    fn answer(&mut self, reply: u32, outcome: Outcome) {
        self.answers.push((reply, outcome));
    }

    fn look(&mut self, look: Look, state: Result<&State, Refused>) {
        self.seen.push((look, state.ok().map(|state| state.tables().members.iter().count())));
    }

    fn publish(&mut self, _effects: &[Effect]) {}

    fn role_changed(&mut self, view: RoleView) {
        self.role = view;
    }
}

fn lone() -> (Member<u32, Look>, Memory) {
    let boot = Boot::first_start(Membership::of_voters([MemberId(1)]));
    let mut state = State::new();
    state.apply(muster_state::Index(boot.applied.0), &Changes::default());
    let applied = boot.snapshot.at;
    let node = Node::new(Config::new(MemberId(1)), boot).expect("a sound boot");
    let mut host = Memory { state: state.clone(), ..Memory::default() };
    let mut member = Member::new(Parts { node, state, applied, policy: Policy::default() });
    member.work(Timestamp(1), &mut host).expect("it works");
    (member, host)
}

fn announce() -> Body {
    let id = muster_model::MemberId(1);
    Body::AnnounceMember(AnnounceMember { id, address: "a:1".into(), version: "0".into() })
}

fn add(address: &str) -> Body {
    Body::AddMember(AddMember { address: address.into(), version: "0".into() })
}

#[test]
fn a_lone_member_leads_at_once_and_answers_what_is_committed() {
    let (mut member, mut host) = lone();
    assert!(host.role.leads);
    member.command(None, announce(), 7);
    member.look(1);
    member.work(Timestamp(2), &mut host).expect("it works");
    let id = muster_model::MemberId(1);
    assert_eq!(host.answers, [(7, Ok(Accepted::Member(id)))]);
    member.look(2);
    member.work(Timestamp(3), &mut host).expect("it works");
    assert_eq!(host.seen.last(), Some(&(2, Some(1))));
    assert!(host.seen.iter().all(|(_, found)| found.is_some()), "{:?}", host.seen);
    assert!(member.is_idle());
}

#[test]
fn members_that_join_at_the_same_time_hold_up_nobody() {
    let (mut member, mut host) = lone();
    member.command(None, announce(), 1);
    member.work(Timestamp(2), &mut host).expect("it works");
    member.command(None, add("b:1"), 2);
    member.work(Timestamp(3), &mut host).expect("it works");
    member.command(None, add("c:1"), 3);
    member.command(None, add("d:1"), 4);
    member.look(9);
    member.work(Timestamp(4), &mut host).expect("it works");
    for _ in 0..20 {
        member.tick();
        member.work(Timestamp(5), &mut host).expect("it works");
    }
    let ids: Vec<u32> = host.answers.iter().map(|(reply, _)| *reply).collect();
    assert_eq!(ids, [1, 2, 3, 4], "{:?}", host.answers);
    assert!(member.is_idle());
    let seen = host.seen.last().and_then(|(_, found)| *found);
    assert!(seen >= Some(2), "it saw what was acknowledged before: {:?}", host.seen);
    let learners = member.status().membership.learners;
    assert_eq!(learners, [MemberId(2), MemberId(3), MemberId(4)].into());
    assert!(host.sent.iter().any(|message| message.to == MemberId(2)), "the learner hears of it");
    // Nobody has answered, so that none of them has caught up: they go again.
    for id in 2..=4 {
        let body = Body::RemoveMember(RemoveMember { id: muster_model::MemberId(id) });
        member.command(None, body, 100);
    }
    for _ in 0..20 {
        member.tick();
        member.work(Timestamp(6), &mut host).expect("it works");
    }
    assert!(member.status().membership.learners.is_empty());
    assert_eq!(host.state.tables().members.iter().count(), 1, "their records went, too");
    let _ = member.step(&Bytes::from_static(b"not a message")).expect_err("it is none");
}
