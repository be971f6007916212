//! A whole cluster in one thread: members, a network and faults, all from one seed.

pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod member;

use std::collections::BTreeMap;

use muster_consensus::{Boot, Config, Index, MemberId, Membership, Message, Role, SnapshotOutcome};

use dice::{Dice, fold_bytes};
use ledger::{Ledger, Violation};
pub(crate) use load::Load;
use member::{Cut, Member, Mistake};

/// The network counts time in tenths of a tick.
const TICK: u64 = 10;

/// How often things go wrong, in a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Messages that vanish.
    pub(crate) loss: u64,
    /// Messages that arrive twice.
    pub(crate) duplicate: u64,
    /// The longest delay of a message, in tenths of a tick; delays differ, so messages overtake.
    pub(crate) delay: u64,
    /// Rounds that end in a power cut before or after their write.
    pub(crate) cut: u64,
    /// Ticks in which one link direction, or one member, is cut off for a while.
    pub(crate) partition: u64,
}

/// How to build a world.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The voters of the first start.
    pub(crate) members: u64,
    /// Members that wait to be added.
    pub(crate) spares: u64,
    pub(crate) faults: Faults,
    pub(crate) load: Load,
    pub(crate) mistake: Mistake,
}

/// The simulated cluster.
pub(crate) struct World {
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) ledger: Ledger,
    pub(crate) now: u64,
    pub(crate) power_cuts: u64,
    plan: Plan,
    /// Messages under way, by arrival and sequence.
    network: BTreeMap<(u64, u64), (MemberId, Message)>,
    sequence: u64,
    reads: u64,
    /// Separate streams, so that more of one fault does not reshuffle the others.
    network_dice: Dice,
    fault_dice: Dice,
    load_dice: Dice,
    /// Until when a member stays down, or a link (from, to) is cut.
    down: BTreeMap<MemberId, u64>,
    cut_links: BTreeMap<(MemberId, MemberId), u64>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self { loss: 0, duplicate: 0, delay: 2, cut: 0, partition: 0 }
    }

    pub(crate) fn many() -> Self {
        Self { loss: 60, duplicate: 30, delay: 25, cut: 8, partition: 10 }
    }
}

impl Plan {
    /// A cluster without faults and without load.
    pub(crate) fn calm(seed: u64, members: u64) -> Self {
        let (faults, load) = (Faults::none(), Load::none());
        Self { seed, members, spares: 0, faults, load, mistake: Mistake::None }
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let voters: Vec<_> = (1..=plan.members).map(MemberId).collect();
        let founding = Membership::of_voters(voters.iter().copied());
        let mut members = BTreeMap::new();
        for id in (1..=plan.members + plan.spares).map(MemberId) {
            let boot = if voters.contains(&id) {
                Boot::first_start(founding.clone())
            } else {
                Boot::joining()
            };
            let config = Config {
                seed: plan.seed,
                max_message_bytes: 200,
                max_inflight: 8,
                max_entry_bytes: 4096,
                max_apply_bytes: 300,
                ..Config::new(id)
            };
            let mut member = Member::new(config, boot, plan.mistake);
            member.start();
            members.insert(id, member);
        }
        let mut seeds = Dice::new(plan.seed);
        Self {
            members,
            ledger: Ledger::default(),
            now: 0,
            power_cuts: 0,
            network: BTreeMap::new(),
            sequence: 0,
            reads: 0,
            network_dice: Dice::new(seeds.next()),
            fault_dice: Dice::new(seeds.next()),
            load_dice: Dice::new(seeds.next()),
            down: BTreeMap::new(),
            cut_links: BTreeMap::new(),
            plan,
        }
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&MemberId(id)).expect("a member of the plan")
    }

    /// Whoever leads in the newest term.
    pub(crate) fn leader(&self) -> Option<MemberId> {
        let standings = self.members.iter().filter_map(|(id, member)| {
            let standing = member.node.as_ref()?.standing();
            (standing.role == Role::Leader).then_some((standing.term, *id))
        });
        standings.max().map(|(_, id)| id)
    }

    /// Runs for so many ticks.
    pub(crate) fn run(&mut self, ticks: u64) -> Result<(), Violation> {
        for _ in 0..ticks {
            self.tick()?;
        }
        Ok(())
    }

    /// Runs until the condition holds. Says whether it did within so many ticks.
    pub(crate) fn run_until(
        &mut self,
        ticks: u64,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<bool, Violation> {
        for _ in 0..ticks {
            if condition(self) {
                return Ok(true);
            }
            self.tick()?;
        }
        Ok(condition(self))
    }

    /// Ends all faults and all load, and starts everybody who is down.
    pub(crate) fn heal(&mut self) {
        self.plan.faults = Faults::none();
        let snapshot_every = self.plan.load.snapshot_every;
        self.plan.load = Load { snapshot_every, ..Load::none() };
        self.down.clear();
        self.cut_links.clear();
        self.start_those_due();
    }

    /// Whether one leader leads a plain membership whose members all hold the whole history.
    pub(crate) fn has_converged(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(node) = self.members.get(&leader).and_then(|member| member.node.as_ref()) else {
            return false;
        };
        let membership = node.membership();
        let last = node.status().last;
        !membership.is_joint()
            && last == self.ledger.last()
            && self.members.values().filter(|member| membership.contains(member.id)).all(|member| {
                member.machine.applied == last
                    && member.node.as_ref().is_some_and(|node| {
                        node.standing().leader == Some(leader) && node.membership() == membership
                    })
            })
    }

    /// The power of one member goes, and comes back after so many ticks.
    pub(crate) fn power_cut(&mut self, id: MemberId, ticks: u64) {
        let lazy_survives = self.fault_dice.hits(500);
        if let Some(member) = self.members.get_mut(&id) {
            member.crash(lazy_survives);
        }
        self.ledger.note(id.0);
        self.power_cuts += 1;
        self.down.insert(id, self.now + ticks * TICK);
    }

    /// Cuts a member off from all others, both ways, for so many ticks.
    pub(crate) fn isolate(&mut self, id: MemberId, ticks: u64) {
        let until = self.now + ticks * TICK;
        for other in self.members.keys().filter(|other| **other != id) {
            self.cut_links.insert((id, *other), until);
            self.cut_links.insert((*other, id), until);
        }
    }

    /// Sends what a member has to say, and lets it do what it has to do.
    pub(crate) fn drain(&mut self, id: MemberId) -> Result<(), Violation> {
        let cut = match self.fault_dice.hits(self.plan.faults.cut) {
            false => Cut::Never,
            true if self.fault_dice.hits(500) => Cut::BeforeWrite,
            true => Cut::AfterWrite,
        };
        let Some(member) = self.members.get_mut(&id).filter(|member| member.node.is_some()) else {
            return Ok(());
        };
        let outbox = member.drain(cut, &mut self.ledger)?;
        let died = member.node.is_none();
        for message in outbox {
            self.send(id, message);
        }
        if died {
            let ticks = 1 + self.fault_dice.below(60);
            self.power_cut(id, ticks);
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Violation> {
        self.now += TICK;
        self.start_those_due();
        self.some_partition();
        while let Some(entry) = self.network.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (from, message) = entry.remove();
            self.deliver(from, &message)?;
        }
        for id in self.ids() {
            if let Some(member) = self.members.get_mut(&id) {
                member.tick();
            }
            self.drain(id)?;
        }
        self.some_load()?;
        self.housekeeping()
    }

    fn ids(&self) -> Vec<MemberId> {
        self.members.keys().copied().collect()
    }

    fn start_those_due(&mut self) {
        let now = self.now;
        for (id, member) in &mut self.members {
            let due = self.down.get(id).is_none_or(|until| *until <= now);
            if member.node.is_none() && due {
                member.start();
            }
        }
        self.cut_links.retain(|_, until| *until > now);
    }

    fn some_partition(&mut self) {
        if !self.fault_dice.hits(self.plan.faults.partition) {
            return;
        }
        let ids = self.ids();
        let ticks = 5 + self.fault_dice.below(80);
        let (one, other) = (self.fault_dice.pick(&ids), self.fault_dice.pick(&ids));
        match (one, other) {
            (Some(one), Some(other)) if one != other => {
                self.cut_links.insert((one, other), self.now + ticks * TICK);
            }
            (Some(one), _) => self.isolate(one, ticks),
            _ => {}
        }
    }

    fn send(&mut self, from: MemberId, message: Message) {
        let (faults, dice) = (&self.plan.faults, &mut self.network_dice);
        let copies = 1 + u64::from(dice.hits(faults.duplicate));
        let lost = dice.hits(faults.loss) || self.cut_links.contains_key(&(from, message.to));
        let mut delays = Vec::new();
        for _ in 0..copies {
            delays.push(1 + dice.below(faults.delay));
        }
        if lost {
            self.report(from, &message, SnapshotOutcome::Failed);
            return;
        }
        for delay in delays {
            self.sequence += 1;
            self.network.insert((self.now + delay, self.sequence), (from, message.clone()));
        }
    }

    fn deliver(&mut self, from: MemberId, message: &Message) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&message.to) else { return Ok(()) };
        if member.node.is_none() {
            self.report(from, message, SnapshotOutcome::Failed);
            return Ok(());
        }
        self.ledger.note(fold_bytes(from.0 ^ message.to.0 << 8, &message.bytes));
        // A guard that refuses what correct peers send would show as a cluster that stands still,
        // but it is better to hear of it.
        match member.step(message) {
            Ok(()) | Err(muster_consensus::StepError::Unsettled) => {}
            Err(muster_consensus::StepError::Stranger(_)) => {}
            Err(error) if self.plan.mistake == Mistake::None => {
                return Err(Violation::Liveness(format!(
                    "member {} refused a message: {error}",
                    message.to
                )));
            }
            Err(_) => {}
        }
        self.drain(message.to)?;
        self.report(from, message, SnapshotOutcome::Delivered);
        Ok(())
    }

    fn report(&mut self, from: MemberId, message: &Message, outcome: SnapshotOutcome) {
        let sender = self.members.get_mut(&from).and_then(|member| member.node.as_mut());
        if let (Some(_), Some(sender)) = (message.snapshot, sender) {
            sender.report_snapshot(message.to, outcome);
        }
    }

    /// Members of the membership that the leader lives by.
    pub(crate) fn leader_membership(&self) -> Option<Membership> {
        let leader = self.members.get(&self.leader()?)?;
        Some(leader.node.as_ref()?.membership())
    }

    /// Everything applied by a member so far.
    pub(crate) fn applied(&self, id: u64) -> Index {
        self.members.get(&MemberId(id)).map_or(Index(0), |member| member.machine.applied)
    }
}
