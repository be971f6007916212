//! One run of a seed: the storm, then calm, then everything must come to its end.

use crate::plan::Plan;
use crate::time::{SimTime, Span};
use crate::violation::Violation;
use crate::world::{Counts, World};

/// Once the storm is over everything is done within this.
const PATIENCE: Span = Span::seconds(20 * 60);
const LOOK: Span = Span::seconds(1);

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) trace: u64,
    pub(crate) events: u64,
    pub(crate) entries: u64,
    pub(crate) terms: u64,
    pub(crate) installs: u64,
    /// When the run ended.
    pub(crate) ended: SimTime,
    pub(crate) counts: Counts,
}

/// How a run is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watch {
    /// Print every event.
    pub(crate) aloud: bool,
    /// Break off then.
    pub(crate) until: Option<SimTime>,
}

/// Runs a plan to its end.
///
/// # Errors
/// What was not kept, how to see it again, and the last events.
pub(crate) fn run(plan: Plan, watch: Watch) -> Result<Report, String> {
    let seed = plan.seed;
    let mut world = World::new(plan, watch.aloud);
    weather_the_storm(&mut world, watch.until).map_err(|violation| {
        let (now, tail) = (world.now, world.trace.tail());
        let millis = now.as_millis() + 1;
        format!(
            "seed {seed}: {violation}\n  at {now}, under {:#?}\n  the last events:\n{tail}  seed {seed}: {violation}\n  \
             again: cargo xtask sim --seed {seed} --until {millis}",
            world.plan
        )
    })?;
    Ok(Report {
        trace: world.trace.hash(),
        events: world.trace.events(),
        entries: world.history.state.applied().0,
        terms: world.history.leaders.len() as u64,
        installs: world.history.installs,
        ended: world.now,
        counts: Counts { jobs_succeeded: world.succeeded(), ..world.counts },
    })
}

fn weather_the_storm(world: &mut World, until: Option<SimTime>) -> Result<(), Violation> {
    let storm = SimTime::default() + world.plan.storm;
    world.run_until(until.map_or(storm, |until| until.min(storm)))?;
    if until.is_some_and(|until| until <= storm) {
        return Ok(());
    }
    world.calm();
    let end = storm + PATIENCE;
    loop {
        let next = world.now + LOOK;
        world.run_until(next)?;
        match world.unsettled() {
            None => return Ok(()),
            Some(_) if until.is_some_and(|until| until <= next) => return Ok(()),
            Some(why) if next > end => {
                return Err(Violation::safety(
                    "once the storm is over everything comes to its end",
                    why,
                ));
            }
            Some(_) => {}
        }
    }
}
