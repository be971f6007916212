//! A process that writes until it is killed, and tells over a socket what it begins and what was
//! acknowledged. The test binary starts itself for it.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use muster_store::{Batch, Error, HardState, Index, LogStore, Options};

use crate::history::History;
use crate::scratch::{SEGMENT, Scratch, bootstrap, entries, meta, options, state};

/// The test that is the child, and how it learns that it is.
const CHILD: &str = "writer::a_writer_tells_what_it_does";
const ORDERS: &str = "MUSTER_STORE_WRITER";

/// What a writer says, before or after it does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Begins to append entries of a term and a hard state.
    Begins { first: u64, last: u64, term: u64, state: HardState },
    /// The last thing begun is durable.
    Acknowledged,
    /// Begins to write a hard state without a sync.
    Lazily(HardState),
    /// Begins to make a snapshot and to forget the log up to a point before it.
    Compacts { to: u64 },
    /// An fsync failed, and the store has stopped.
    Stopped,
}

/// A running writer.
pub(crate) struct Writer {
    child: Child,
    socket: UnixStream,
}

/// How a writer is started.
pub(crate) struct Orders<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) seed: u64,
    /// Acknowledges without having synced.
    pub(crate) lies: bool,
    /// More environment: a library to preload and what it wants to know.
    pub(crate) environment: Vec<(&'static str, String)>,
}

// === impl Writer ===

impl Writer {
    pub(crate) fn start(orders: &Orders<'_>) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let socket = scratch.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let Orders { dir, seed, lies, environment } = orders;
        let text = format!("{}\n{}\n{seed}\n{lies}", dir.display(), socket.display());
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args([CHILD, "--exact", "--nocapture"])
            .env(ORDERS, text)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn()
            .expect("this test can be started again");
        let (socket, _) = listener.accept().expect("the writer connects");
        Self { child, socket }
    }

    /// What it says next; `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<Said> {
        let mut bytes = [0; 65];
        self.socket.read_exact(&mut bytes).ok()?;
        Said::read(&bytes)
    }

    /// Kills it, and returns what it had said until then.
    pub(crate) fn kill(mut self) -> Vec<Said> {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// Whether it ended without an error.
    pub(crate) fn ends_well(mut self) -> bool {
        self.child.wait().expect("it ends").success()
    }
}

// === impl Said ===

impl Said {
    fn write(self, out: &mut impl Write) -> io::Result<()> {
        let words = |state: HardState| [state.term.0, state.vote, state.commit.0];
        let (tag, numbers, state) = match self {
            Self::Begins { first, last, term, state } => (1, [first, last, term], words(state)),
            Self::Acknowledged => (2, [0; 3], [0; 3]),
            Self::Lazily(state) => (3, [0; 3], words(state)),
            Self::Compacts { to } => (4, [to, 0, 0], [0; 3]),
            Self::Stopped => (5, [0; 3], [0; 3]),
        };
        let mut bytes = [0; 65];
        bytes[0] = tag;
        for (slot, number) in numbers.into_iter().chain(state).enumerate() {
            bytes[1 + slot * 8..9 + slot * 8].copy_from_slice(&number.to_le_bytes());
        }
        out.write_all(&bytes)
    }

    fn read(bytes: &[u8; 65]) -> Option<Self> {
        let number = |slot: usize| {
            u64::from_le_bytes(*bytes[1 + slot * 8..].first_chunk().expect("eight numbers"))
        };
        let state = state(number(3), number(4), number(5));
        Some(match bytes[0] {
            1 => Self::Begins { first: number(0), last: number(1), term: number(2), state },
            2 => Self::Acknowledged,
            3 => Self::Lazily(state),
            4 => Self::Compacts { to: number(0) },
            5 => Self::Stopped,
            _ => return None,
        })
    }
}

/// A row of numbers that follows from its seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }
}

/// Writes on for as long as somebody listens and nothing fails.
fn write(dir: &Path, dice: &mut Dice, lies: bool, say: &mut impl FnMut(Said) -> bool) {
    // A liar must not be made honest by the syncs of full segments and compactions.
    let segment_bytes = if lies { 4 << 20 } else { SEGMENT };
    let options = Options { segment_bytes, ..options() };
    let (mut store, recovered) = LogStore::open(dir, &options).expect("the log opens");
    if recovered.is_none() {
        bootstrap(&mut store);
    }
    let mut term = store.last().term.0;
    let mut committed = recovered.map_or(1, |recovered| recovered.snapshot.at.index.0);
    loop {
        let last = store.last().index.0;
        let mut first = last + 1;
        if dice.below(12) == 0 {
            // A new leader overwrites what was not committed.
            term += 1;
            first -= dice.below(20).min(last - committed);
        }
        let count = 1 + dice.below(24);
        let hard_state = state(term, term % 5, committed);
        let new = entries(first..first + count, term);
        let batch = Batch { reset: None, entries: &new, hard_state: Some(hard_state), sync: !lies };
        let begins = Said::Begins { first, last: first + count - 1, term, state: hard_state };
        if !say(begins) || !done(store.append(&batch), say) {
            return;
        }
        if dice.below(5) == 0 {
            let hard_state = state(term, term % 5, committed + 1);
            let batch = Batch { hard_state: Some(hard_state), ..Batch::default() };
            if !say(Said::Lazily(hard_state)) {
                return;
            }
            store.append(&batch).expect("room");
        }
        if !lies && store.last().index.0 > store.base().index.0 + 300 {
            committed = store.last().index.0;
            let to = committed - dice.below(100);
            if !say(Said::Compacts { to }) || !done(compact(&mut store, to), say) {
                return;
            }
        }
    }
}

fn compact(store: &mut LogStore, to: u64) -> Result<(), Error> {
    let mut writer = store.snapshots().begin(&meta(store.last()))?;
    writer.add(&[7; 1000])?;
    writer.finish()?;
    store.compact(Index(to))
}

/// Says how something ended, and whether to go on.
fn done(result: Result<(), Error>, say: &mut impl FnMut(Said) -> bool) -> bool {
    match result {
        Ok(()) => say(Said::Acknowledged),
        Err(Error::SyncFailed { .. }) => {
            say(Said::Stopped);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// As the child: writes until it is killed. Otherwise: sees that the writer says what it does.
#[test]
fn a_writer_tells_what_it_does() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return tries_out_the_writer();
    };
    let orders: Vec<_> = orders.lines().collect();
    let [dir, socket, seed, lies] = orders[..] else { panic!("orders in four lines") };
    let mut socket = UnixStream::connect(socket).expect("the test listens");
    let mut dice = Dice(seed.parse().expect("a number"));
    let lies = lies.parse().expect("true or false");
    write(Path::new(dir), &mut dice, lies, &mut |said| said.write(&mut socket).is_ok());
}

fn tries_out_the_writer() {
    let scratch = Scratch::new();
    let mut history = History::default();
    for seed in 0..3 {
        let mut left = 200;
        write(&scratch.dir, &mut Dice(seed), false, &mut |said| {
            let mut bytes = Vec::new();
            said.write(&mut bytes).expect("room in memory");
            let read = Said::read(bytes.first_chunk().expect("its length"));
            assert_eq!(read, Some(said));
            history.hears(said);
            left -= 1;
            left > 0
        });
        let (_, recovered) = scratch.open();
        assert_eq!(history.check(&recovered), Ok(()));
    }
    assert!(history.acknowledged > 1000);
}
