//! A configuration that changed while the agent runs: what can be applied is, the rest is named as waiting for a restart.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use host::{
    config::{Change, ChangedKey, Listening},
    exit,
    tasks::Tasks,
};
use streams::stage::Class;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    gate::{Gate, Slot},
    intake::{self, Door, Sources},
    machine::{self, activity::Activity, seats::Seats, terms::Terms},
    runner::Runner,
    slots,
};

/// What becomes of a key that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applies {
    Log,
    Slots,
    Terms,
    AtRestart,
}

/// Starts the loops of slots, and more of them when there are to be more.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) tasks: Tasks,
    pub(crate) sources: BTreeMap<Class, Sources>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) gate: Gate,
    pub(crate) seats: Seats,
    pub(crate) patience: Duration,
    pub(crate) stop: CancellationToken,
    /// Loops that run, by class.
    pub(crate) loops: BTreeMap<Class, u32>,
}

impl Floor {
    /// Makes the loops of a class as many as its slots; `left` are jobs of an earlier run, which come first. Those that
    /// are too many ask for nothing any more.
    pub(crate) fn fill(
        &mut self,
        class: Class,
        slots: u32,
        mut left: impl FnMut() -> Option<crate::adoption::Waiting>,
    ) {
        let Some(sources) = self.sources.get(&class) else { return };
        let there = self.loops.get(&class).copied().unwrap_or(0);
        for slot in there.saturating_add(1)..=slots {
            let door = Door { slot: Slot { gate: self.gate.clone(), class, slot }, seats: self.seats.clone() };
            let (runner, stop) = (Arc::clone(&self.runner), self.stop.clone());
            let loop_of = intake::serve(sources.clone(), door, runner, left(), stop, self.patience);
            self.tasks.spawn(format!("{class} slot {slot}"), loop_of);
        }
        self.loops.insert(class, there.max(slots));
    }
}

/// Applies changes until told to stop.
pub(crate) async fn run(
    mut live: Listening<Config>,
    mut floor: Floor,
    terms: watch::Sender<BTreeMap<Activity, Terms>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let change = tokio::select! {
            change = live.next() => change,
            () = stop.cancelled() => return Ok(()),
        };
        match change {
            Ok(change) => apply(&change, &mut floor, &terms),
            Err(error) => {
                tracing::error!("the configuration is not taken, the one before holds: {}", exit::chain(&error));
            }
        }
    }
}

fn apply(change: &Change<Config>, floor: &mut Floor, terms: &watch::Sender<BTreeMap<Activity, Terms>>) {
    let Change { config, keys } = change;
    if keys.is_empty() {
        tracing::info!("the configuration is as it was");
    }
    for changed in keys {
        let ChangedKey { key, from, to } = changed;
        let done = match applies(key) {
            Applies::Log => set_log(config),
            Applies::Slots => set_slots(config, floor),
            Applies::Terms => set_terms(config, terms),
            Applies::AtRestart => Ok("needs a restart: it stays as it was at the start"),
        };
        match done {
            Ok(words) if applies(key) == Applies::AtRestart => tracing::warn!(key, %from, %to, "{words}"),
            Ok(words) => tracing::info!(key, %from, %to, "{words}"),
            Err(error) => tracing::error!(key, %from, %to, "not taken: {error}"),
        }
    }
}

fn applies(key: &str) -> Applies {
    match key.split('.').collect::<Vec<_>>().as_slice() {
        ["log"] => Applies::Log,
        ["classes", _, "slots"] => Applies::Slots,
        ["classes", _, "time_limit"]
        | ["stages", _, "time_limit" | "silence_limit" | "memory_max_bytes"]
        | ["stages", _, "env", ..] => Applies::Terms,
        _ => Applies::AtRestart,
    }
}

fn set_log(config: &Config) -> Result<&'static str, String> {
    let filter = config.log.as_deref().unwrap_or(prover::LOG_FILTER);
    match host::telemetry::set_filter(filter) {
        Ok(true) => Ok("the log has another filter"),
        Ok(false) => Ok("RUST_LOG is set, and wins"),
        Err(error) => Err(exit::chain(&error)),
    }
}

/// Of the classes that are served since the start: another class needs its stores, and a restart.
fn set_slots(config: &Config, floor: &mut Floor) -> Result<&'static str, String> {
    let served: Vec<Class> = floor.sources.keys().copied().collect();
    let means = machine::means(config, &machine::discover());
    let sectors = config.machine.sector_size.map(|size| size.0);
    let wanted = slots::slots(&served, &config.configured_slots(), means, sectors, config.allow_cpu)
        .map_err(|error| error.to_string())?;
    for (class, slots) in wanted {
        if floor.gate.slots().get(&class) != Some(&slots) {
            floor.gate.set_slots(class, slots);
            floor.fill(class, slots, || None);
        }
    }
    Ok("the class has other slots; what runs goes on")
}

fn set_terms(config: &Config, terms: &watch::Sender<BTreeMap<Activity, Terms>>) -> Result<&'static str, String> {
    let wanted = Terms::by_activity(config, &machine::discover()).map_err(|error| error.to_string())?;
    terms.send_replace(wanted);
    Ok("holds for provers that start from now on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_while_it_runs() {
        for (key, applied) in [
            ("log", Applies::Log),
            ("classes.pc1-cpu.slots", Applies::Slots),
            ("classes.pc1-cpu.time_limit", Applies::Terms),
            ("stages.pc2.silence_limit", Applies::Terms),
            ("stages.pc2.env.RUST_LOG", Applies::Terms),
            ("stages.pc2.at_once", Applies::AtRestart),
            ("place", Applies::AtRestart),
            ("nats.url", Applies::AtRestart),
            ("classes.pc1-cpu.colour", Applies::AtRestart),
        ] {
            assert_eq!(applies(key), applied, "{key}");
        }
    }
}
