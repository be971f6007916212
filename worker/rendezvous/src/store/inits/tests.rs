//! Processes that initialise again, late, twice at once, without telling who they are.

use std::net::Ipv4Addr;

use super::*;

const RULES: Rules = Rules { separate: true, distinct_pids: true, world_size: None };

fn process(pid: u32) -> Process {
    Process { address: Ipv4Addr::LOCALHOST.into(), pid }
}

/// A connection that said its process id, or did not.
fn connection(pid: impl Into<Option<u32>>) -> Membership {
    let mut membership = Membership::default();
    if let Some(pid) = pid.into() {
        membership.identify(process(pid));
    }
    membership
}

/// A connection of env://: it announces an initialisation.
fn announced(pid: impl Into<Option<u32>>) -> Membership {
    let mut membership = connection(pid);
    membership.announce();
    membership
}

fn gloo(rank: u32) -> Vec<u8> {
    format!("/default_pg/0//cpu//0/{rank}").into_bytes()
}

/// A rank of gloo: its first group key is its own, and it sets it.
fn gloo_enters(inits: &mut Inits, pid: impl Into<Option<u32>>, rank: u32) -> (SpaceId, Membership) {
    let mut who = announced(pid);
    (inits.place(&mut who, Access::Write, &gloo(rank)), who)
}

const NCCL_ID: &[u8] = b"/default_pg/0//cuda//0";

/// A rank of NCCL: the root sets the id, the others wait for it.
fn nccl_enters(inits: &mut Inits, pid: impl Into<Option<u32>>, rank: u32) -> SpaceId {
    let access = if rank == 0 { Access::Write } else { Access::Other };
    inits.place(&mut announced(pid), access, NCCL_ID)
}

#[test]
fn keys_of_groups_are_known_in_both_shapes() {
    for key in [
        &b"/default_pg/0//cpu//0/1"[..],
        b"/default_pg/store_based_barrier_key:0",
        b"//worker/attempt_0/default_pg/0//cpu//0/1",
        b"//worker/attempt_12/default_pg/0//cuda//0",
    ] {
        assert_eq!(owner(key), Owner::Group, "{}", key.escape_ascii());
    }
    for key in [&b"/exception_dump"[..], b"/remote_error:0"] {
        assert_eq!(owner(key), Owner::Signal, "{}", key.escape_ascii());
    }
    for key in [
        &b"init/"[..],
        b"",
        b"/",
        b"/mine/default_pg/0",
        b"default_pg/0",
        b"//default_pg/0",
        b"//worker/attempt_/0",
        b"//worker/attempt_0/mine",
        b"/torch.rendezvous.job.0/MASTER_ADDR",
        b"/0//cpu//0/1",
    ] {
        assert_eq!(owner(key), Owner::Anyone, "{}", key.escape_ascii());
    }
}

#[test]
fn each_call_of_all_processes_is_a_round() {
    let mut inits = Inits::new(RULES);
    let mut rounds = Vec::new();
    for call in 0..5u32 {
        // Another one is first each time.
        let spaces: Vec<_> = (0..4)
            .map(|i| gloo_enters(&mut inits, 100 + (i + call) % 4, (i + call) % 4).0)
            .collect();
        assert!(spaces.iter().all(|space| *space == spaces[0]), "call {call}: {spaces:?}");
        rounds.push(spaces[0]);
    }
    rounds.dedup();
    assert_eq!(rounds.len(), 5);
    assert!(!rounds.contains(&SHARED));
}

#[test]
fn clients_without_a_process_id_are_told_by_their_rank() {
    let mut inits = Inits::new(RULES);
    for call in 1..4 {
        for rank in 0..3 {
            assert_eq!(gloo_enters(&mut inits, None, rank).0, SpaceId(call));
        }
    }
}

#[test]
fn equal_process_ids_behind_one_address_are_told_by_their_rank() {
    let mut inits = Inits::new(RULES);
    for call in 1..4 {
        for rank in 0..3 {
            assert_eq!(gloo_enters(&mut inits, 1, rank).0, SpaceId(call));
        }
    }
}

#[test]
fn ranks_that_read_first_are_told_by_their_process() {
    let mut inits = Inits::new(RULES);
    for call in 1..4u32 {
        for i in 0..4 {
            let rank = (i + call) % 4;
            assert_eq!(nccl_enters(&mut inits, 100 + rank, rank), SpaceId(call));
        }
    }
}

#[test]
fn ranks_that_read_first_are_counted_where_process_ids_repeat() {
    for pid in [None, Some(1)] {
        let rules = Rules { distinct_pids: false, world_size: Some(4), ..RULES };
        let mut inits = Inits::new(rules);
        for call in 1..4u32 {
            for i in 0..4 {
                let rank = (i + call) % 4;
                assert_eq!(nccl_enters(&mut inits, pid, rank), SpaceId(call), "{pid:?}");
            }
        }
    }
}

#[test]
fn without_any_number_to_count_to_only_the_root_opens_a_round() {
    let mut inits = Inits::new(RULES);
    for (rank, round) in [(1, 1), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2)] {
        assert_eq!(nccl_enters(&mut inits, None, rank), SpaceId(round), "rank {rank}");
    }
}

#[test]
fn a_late_process_finds_those_who_called_again_without_it() {
    let mut inits = Inits::new(RULES);
    for _ in 0..3 {
        gloo_enters(&mut inits, 100, 0);
        gloo_enters(&mut inits, 101, 1);
    }
    assert_eq!(gloo_enters(&mut inits, 102, 2).0, SpaceId(3));
}

#[test]
fn a_spare_that_takes_a_lost_rank_opens_or_joins_the_next_round() {
    let mut inits = Inits::new(RULES);
    gloo_enters(&mut inits, 100, 0);
    gloo_enters(&mut inits, 101, 1);
    // Rank 1 is lost; a process that never initialised takes its place, before or after rank 0 calls again.
    assert_eq!(gloo_enters(&mut inits, 777, 1).0, SpaceId(2));
    assert_eq!(gloo_enters(&mut inits, 100, 0).0, SpaceId(2));
    assert_eq!(gloo_enters(&mut inits, 100, 0).0, SpaceId(3));
    assert_eq!(gloo_enters(&mut inits, 888, 1).0, SpaceId(3));
}

#[test]
fn processes_may_change_ranks_between_rounds() {
    let mut inits = Inits::new(RULES);
    gloo_enters(&mut inits, 100, 0);
    gloo_enters(&mut inits, 101, 1);
    assert_eq!(gloo_enters(&mut inits, 100, 1).0, SpaceId(2));
    assert_eq!(gloo_enters(&mut inits, 101, 0).0, SpaceId(2));
}

#[test]
fn a_connection_stays_in_its_round() {
    let mut inits = Inits::new(RULES);
    let (first, mut who) = gloo_enters(&mut inits, 100, 0);
    gloo_enters(&mut inits, 100, 0);
    for access in [Access::Write, Access::Other] {
        assert_eq!(inits.place(&mut who, access, b"/default_pg/0//1//cpu//0/0"), first);
    }
    assert_eq!(inits.place(&mut who, Access::Other, b"/exception_dump"), first);
    assert_eq!(inits.place(&mut who, Access::Write, b"/mine"), SHARED);
}

#[test]
fn signals_and_users_keys_do_not_enter() {
    let mut inits = Inits::new(RULES);
    let mut who = announced(100);
    assert_eq!(inits.place(&mut who, Access::Other, b"/exception_dump"), SHARED);
    assert_eq!(inits.place(&mut who, Access::Write, b"/mine/7"), SHARED);
    assert_eq!(inits.place(&mut who, Access::Other, b"init/"), SHARED);
    assert_eq!(who.space(), None);
    assert_eq!(inits.place(&mut who, Access::Write, &gloo(0)), SpaceId(1));
}

#[test]
fn a_clone_is_where_its_process_is() {
    let mut inits = Inits::new(RULES);
    let mut before = connection(100);
    assert_eq!(inits.place(&mut before, Access::Other, &gloo(0)), SHARED);
    gloo_enters(&mut inits, 100, 0);
    let mut clone = connection(100);
    assert_eq!(inits.place(&mut clone, Access::Other, b"/mine"), SHARED);
    assert_eq!(inits.place(&mut clone, Access::Other, b"/exception_dump"), SpaceId(1));
    gloo_enters(&mut inits, 100, 0);
    assert_eq!(inits.place(&mut clone, Access::Other, &gloo(0)), SpaceId(1), "it stays");
    assert_eq!(inits.place(&mut connection(100), Access::Other, &gloo(0)), SpaceId(2));
    assert_eq!(inits.place(&mut connection(200), Access::Other, &gloo(0)), SHARED);
    assert_eq!(inits.place(&mut connection(None), Access::Other, &gloo(0)), SHARED);
}

#[test]
fn old_rounds_are_forgotten_when_they_are_empty() {
    let mut inits = Inits::new(RULES);
    let rounds: Vec<_> = (0..4).map(|_| gloo_enters(&mut inits, 100, 0)).collect();
    assert_eq!(inits.retire(), [], "all are in use");
    inits.leave(&rounds[3].1);
    inits.leave(&rounds[1].1);
    assert_eq!(inits.retire(), [rounds[1].0], "the newest two are kept, the oldest is in use");
    inits.leave(&rounds[0].1);
    assert_eq!(inits.retire(), [rounds[0].0]);
    assert_eq!(inits.count(), 4);
    assert_eq!(gloo_enters(&mut inits, 100, 0).0, SpaceId(5), "numbers are not used again");
}

#[test]
fn without_separation_all_is_shared() {
    let mut inits = Inits::new(Rules { separate: false, ..RULES });
    assert_eq!(gloo_enters(&mut inits, 100, 0).0, SHARED);
    assert_eq!(gloo_enters(&mut inits, 100, 0).0, SHARED);
    assert_eq!(inits.count(), 0);
}
