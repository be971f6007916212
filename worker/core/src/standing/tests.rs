use super::*;

const LEASE: Millis = Millis(10_000);
const STOPS: Promise = Promise::Stops(Millis(60_000));
const JOB: JobId = JobId(7);
const OTHER: JobId = JobId(8);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An agent that has a session since 1 s.
fn standing() -> Standing {
    let mut standing = Standing::new(LEASE, Promise::Unknown, Vec::new());
    standing.welcomed((LEASE, STOPS), Millis(1000), Millis(1100));
    standing.members_are(names(&["m1", "m2"]));
    standing
}

fn at(seconds: u64) -> Deadline {
    Deadline::At(Millis(seconds * 1000))
}

fn asked(standing: &mut Standing, second: u64, witnesses: &[String]) -> Option<Questions> {
    standing.look(Millis(second * 1000), [(JOB, witnesses), (OTHER, &[][..])])
}

#[test]
fn a_heartbeat_counts_from_when_it_was_sent() {
    let mut standing = standing();
    assert_eq!(standing.deadline(JOB), at(61));
    let first = standing.beat(Millis(4000));
    let second = standing.beat(Millis(6000));
    assert_eq!((first.hearing, first.lapses, first.heard), (true, 0, None));
    standing.answered(second.number, Millis(9000));
    assert_eq!(standing.deadline(JOB), at(66));
    standing.answered(first.number, Millis(9500));
    assert_eq!(standing.deadline(JOB), at(66), "an older answer takes nothing back");
    assert_eq!(standing.beat(Millis(10_000)).heard, Some(second.number));
}

#[test]
fn a_lost_lease_is_counted_even_if_the_next_answer_comes_before_the_next_look() {
    let mut standing = standing();
    let beat = standing.beat(Millis(2000));
    assert_eq!(standing.witness(Millis(10_999)), Answer::Leader);
    assert_eq!(standing.witness(Millis(11_000)), Answer::NoLeader);
    standing.answered(beat.number, Millis(11_500));
    let next = standing.beat(Millis(11_600));
    assert_eq!((next.hearing, next.lapses), (true, 1));
    assert!(!standing.beat(Millis(12_000)).hearing, "that answer was to a beat of long ago");
}

#[test]
fn members_without_a_leader_prove_an_outage_when_all_of_them_say_so() {
    let mut standing = standing();
    assert_eq!(asked(&mut standing, 9, &[]), None, "the lease holds");
    let questions = asked(&mut standing, 12, &[]).unwrap();
    assert_eq!(questions.members, ["m1", "m2"]);
    assert_eq!(asked(&mut standing, 13, &[]), None, "the answers are awaited");
    standing.told(questions.round, "m1", Answer::NoLeader);
    asked(&mut standing, 14, &[]);
    assert_eq!(
        standing.deadline(JOB),
        at(61),
        "behind the silence of the other there may be a leader"
    );
    standing.told(questions.round, "m2", Answer::NoLeader);
    asked(&mut standing, 15, &[]);
    assert_eq!(standing.deadline(JOB), at(72));
    assert_eq!(standing.deadline(OTHER), at(72));
}

#[test]
fn a_leader_that_anybody_sees_is_no_outage() {
    let mut standing = standing();
    let witnesses = names(&["w"]);
    let questions = asked(&mut standing, 12, &witnesses).unwrap();
    assert_eq!(questions.witnesses, ["w"]);
    for member in ["m1", "m2"] {
        standing.told(questions.round, member, Answer::NoLeader);
    }
    standing.told(questions.round, "w", Answer::Leader);
    asked(&mut standing, 14, &witnesses);
    assert_eq!(standing.deadline(JOB), at(61));
}

#[test]
fn witnesses_speak_for_their_own_gang_and_all_of_them_must() {
    let mut standing = standing();
    let witnesses = names(&["w1", "w2"]);
    let questions = asked(&mut standing, 12, &witnesses).unwrap();
    standing.told(questions.round, "w1", Answer::NoLeader);
    asked(&mut standing, 13, &witnesses);
    assert_eq!(standing.deadline(JOB), at(61));
    standing.told(questions.round, "w2", Answer::NoLeader);
    asked(&mut standing, 14, &witnesses);
    assert_eq!((standing.deadline(JOB), standing.deadline(OTHER)), (at(72), at(61)));
}

#[test]
fn a_witness_that_cannot_be_asked_never_agrees() {
    let mut standing = standing();
    let witnesses = names(&["w1", ""]);
    let questions = asked(&mut standing, 12, &witnesses).unwrap();
    assert_eq!(questions.witnesses, ["w1"]);
    standing.told(questions.round, "w1", Answer::NoLeader);
    asked(&mut standing, 13, &witnesses);
    assert_eq!(standing.deadline(JOB), at(61));
}

#[test]
fn answers_to_an_earlier_round_and_of_earlier_members_count_for_nothing() {
    let mut standing = standing();
    let first = asked(&mut standing, 12, &[]).unwrap();
    let second = asked(&mut standing, 16, &[]).unwrap();
    standing.told(first.round, "m1", Answer::NoLeader);
    standing.told(second.round, "m2", Answer::NoLeader);
    asked(&mut standing, 17, &[]);
    assert_eq!(standing.deadline(JOB), at(61));
    standing.told(second.round, "m1", Answer::NoLeader);
    standing.members_are(names(&["m1", "m3"]));
    asked(&mut standing, 18, &[]);
    assert_eq!(standing.deadline(JOB), at(61));
}

#[test]
fn an_agent_that_has_just_started_leaves_deadlines_alone_until_it_knows_better() {
    let mut standing = Standing::new(LEASE, STOPS, names(&["m"]));
    assert_eq!(standing.deadline(JOB), Deadline::AsBefore);
    let questions = asked(&mut standing, 5, &[]).unwrap();
    standing.told(questions.round, "m", Answer::NoLeader);
    asked(&mut standing, 6, &[]);
    assert_eq!(standing.deadline(JOB), at(65));
    standing.welcomed((LEASE, Promise::Nothing), Millis(7000), Millis(7001));
    assert_eq!(standing.deadline(JOB), Deadline::Never);
    assert_eq!(standing.witness(Millis(99_000)), Answer::Leader, "it has no way to know");
}

#[test]
fn an_agent_without_replicas_asks_nobody() {
    let mut standing = standing();
    assert_eq!(standing.look(Millis(12_000), []), None);
}
