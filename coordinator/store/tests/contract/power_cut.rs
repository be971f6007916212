//! Power cuts, as strict as POSIX allows: see `tests/powercut/powercut.c`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_store::{Batch, Error};

use crate::history::{Disagreement, History};
use crate::scratch::{Scratch, state, try_open};
use crate::writer::{Dice, Orders, Said, Writer};

/// What of the blocks that were never synced is found after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsynced {
    Nothing,
    /// Each sector of 512 bytes for itself, as the dice fall.
    SomeSectors,
}

/// A tree below which a preloaded library notes what is durable.
struct Power {
    scratch: Scratch,
    library: PathBuf,
    image: PathBuf,
}

// === impl Power ===

impl Power {
    /// Builds the library. `None`, and a sentence, where that is not possible.
    fn new() -> Option<Self> {
        let scratch = Scratch::on_disk();
        let top = scratch.dir.parent().expect("a scratch directory has a parent").to_owned();
        let library = top.join("powercut.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/powercut/powercut.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        match built {
            Ok(status) => assert!(status.success(), "the C compiler refuses {}", source.display()),
            Err(error) => {
                eprintln!(
                    "skipped: the power cut needs a C compiler, and `cc` does not run: {error}"
                );
                return None;
            }
        }
        fs::create_dir(&scratch.dir).expect("room");
        Some(Self { image: top.join("image"), library, scratch })
    }

    fn dir(&self) -> &Path {
        &self.scratch.dir
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD", text(&self.library)),
            ("POWERCUT_SOURCE", text(self.dir())),
            ("POWERCUT_IMAGE", text(&self.image)),
        ]
    }

    /// From now on, everything that is in the tree is durable.
    fn on(&self) {
        let _ = fs::remove_dir_all(&self.image);
        for kind in ["i", "d", "k"] {
            fs::create_dir_all(self.image.join(kind)).expect("room");
        }
        self.note(self.dir());
    }

    fn note(&self, dir: &Path) {
        let mut names = String::new();
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let inode = fs::metadata(&path).expect("an entry").ino();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
            if path.is_dir() {
                names += &format!("d {inode} {name}\n");
                self.note(&path);
            } else {
                names += &format!("f {inode} {name}\n");
                fs::copy(&path, self.image.join(format!("i/{inode}"))).expect("room");
                fs::hard_link(&path, self.image.join(format!("k/{inode}"))).expect("a link");
            }
        }
        let inode = fs::metadata(dir).expect("a directory").ino();
        fs::write(self.image.join(format!("d/{inode}")), names).expect("room");
    }

    /// The power went: puts the tree that is left in the place of the one that was.
    fn off(&self, unsynced: Unsynced, dice: &mut Dice) {
        let mut live = BTreeMap::new();
        find_files(self.dir(), &mut live);
        let left = self.dir().with_extension("left");
        let inode = fs::metadata(self.dir()).expect("a directory").ino();
        let mut rebuild = Rebuild { power: self, live, unsynced, dice };
        rebuild.dir(inode, &left);
        fs::remove_dir_all(self.dir()).expect("the old tree");
        fs::rename(&left, self.dir()).expect("the new tree");
    }
}

struct Rebuild<'a> {
    power: &'a Power,
    /// Where each file is, by inode; for files that were synced, the image knows better.
    live: BTreeMap<u64, PathBuf>,
    unsynced: Unsynced,
    dice: &'a mut Dice,
}

impl Rebuild<'_> {
    fn dir(&mut self, inode: u64, to: &Path) {
        fs::create_dir(to).expect("room");
        let names = fs::read_to_string(self.power.image.join(format!("d/{inode}")));
        for line in names.unwrap_or_default().lines() {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("three words a line");
            let (kind, inode, name) = (word(), word(), word());
            let inode = inode.parse().expect("an inode number");
            match kind {
                "d" => self.dir(inode, &to.join(name)),
                _ => self.file(inode, &to.join(name)),
            }
        }
    }

    fn file(&mut self, inode: u64, to: &Path) {
        let durable = fs::read(self.power.image.join(format!("i/{inode}"))).unwrap_or_default();
        let mut content = durable;
        if self.unsynced == Unsynced::SomeSectors {
            let kept = self.power.image.join(format!("k/{inode}"));
            let live = fs::read(kept)
                .or_else(|_| self.live.get(&inode).map_or(Ok(Vec::new()), fs::read))
                .expect("a file");
            content.resize(content.len().max(live.len()), 0);
            for (sector, now) in content.chunks_mut(512).zip(live.chunks(512)) {
                if self.dice.below(2) == 0 {
                    sector[..now.len()].copy_from_slice(now);
                }
            }
        }
        fs::write(to, content).expect("room");
    }
}

fn find_files(dir: &Path, found: &mut BTreeMap<u64, PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find_files(&path, found);
        } else {
            found.insert(fs::metadata(&path).expect("an entry").ino(), path);
        }
    }
}

/// What came of some power cuts.
#[derive(Debug, Default)]
struct Outcome {
    acknowledged: u64,
    lost: usize,
    torn: usize,
}

/// Cuts the power of a writer several times, on a directory that goes on.
fn cut_power(rounds: u64, lies: bool, unsynced: Unsynced) -> Option<Outcome> {
    let power = Power::new()?;
    let (mut history, mut outcome) = (History::default(), Outcome::default());
    let mut dice = Dice(99);
    for seed in 0..rounds {
        power.on();
        let environment = power.environment();
        let mut writer = Writer::start(&Orders { dir: power.dir(), seed, lies, environment });
        for _ in 0..10 + dice.below(250) {
            history.hears(writer.hear().expect("the writer goes on"));
        }
        writer.kill().into_iter().for_each(|said| history.hears(said));
        power.off(unsynced, &mut dice);
        let opened = try_open(power.dir());
        if lies {
            // Whatever is left: it cannot be what was acknowledged, or the test proves nothing.
            let found = match &opened {
                Ok((_, Some(recovered))) => history.check(recovered),
                Ok((_, None)) | Err(_) => Err(Disagreement::Lost(1)),
            };
            outcome.lost += usize::from(matches!(found, Err(Disagreement::Lost(_))));
            break;
        }
        let recovered = match opened {
            Ok((_, Some(recovered))) => recovered,
            Ok((_, None)) => panic!("round {seed}: the log is gone; said {history:?}"),
            Err(error) => panic!("round {seed}: {error}"),
        };
        outcome.torn += usize::from(recovered.cut.is_some());
        assert_eq!(history.check(&recovered), Ok(()), "round {seed}, {unsynced:?}");
    }
    outcome.acknowledged = history.acknowledged;
    println!("{rounds} power cuts, {unsynced:?} of what was not synced kept: {outcome:?}");
    Some(outcome)
}

#[test]
fn nothing_acknowledged_is_lost_when_a_power_cut_takes_all_that_was_not_synced() {
    let Some(outcome) = cut_power(8, false, Unsynced::Nothing) else { return };
    assert!(outcome.acknowledged > 2000, "{outcome:?}");
}

#[test]
fn nothing_acknowledged_is_lost_when_a_power_cut_keeps_some_sectors_of_what_was_not_synced() {
    let Some(outcome) = cut_power(12, false, Unsynced::SomeSectors) else { return };
    assert!(outcome.acknowledged > 3000, "{outcome:?}");
}

#[test]
fn a_writer_that_acknowledges_without_a_sync_does_lose_entries() {
    let Some(outcome) = cut_power(1, true, Unsynced::Nothing) else { return };
    assert_eq!(outcome.lost, 1, "{outcome:?}");
}

#[test]
fn a_failed_fsync_stops_the_store_for_good_and_loses_nothing_acknowledged() {
    let Some(power) = Power::new() else { return };
    let mut history = History::default();
    for (seed, limit) in [(1, 60), (2, 100), (3, 171)] {
        power.on();
        let mut environment = power.environment();
        environment.push(("POWERCUT_FAIL_AFTER", limit.to_string()));
        let mut writer =
            Writer::start(&Orders { dir: power.dir(), seed, lies: false, environment });
        let said: Vec<_> = std::iter::from_fn(|| writer.hear()).collect();
        assert_eq!(said.last(), Some(&Said::Stopped), "the store goes on after a failed fsync");
        assert!(writer.ends_well());
        said.into_iter().for_each(|said| history.hears(said));
        power.off(Unsynced::Nothing, &mut Dice(seed));
        let (mut store, recovered) = try_open(power.dir()).expect("a sound directory");
        assert_eq!(history.check(&recovered.expect("a log")), Ok(()));
        let hard_state = Some(state(9, 9, 1));
        let batch = Batch { hard_state, sync: true, ..Batch::default() };
        let result: Result<(), Error> = store.append(&batch);
        result.expect("a new process starts afresh");
        history = History::default();
        drop(store);
        fs::remove_dir_all(power.dir()).expect("a directory");
        fs::create_dir(power.dir()).expect("room");
    }
}
