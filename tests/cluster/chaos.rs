//! kill -9 of anything at any moment: the job trains to its end, and nothing is orphaned.

use std::time::{Duration, Instant};

use muster_tests::{Job, Place, Role, ddp_script, replica_processes, until, until_within};
use rustix::process::{Pid, Signal, kill_process};

/// Steps of the training; each takes a tenth of a second.
const STEPS: u32 = 120;
/// Kills in one run.
const KILLS: u32 = 12;

/// Numbers from a seed, so that a failure can be told apart from bad luck and tried again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn seed() -> u64 {
    let given = std::env::var("MUSTER_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(20_261_123)
}

fn cmdline(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Kills one process of the replicas: a shim, or whatever else they run.
fn kill_a_process(place: &Place, dice: &mut Dice, shims: bool) -> Option<String> {
    let all: Vec<i32> = replica_processes(place.data())
        .into_iter()
        .filter(|pid| cmdline(*pid).contains(" shim ") == shims)
        .collect();
    let pid = *all.get(usize::try_from(dice.roll(all.len().max(1) as u64)).ok()?)?;
    let name = cmdline(pid);
    kill_process(Pid::from_raw(pid)?, Signal::KILL).ok()?;
    Some(format!("{pid} {name}"))
}

fn step(place: &Place) -> u32 {
    let text = std::fs::read_to_string(place.data().join("step")).unwrap_or_default();
    text.parse().unwrap_or(0)
}

#[test]
fn a_job_trains_to_its_end_whatever_is_killed() {
    let seed = seed();
    println!("MUSTER_CHAOS_SEED={seed}");
    let mut dice = Dice(seed);
    let mut place = Place::apart();
    let folder = place.data().to_string_lossy().into_owned();
    let script = ddp_script("steps.py");
    let steps = STEPS.to_string();
    let job = Job::new("chaos", 2, &["python", &script, &folder, &steps, "0.1"])
        .image("pytorch/pytorch:latest");
    let path = job.write(place.data());
    place.muster(&["apply", "-f", &path.to_string_lossy()]).ok();
    let mut diary = Vec::new();
    for _ in 0..KILLS {
        // A random moment: while it is placed, prepared, started, trains, stops or waits.
        let pause = Duration::from_millis(dice.roll(4000));
        let begun = Instant::now();
        until("the moment has come", || (begun.elapsed() >= pause).then_some(()));
        let killed = match dice.roll(4) {
            0 => {
                place.kill(Role::Coordinator);
                place.start(Role::Coordinator);
                Some("coordinator".to_owned())
            }
            1 => {
                place.kill(Role::Agent);
                place.start(Role::Agent);
                Some("agent".to_owned())
            }
            2 => kill_a_process(&place, &mut dice, true),
            _ => kill_a_process(&place, &mut dice, false),
        };
        diary.push(format!("{:?}: {killed:?} at step {}", begun.elapsed(), step(&place)));
    }
    place.wait_until_ready();
    let end = until_within(Duration::from_secs(240), "the job has ended", || {
        place
            .job("chaos")
            .filter(|job| matches!(job["phase"].as_str(), Some("Succeeded" | "Failed")))
    });
    let story = format!("seed {seed}\n{}\n{end:#}\n{}", diary.join("\n"), place.logs());
    assert_eq!(end["phase"], "Succeeded", "{story}");
    assert_eq!(step(&place), STEPS, "{story}");
    until("nothing is left", || replica_processes(place.data()).is_empty().then_some(()));
    let job = place.object("chaos");
    assert_eq!(job["status"]["replicaStatuses"]["Master"]["succeeded"], 1, "{story}");
    println!("{}", diary.join("\n"));
}
