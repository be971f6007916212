//! Everything about a run that the seed decides before it begins.

use crate::dice::Dice;
use crate::time::Span;

/// How often things go wrong: so many times in ten thousand, each time the weather is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rates {
    /// A member's process is killed, or its power goes.
    pub(crate) member_crash: u64,
    /// A member stands still and goes on.
    pub(crate) member_pause: u64,
    /// A member's clock steps.
    pub(crate) clock_step: u64,
    /// A member's disk becomes slow for a while.
    pub(crate) slow_disk: u64,
    /// A member's disk is full for a while.
    pub(crate) full_disk: u64,
    /// Members, agents or clients cannot reach each other.
    pub(crate) partition: u64,
    /// An agent's process is killed.
    pub(crate) agent_crash: u64,
    /// An agent stands still and goes on.
    pub(crate) agent_pause: u64,
    /// An agent's machine restarts: its processes are gone.
    pub(crate) reboot: u64,
    /// An agent's machine is gone for good.
    pub(crate) destroy: u64,
    /// A running program is killed from outside.
    pub(crate) kill_program: u64,
    /// The leadership is handed over on request.
    pub(crate) transfer: u64,
    /// A member is added or removed.
    pub(crate) membership: u64,
}

/// How packets fare: chances in ten thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Links {
    /// The usual longest delay.
    pub(crate) delay: Span,
    /// The longest delay of a packet that is late.
    pub(crate) late: Span,
    /// How often one is.
    pub(crate) lateness: u64,
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
}

/// How programs behave: chances in ten thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Programs {
    /// It ends badly by itself.
    pub(crate) fails: u64,
    /// It does not end when it is asked to, but only when it is killed.
    pub(crate) hangs: u64,
    /// It cannot be prepared.
    pub(crate) unprepared: u64,
    /// The longest that it runs.
    pub(crate) longest: Span,
    /// The longest that its preparation takes.
    pub(crate) preparation: Span,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Members at the start.
    pub(crate) members: u64,
    pub(crate) agents: usize,
    pub(crate) clients: usize,
    /// How long things go wrong.
    pub(crate) storm: Span,
    pub(crate) rates: Rates,
    pub(crate) links: Links,
    pub(crate) programs: Programs,
    /// The length of an agent's lease.
    pub(crate) lease: Span,
    /// The longest that a link is cut.
    pub(crate) longest_cut: Span,
    /// What agents promise: to have stopped everything so long after the last word of a leader.
    pub(crate) cut_off: Option<Span>,
    /// Machines that are gone are taken out only after the storm.
    pub(crate) lazy_operator: bool,
    /// Entries between snapshots, and entries kept before one.
    pub(crate) snapshot_every: u64,
    pub(crate) snapshot_tail: u64,
    /// The longest pause between two requests of a client.
    pub(crate) think: Span,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        // Some kinds of trouble stay away in some runs: together they may hide each other.
        let mut rate = |highest: u64| if dice.hits(2500) { 0 } else { dice.between(0, highest) };
        let rates = Rates {
            member_crash: rate(300),
            member_pause: rate(300),
            clock_step: rate(300),
            slow_disk: rate(150),
            full_disk: rate(80),
            partition: rate(400),
            agent_crash: rate(300),
            agent_pause: rate(200),
            reboot: rate(60),
            destroy: rate(25),
            kill_program: rate(150),
            transfer: rate(150),
            membership: rate(150),
        };
        let links = Links {
            delay: dice.span(Span::micros(300), Span::millis(30)),
            late: dice.span(Span::millis(50), Span::seconds(2)),
            lateness: dice.between(0, 300),
            loss: dice.between(0, 500),
            duplicate: dice.between(0, 300),
        };
        let programs = Programs {
            fails: dice.between(0, 3000),
            hangs: dice.between(0, 3000),
            unprepared: dice.between(0, 500),
            longest: dice.span(Span::seconds(2), Span::seconds(25)),
            preparation: dice.span(Span::millis(20), Span::seconds(4)),
        };
        Self {
            seed,
            members: [1, 3, 3, 3, 5][dice.between(0, 4) as usize],
            agents: dice.between(1, 6) as usize,
            clients: dice.between(1, 3) as usize,
            storm: dice.span(Span::seconds(25), Span::seconds(70)),
            rates,
            links,
            programs,
            lease: dice.span(Span::millis(1500), Span::seconds(8)),
            longest_cut: match Dice::new(seed, "cuts").hits(3000) {
                true => Span::seconds(60),
                false => Span::seconds(15),
            },
            cut_off: {
                let mut own = Dice::new(seed, "promises");
                let after = own.span(Span::seconds(4), Span::seconds(25));
                (!own.hits(2000)).then_some(after)
            },
            lazy_operator: Dice::new(seed, "operator").hits(5000),
            snapshot_every: dice.between(10, 150),
            snapshot_tail: dice.between(0, 40),
            think: dice.span(Span::millis(200), Span::seconds(4)),
        }
    }

    /// A cluster of three in which nothing goes wrong: scenarios add to it what they are about.
    pub(crate) fn quiet(seed: u64) -> Self {
        let links = Links {
            delay: Span::millis(5),
            late: Span::millis(5),
            lateness: 0,
            loss: 0,
            duplicate: 0,
        };
        let programs = Programs {
            fails: 0,
            hangs: 0,
            unprepared: 0,
            longest: Span::seconds(5),
            preparation: Span::millis(200),
        };
        Self {
            seed,
            members: 3,
            agents: 3,
            clients: 2,
            storm: Span::seconds(30),
            rates: Rates::default(),
            links,
            programs,
            lease: Span::seconds(2),
            longest_cut: Span::seconds(15),
            cut_off: Some(Span::seconds(10)),
            lazy_operator: true,
            snapshot_every: 50,
            snapshot_tail: 10,
            think: Span::millis(500),
        }
    }
}
