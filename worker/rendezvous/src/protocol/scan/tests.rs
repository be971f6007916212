//! Requests in one piece, in every number of pieces, and at the limits.

use proptest::prelude::*;

use super::*;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

fn announce(opcode: u8, words: &[u64]) -> Vec<u8> {
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    std::iter::once(opcode).chain(words).collect()
}

/// One well-formed request of each operation.
fn samples() -> Vec<(Opcode, Vec<u8>)> {
    let key = string(b"/key");
    let value = string(b"value");
    let one = 1u64.to_le_bytes();
    let two = 2u64.to_le_bytes();
    let list = [&two[..], &key, &key].concat();
    let pairs = [&two[..], &key, &value, &key, &value].concat();
    let cases: [(u8, Vec<u8>); 18] = [
        (1, [&key[..], &value].concat()),
        (2, [&key[..], &value, &value].concat()),
        (3, key.clone()),
        (4, [&key[..], &one].concat()),
        (5, list.clone()),
        (6, list.clone()),
        (7, Vec::new()),
        (8, key.clone()),
        (9, [&key[..], &value].concat()),
        (10, list),
        (11, pairs),
        (12, Vec::new()),
        (13, vec![1, 2, 3, 4]),
        (14, [&key[..], &value].concat()),
        (15, key.clone()),
        (16, key.clone()),
        (17, Vec::new()),
        (18, [&key[..], &one].concat()),
    ];
    cases
        .into_iter()
        .map(|(byte, rest)| {
            let opcode = Opcode::from_byte(byte).expect("all of them are known");
            (opcode, [&[byte][..], &rest].concat())
        })
        .collect()
}

#[test]
fn every_operation_ends_where_it_ends() {
    for (opcode, request) in samples() {
        let mut scan = Scan::default();
        let with_more = [&request[..], b"more"].concat();
        let expected = Scanned::Whole { opcode, len: request.len() };
        assert_eq!(scan.advance(&with_more), Ok(expected));
    }
}

#[test]
fn every_operation_may_come_byte_by_byte() {
    for (opcode, request) in samples() {
        let mut scan = Scan::default();
        for len in 0..request.len() {
            match scan.advance(&request[..len]) {
                Ok(Scanned::Partial { at_least, exact }) => {
                    assert!(len < at_least && at_least <= request.len(), "{opcode:?} at {len}");
                    assert!(!exact || at_least == request.len(), "{opcode:?} at {len}");
                }
                other => panic!("{opcode:?} at {len}: {other:?}"),
            }
        }
        let expected = Scanned::Whole { opcode, len: request.len() };
        assert_eq!(scan.advance(&request), Ok(expected));
    }
}

#[test]
fn lengths_are_judged_before_the_bytes_come() {
    let over = |limit, size| Err(Violation::OverLimit { limit, size });
    let judge = |bytes: &[u8]| Scan::default().advance(bytes);
    assert!(judge(&announce(1, &[MAX_KEY])).is_ok());
    assert_eq!(judge(&announce(1, &[MAX_KEY + 1])), over(Limit::Key, MAX_KEY + 1));
    assert_eq!(judge(&announce(1, &[u64::MAX])), over(Limit::Key, u64::MAX));
    assert!(judge(&announce(1, &[0, MAX_VALUE])).is_ok());
    assert_eq!(judge(&announce(1, &[0, MAX_VALUE + 1])), over(Limit::Value, MAX_VALUE + 1));
    for list in [5, 6, 10, 11] {
        assert!(judge(&announce(list, &[MAX_KEYS])).is_ok());
        assert_eq!(judge(&announce(list, &[MAX_KEYS + 1])), over(Limit::Keys, MAX_KEYS + 1));
        assert_eq!(judge(&announce(list, &[1 << 63])), over(Limit::Keys, 1 << 63));
        assert_eq!(judge(&announce(list, &[1, MAX_KEY + 1])), over(Limit::Key, MAX_KEY + 1));
    }
}

#[test]
fn the_length_of_a_value_is_known_exactly() {
    let announced = announce(1, &[0, 1_000_000]);
    let expected = Scanned::Partial { at_least: announced.len() + 1_000_000, exact: true };
    assert_eq!(Scan::default().advance(&announced), Ok(expected));
}

#[test]
fn other_numbers_are_refused() {
    assert_eq!(Scan::default().advance(&[0]), Err(Violation::SecondValidate));
    for byte in 19..=u8::MAX {
        assert_eq!(Scan::default().advance(&[byte]), Err(Violation::UnknownOpcode(byte)));
    }
}

proptest! {
    #[test]
    fn pieces_and_wholes_are_read_alike(
        bytes in proptest::collection::vec(prop_oneof![3 => 0u8..19, 1 => any::<u8>()], 0..200),
        step in 1usize..20,
    ) {
        let whole = Scan::default().advance(&bytes);
        let mut scan = Scan::default();
        let mut last = scan.advance(&[]);
        for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
            if !matches!(last, Ok(Scanned::Partial { .. })) {
                break;
            }
            last = scan.advance(&bytes[..end]);
        }
        prop_assert_eq!(whole, last);
    }
}
