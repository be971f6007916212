//! SIGKILL to ranks, shims and agents at any moment of a replica's life: afterwards nothing is left, and the end
//! that is told is right, and told once by each agent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_model::{Exit, ExitStatus, LaunchSpec, Millis, Volume, VolumeMount, VolumeSource};
use rustix::process::Signal;

use crate::lab::{Key, Lab, is_alive, key, kill};
use crate::remote::{Call, News, Options, Told};
use crate::replica::{at_rank, opening, replica, script};
use crate::testbed::Testbed;
use crate::traces::{self, PATIENCE};

/// How many times something is killed.
const ROUNDS: u64 = 60;

/// The dice. `MUSTER_CRASH_SEED` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("MUSTER_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(0x6d75_7374)
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Rank,
    Shim,
    Agent,
    AgentAndShim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It ends by itself with this code.
    Code(u8),
    /// It is stopped.
    Stopped,
}

struct Round {
    spec: LaunchSpec,
    victim: Victim,
    ending: Ending,
    /// When the kill comes, after the first call.
    after: Duration,
    log: Vec<String>,
}

/// A program that leaves a daemon behind, and ends by itself if it is to.
fn program(ending: Ending) -> String {
    let rest = match ending {
        Ending::Code(code) => format!("sleep 0.03; exit {code}"),
        Ending::Stopped => "sleep 1000".to_owned(),
    };
    format!("(setsid sh -c 'exec sleep 1000' &); sleep 1000 & {rest}")
}

/// Gives a replica an init container that leaves a daemon behind and, where that is possible, a volume.
fn furnish(spec: &mut LaunchSpec) {
    let pod = &mut spec.role.pod;
    pod.init_containers.push(script("init", "(setsid sh -c 'exec sleep 1000' &); sleep 0.005"));
    if traces::is_root() {
        let source = VolumeSource::EmptyDir { memory: true, size_limit: None };
        pod.volumes.push(Volume { name: "v".into(), source });
        pod.containers[0].mounts.push(VolumeMount {
            volume: "v".into(),
            path: "/no-such-root/v".into(),
            sub_path: String::new(),
            read_only: false,
        });
    }
}

/// What a replica's agents have told, all of them together.
#[derive(Default)]
struct Heard {
    /// Each agent's words, one agent after the other.
    agents: Vec<Vec<Told>>,
}

impl Heard {
    fn last(&self) -> Option<&Told> {
        self.agents.last().and_then(|told| told.last())
    }

    fn exit(&self) -> Option<&Exit> {
        match self.last() {
            Some(Told::Exited(exit)) => Some(exit),
            _ => None,
        }
    }
}

fn shim_of(options: &Options, spec: &LaunchSpec) -> Option<i32> {
    let name = format!("{}-{}-{}", spec.job_uid, spec.id.rank, spec.fence);
    let path = options.data.join("replicas").join(name).join("shim.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    i32::try_from(json["pid"].as_i64()?).ok()
}

/// An agent that knows what it wants of a replica, and orders it again after each restart, as the coordinator does.
struct Driver<'a> {
    options: &'a Options,
    agent: Testbed,
    heard: BTreeMap<Key, Heard>,
}

impl<'a> Driver<'a> {
    fn start(options: &'a Options) -> Self {
        let mut driver =
            Self { options, agent: Testbed::start(options, None), heard: BTreeMap::new() };
        driver.adopt();
        driver
    }

    /// Starts another agent in the place of one that was killed.
    fn restart(&mut self) {
        self.agent = Testbed::start(self.options, None);
        self.adopt();
    }

    fn adopt(&mut self) {
        for heard in self.heard.values_mut() {
            heard.agents.push(Vec::new());
        }
        loop {
            match self.agent.next().expect("the agent opens") {
                News::Open => return,
                news => self.hear(news),
            }
        }
    }

    fn hear(&mut self, news: News) {
        let (News::Adopted(id, fence, told) | News::Seen(id, fence, told)) = news else {
            return;
        };
        let heard = self.heard.entry((id, fence)).or_default();
        if heard.agents.is_empty() {
            heard.agents.push(Vec::new());
        }
        let current = heard.agents.last_mut().expect("there is one");
        let ended = current.iter().any(|one| matches!(one, Told::Exited(_)));
        assert!(!ended, "{told:?} came after the end: {current:?}");
        current.push(told);
    }

    fn hear_until(&mut self, moment: Instant) {
        for news in self.agent.until(moment) {
            self.hear(news);
        }
    }

    /// Orders what is wanted of a replica, whatever it is told to be.
    fn order(&mut self, spec: &LaunchSpec, ending: Ending) {
        self.agent.call(&Call::Prepare(Box::new(spec.clone())));
        self.agent.call(&Call::Start(spec.id, spec.fence, opening(spec)));
        if ending == Ending::Stopped
            && self.heard.get(&key(spec)).and_then(Heard::last) == Some(&Told::Running)
        {
            self.agent.call(&Call::Stop(spec.id, spec.fence, Millis(5000)));
        }
    }

    /// Hears and orders until the replica has ended.
    fn finish(&mut self, spec: &LaunchSpec, ending: Ending) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(exit) = self.heard.get(&key(spec)).and_then(Heard::exit) {
                return exit.clone();
            }
            assert!(Instant::now() < deadline, "{}: waited in vain for its end", spec.name);
            self.order(spec, ending);
            self.hear_until(Instant::now() + Duration::from_millis(20));
        }
    }
}

fn kill_rank(spec: &LaunchSpec, log: &mut Vec<String>) -> bool {
    // The main process leads the first session; it is the parent of the others.
    let mut pids = traces::processes(&spec.job_uid);
    pids.sort_unstable();
    match pids.first() {
        Some(pid) => {
            log.push(format!("killed process {pid}"));
            kill(*pid, Signal::KILL);
            true
        }
        None => false,
    }
}

fn play(driver: &mut Driver<'_>, round: &mut Round) {
    let began = Instant::now();
    let spec = &round.spec;
    driver.order(spec, Ending::Code(0));
    driver.hear_until(began + round.after);
    let was_running = driver.heard.get(&key(spec)).and_then(Heard::last) == Some(&Told::Running);
    let shim = shim_of(driver.options, spec);
    let hit = match round.victim {
        Victim::Rank => kill_rank(spec, &mut round.log),
        Victim::Shim => shim.map(|pid| kill(pid, Signal::KILL)).is_some(),
        Victim::Agent => {
            driver.agent.kill();
            driver.restart();
            true
        }
        Victim::AgentAndShim => {
            driver.agent.kill();
            // Looked for again: it may have been started since.
            let shim = shim_of(driver.options, spec);
            if let Some(pid) = shim {
                kill(pid, Signal::KILL);
            }
            driver.restart();
            shim.is_some()
        }
    };
    round.log.push(format!("running {was_running}, shim {shim:?}, hit {hit}"));
    let exit = driver.finish(spec, round.ending);
    round.log.push(format!("{exit:?}"));
    check(round, &exit, hit);

    assert_eq!(traces::processes(&spec.job_uid), Vec::<i32>::new());
    driver.agent.call(&Call::Remove(spec.id, spec.fence));
    let name = format!("{}-{}-{}", spec.job_uid, spec.id.rank, spec.fence);
    let directory = driver.options.data.join("replicas").join(name);
    traces::wait_for("the directory to go", || !directory.exists());
    assert!(traces::groups(&spec.job_uid).is_empty());
    if let Some(shim) = shim_of(driver.options, spec) {
        traces::wait_for("the shim to end", || !is_alive(shim));
    }
}

/// Whether the end that was told is one that can have been.
fn check(round: &Round, exit: &Exit, hit: bool) {
    let natural = match round.ending {
        Ending::Code(code) => exit.status == ExitStatus::Code(code) && !exit.after_stop,
        Ending::Stopped => exit.status == ExitStatus::Signal(15) && exit.after_stop,
    };
    let possible = match round.victim {
        _ if !hit => natural,
        // Whoever was hit may have been any process of the replica, and the main one survives the others.
        // A process dies a moment after the signal; the order to stop may come between the two.
        Victim::Rank => {
            let may_be_stopped = round.ending == Ending::Stopped;
            natural
                || (exit.status == ExitStatus::Signal(9) && (!exit.after_stop || may_be_stopped))
        }
        Victim::Agent => natural,
        Victim::Shim | Victim::AgentAndShim => natural || exit.status == ExitStatus::Lost,
    };
    assert!(possible, "victim {:?}, ending {:?}: {:#?}", round.victim, round.ending, round.log);
}

#[test]
fn whatever_is_killed_whenever_nothing_is_left_and_the_end_is_right() {
    let seed = seed();
    eprintln!("MUSTER_CRASH_SEED={seed}");
    let mut dice = Dice(seed);
    for cgroups in [true, false] {
        let mut lab = Lab::new();
        lab.options.cgroups = cgroups;
        let mut driver = Driver::start(&lab.options);
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for number in 0..ROUNDS / 2 {
            let ending = match dice.below(3) {
                0 => Ending::Code(0),
                1 => Ending::Code(7),
                _ => Ending::Stopped,
            };
            let victim = match dice.below(6) {
                0 => Victim::Rank,
                1 => Victim::Shim,
                2 | 3 => Victim::Agent,
                _ => Victim::AgentAndShim,
            };
            let rank = u32::try_from(number).expect("rounds are few");
            let mut spec = at_rank(replica(&lab.job, script("main", &program(ending))), rank);
            if dice.below(3) == 0 {
                furnish(&mut spec);
            }
            // From before anything is there to after the end; half of them while it is being prepared.
            let span = if dice.below(2) == 0 { 8_000 } else { 60_000 };
            let after = Duration::from_micros(dice.below(span));
            let log =
                vec![format!("round {number}, seed {seed}, cgroups {cgroups}, after {after:?}")];
            let mut round = Round { spec, victim, ending, after, log };
            play(&mut driver, &mut round);
            let end = round.log.last().cloned().unwrap_or_default();
            *ends.entry(format!("{victim:?}: {end}")).or_default() += 1;
        }
        eprintln!("cgroups {cgroups}: {ends:#?}");
        driver.agent.kill();
        assert!(traces::shims(&lab.options.data).is_empty());
        assert!(traces::mounts(&lab.options.data).is_empty());
    }
}
