use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn ids(ids: &[u64]) -> BTreeSet<MemberId> {
    ids.iter().copied().map(MemberId).collect()
}

fn joint() -> Membership {
    Membership {
        voters: ids(&[1, 2, 3]),
        learners: ids(&[5]),
        outgoing: ids(&[1, 2, 4, 6]),
        learners_next: ids(&[4]),
        auto_leave: true,
    }
}

fn any_membership() -> impl Strategy<Value = Membership> {
    let set = || btree_set((0u64..7).prop_map(MemberId), 0..4);
    (set(), set(), set(), set(), any::<bool>()).prop_map(
        |(voters, learners, outgoing, learners_next, auto_leave)| Membership {
            voters,
            learners,
            outgoing,
            learners_next,
            auto_leave,
        },
    )
}

/// Mostly possible ones: every member gets one of the parts that it can play.
fn possible_membership() -> impl Strategy<Value = Membership> {
    (proptest::collection::vec(0u8..6, 1..7), any::<bool>()).prop_map(|(parts, auto_leave)| {
        let mut membership = Membership::default();
        for (part, member) in parts.into_iter().zip((1..).map(MemberId)) {
            if matches!(part, 1 | 2) {
                membership.voters.insert(member);
            }
            if matches!(part, 2..=4) {
                membership.outgoing.insert(member);
            }
            if part == 4 {
                membership.learners_next.insert(member);
            }
            if part == 5 {
                membership.learners.insert(member);
            }
        }
        membership.auto_leave = auto_leave && membership.is_joint();
        membership
    })
}

#[test]
fn a_joint_membership_survives_both_byte_forms() {
    assert_eq!(Membership::from_bytes(&joint().to_bytes()), Ok(joint()));
    assert_eq!(Membership::from_raft(&joint().to_raft()), joint());
    assert_eq!(joint().to_string(), "voters 1 2 3; outgoing 1 2 4 6; learners 5; next learners 4");
}

#[test]
fn the_byte_form_is_pinned() {
    let plain = Membership::of_voters([MemberId(1), MemberId(0x0203)]);
    let mut golden = vec![1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0];
    golden.extend([0; 12]);
    assert_eq!(plain.to_bytes(), golden);
}

#[test]
fn cut_long_and_newer_bytes_are_refused() {
    let bytes = joint().to_bytes();
    for length in 0..bytes.len() {
        assert!(matches!(Membership::from_bytes(&bytes[..length]), Err(Error::Bytes(_))));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(Membership::from_bytes(&longer), Err(Error::Bytes("bytes left over")));
    let newer = [&[FORMAT + 1], &bytes[1..]].concat();
    assert_eq!(Membership::from_bytes(&newer), Err(Error::Newer { found: FORMAT + 1 }));
    let huge = [&[FORMAT, 0][..], &[0xff; 4]].concat();
    assert_eq!(Membership::from_bytes(&huge), Err(Error::Bytes("cut short")));
}

#[test]
fn contradictions_are_named() {
    let plain = || Membership::of_voters([MemberId(1)]);
    let cases = [
        (Membership { voters: ids(&[]), ..joint() }, "members, but no voter"),
        (Membership::of_voters([MemberId(0)]), "member 0"),
        (Membership { learners: ids(&[1]), ..plain() }, "a learner that is also a voter"),
        (Membership { learners: ids(&[6]), ..joint() }, "a learner that is also outgoing"),
        (Membership { learners_next: ids(&[2]), ..plain() }, "a next learner that is not outgoing"),
        (Membership { learners_next: ids(&[1]), ..joint() }, "a next learner that stays a voter"),
        (
            Membership { auto_leave: true, ..plain() },
            "leaves a joint membership without being in one",
        ),
    ];
    for (membership, rule) in cases {
        assert_eq!(membership.validate(), Err(Error::Impossible(rule)));
    }
    assert_eq!(Membership::default().validate(), Ok(()));
}

#[test]
fn senseless_changes_are_refused() {
    assert!(Change::Now(vec![]).check().is_err());
    assert!(Change::Now(vec![Step::Voter(MemberId(0))]).check().is_err());
    let twice = vec![Step::Voter(MemberId(2)), Step::Remove(MemberId(2))];
    assert!(Change::Joint(twice).check().is_err());
    assert!(Change::LeaveJoint.check().is_ok());
}

proptest! {
    /// Raft panics on a configuration that it cannot rebuild, so what passes here must be one.
    #[test]
    fn raft_can_restore_every_membership_that_is_valid(membership in possible_membership()) {
        prop_assume!(membership.validate().is_ok());
        let start = raft::RaftState::new(Default::default(), membership.to_raft());
        let log = crate::log::MemoryLog::new(start, Default::default(), Default::default());
        let config = raft::Config { id: 1, ..raft::Config::new(1) };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = raft::RawNode::new(&config, log, &logger).expect("Raft restores it");
        let restored = Membership::from_raft(&raw.raft.prs().conf().to_conf_state());
        prop_assert_eq!(restored, membership);
    }

    #[test]
    fn valid_memberships_survive_the_byte_form(membership in any_membership()) {
        let read = Membership::from_bytes(&membership.to_bytes());
        prop_assert_eq!(read.is_ok(), membership.validate().is_ok());
        if let Ok(read) = read {
            prop_assert_eq!(read, membership);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Membership::from_bytes(&bytes);
        let _ = decode_change(&bytes);
    }
}
