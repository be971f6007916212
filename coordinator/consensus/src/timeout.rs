//! Election timeouts without a random number generator.
//!
//! Raft wants timeouts that differ between members and between elections (Raft paper, section 5.2).
//! A hash of seed, member and term gives that, and the same run twice.

use crate::ids::{MemberId, Term};

/// The ticks without a leader after which `member` campaigns in `term`: in `[ticks, 2 * ticks)`.
pub(crate) fn election_ticks(seed: u64, member: MemberId, term: Term, ticks: usize) -> usize {
    let spread = mix(mix(mix(seed) ^ member.0) ^ term.0) % ticks as u64;
    ticks + spread as usize
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn timeouts_stay_in_their_range_and_use_all_of_it() {
        let seen: BTreeSet<_> =
            (0..500).map(|term| election_ticks(7, MemberId(1), Term(term), 10)).collect();
        assert_eq!(seen, (10..20).collect());
    }

    #[test]
    fn members_and_seeds_seldom_agree() {
        let row = |seed, member| {
            (0..100).map(move |term| election_ticks(seed, MemberId(member), Term(term), 10))
        };
        let agree = |a, b| row(a, 1).zip(row(b, 2)).filter(|(a, b)| a == b).count();
        assert!(agree(1, 1) < 30 && agree(1, 2) < 30);
    }

    #[test]
    fn the_function_is_pinned() {
        let row: Vec<_> =
            (1..9).map(|term| election_ticks(42, MemberId(3), Term(term), 10)).collect();
        assert_eq!(row, PINNED);
    }

    /// Recorded runs replay only as long as this holds.
    const PINNED: [usize; 8] = [17, 18, 15, 15, 15, 13, 13, 12];
}
