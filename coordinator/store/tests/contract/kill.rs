//! `kill -9` in a loop, on one directory that grows.

use crate::history::History;
use crate::scratch::Scratch;
use crate::writer::{Dice, Orders, Writer};

const LOOPS: u64 = 30;

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed_thirty_times() {
    let scratch = Scratch::on_disk();
    let mut history = History::default();
    let mut dice = Dice(1);
    let mut cuts = 0;
    for seed in 0..LOOPS {
        let orders = Orders { dir: &scratch.dir, seed, lies: false, environment: Vec::new() };
        let mut writer = Writer::start(&orders);
        for _ in 0..20 + dice.below(150) {
            history.hears(writer.hear().expect("the writer goes on"));
        }
        writer.kill().into_iter().for_each(|said| history.hears(said));
        let (_, recovered) = scratch.open();
        assert_eq!(history.check(&recovered), Ok(()), "loop {seed}");
        cuts += u64::from(recovered.cut.is_some());
    }
    let entries = history.acknowledged;
    println!("{LOOPS} kills, {entries} entries acknowledged, {cuts} torn writes cut");
    assert!(entries > 100 * LOOPS, "only {entries} entries");
}
