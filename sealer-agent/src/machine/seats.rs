//! Seats: a job's entry in the machine's [book](super::book), for as long as the job lasts.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use streams::{proof::SealProof, stage::Class};
use tokio::{sync::watch, time::Instant};

use super::{
    activity::Activity,
    book::{Book, Elsewhere, HoldId, Means, Need, Rule},
    config::StageSection,
    discover::Host,
    eta::Durations,
    needs,
    neighbours::{Held, Neighbours},
    shortage::Shortage,
};
use crate::{
    config::Config,
    halt::{Halt, ROOM_DELAY},
};

/// Cores that one PC1 keeps busy, if there are so many.
const PC1_CORES_MAX: u32 = 4;
/// How often it is looked whether another agent of the host gave something back.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A look that is no older is not repeated.
const LOOK_LASTS: Duration = Duration::from_millis(50);

/// What there is for jobs: what was found, unless the configuration says otherwise. `cores` are those that this process
/// may use.
pub(crate) fn means(config: &Config, host: &Host, cores: usize) -> Means {
    let section = &config.machine;
    // What a container hides is not what limits it.
    let memory = if host.memory_bytes == 0 { u64::MAX } else { host.memory_bytes };
    Means {
        cores: section.cores.unwrap_or_else(|| u32::try_from(cores).unwrap_or(u32::MAX)),
        memory_bytes: section.memory_bytes.unwrap_or(memory),
        gpus: section.gpus.unwrap_or_else(|| u32::try_from(host.gpus.len()).unwrap_or(u32::MAX)),
    }
}

/// The seats of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    book: Mutex<Book>,
    /// What CUDA calls the GPUs; by their numbers, as far as none was found and the configuration says that they are there.
    gpus: Vec<String>,
    neighbours: Option<Neighbours>,
    looked: Mutex<Option<Instant>>,
    /// How often the book has changed.
    turns: watch::Sender<u64>,
    sections: BTreeMap<Activity, StageSection>,
    served: Vec<Activity>,
    pc1_cores: u32,
    has_gpu: bool,
    sector_size: Option<SealProof>,
    /// The size of the sectors that came last.
    seen: Mutex<BTreeMap<Activity, SealProof>>,
    began: Instant,
    durations: Mutex<Durations>,
}

impl Seats {
    /// Those of an agent that serves these slots, beside others of its host.
    pub(crate) fn beside(
        neighbours: Neighbours,
        config: &Config,
        means: Means,
        host: &Host,
        slots: &BTreeMap<Class, u32>,
    ) -> Self {
        let seats = Self::over(Desk {
            neighbours: Some(neighbours),
            gpus: host.gpus.iter().map(|gpu| gpu.id.clone()).collect(),
            ..Self::desk(config, means, slots)
        });
        seats.write();
        seats
    }

    /// Those of an agent that is alone.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn new(config: &Config, means: Means, slots: &BTreeMap<Class, u32>) -> Self {
        Self::over(Self::desk(config, means, slots))
    }

    fn desk(config: &Config, means: Means, slots: &BTreeMap<Class, u32>) -> Desk {
        let rule = |section: &StageSection| Rule {
            at_once: section.at_once,
            stagger_ms: millis(section.stagger.unwrap_or_default()),
            locks: section.locks.clone(),
        };
        let rules = config.stages.iter().map(|(activity, section)| (*activity, rule(section))).collect();
        let has_gpu = means.gpus > 0;
        let slots_of = |class| slots.get(&class).copied().unwrap_or(0);
        // One core beside each GPU job; the rest is divided, so that slots that were asked for are never short of cores.
        let beside = if has_gpu { slots_of(Class::Pc2Gpu) + slots_of(Class::C2Gpu) } else { 0 };
        let pc1_cores = means.cores.saturating_sub(beside) / slots_of(Class::Pc1Cpu).max(1);
        Desk {
            book: Mutex::new(Book::new(means, rules, config.machine.locks.clone())),
            gpus: Vec::new(),
            neighbours: None,
            looked: Mutex::default(),
            turns: watch::Sender::default(),
            sections: config.stages.clone(),
            served: Activity::all().filter(|activity| slots.contains_key(&activity.class())).collect(),
            pc1_cores: pc1_cores.min(PC1_CORES_MAX),
            has_gpu,
            sector_size: config.machine.sector_size.map(|size| size.0),
            seen: Mutex::default(),
            began: Instant::now(),
            durations: Mutex::default(),
        }
    }

    /// Seats that never run out.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn unlimited() -> Self {
        let means = Means { cores: u32::MAX, memory_bytes: u64::MAX, gpus: 0 };
        Self::new(&Config::default(), means, &BTreeMap::new())
    }

    fn over(desk: Desk) -> Self {
        Self { desk: Arc::new(desk) }
    }

    /// Whether to ask the queue for work of such kinds: what there is would do for one of them.
    pub(crate) fn may_ask(&self, activities: &[Activity]) -> bool {
        activities.iter().any(|activity| self.asks(*activity).is_ok())
    }

    /// How long until a wait of one of these ends by itself.
    pub(crate) fn opens_in(&self, activities: &[Activity]) -> Option<Duration> {
        let now = self.now_ms();
        let opens = |activity: &Activity| {
            let shortage = self.asks(*activity).err()?;
            match shortage.until_ms() {
                Some(until) => Some(Duration::from_millis(until.saturating_sub(now).max(1))),
                None => self.book().waits_for_others(&shortage).then_some(LOOK_EVERY),
            }
        };
        activities.iter().filter_map(opens).min()
    }

    fn asks(&self, activity: Activity) -> Result<(), Shortage> {
        let is_fresh = lock(&self.desk.looked).is_some_and(|looked| looked.elapsed() < LOOK_LASTS);
        if !is_fresh {
            self.look();
        }
        self.book().may_ask(activity, self.expected(activity), &self.served(), self.now_ms())
    }

    fn served(&self) -> BTreeMap<Activity, Need> {
        self.desk.served.iter().map(|other| (*other, self.expected(*other))).collect()
    }

    /// Takes a seat for work that has come.
    pub(crate) fn take(&self, activity: Activity) -> Result<Seat, Shortage> {
        let id = self.in_turn(|book| book.take(activity, self.expected(activity), self.now_ms()))?;
        Ok(self.seat(activity, id))
    }

    /// Changes the book, while no other agent of the host changes its own.
    fn in_turn<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let turn = self.desk.neighbours.as_ref().map(Neighbours::turn).transpose();
        // Without a turn two agents may take the same GPU, which is bad; never to work again is worse.
        let _turn = turn.map_err(|error| tracing::warn!("wait for the other agents of this host: {error}"));
        self.look();
        let changed = change(&mut self.book());
        self.write();
        changed
    }

    /// Reads what the other agents of the host hold.
    fn look(&self) {
        let Some(neighbours) = &self.desk.neighbours else { return };
        *lock(&self.desk.looked) = Some(Instant::now());
        let others = match neighbours.others() {
            Ok(others) => others,
            Err(error) => return tracing::warn!("look at the other agents of this host: {error}"),
        };
        let Held { memory_bytes, gpus, locks } = others.held;
        let gpus = gpus.iter().filter_map(|name| self.number_of(name)).collect();
        let elsewhere = Elsewhere { memory_bytes, gpus, locks, served: others.serve };
        self.book().look_elsewhere(elsewhere, self.now_ms());
    }

    /// Writes down what is held here.
    fn write(&self) {
        let Some(neighbours) = &self.desk.neighbours else { return };
        let (memory_bytes, gpus, locks) = self.book().held();
        let held = Held { memory_bytes, gpus: gpus.into_iter().map(|gpu| self.name_of(gpu)).collect(), locks };
        let wants = self.served().into_iter().map(|(other, need)| (other, self.book().wants(other, need)));
        let serves = wants.filter(|(_, wants)| wants.gpu || !wants.locks.is_empty()).collect();
        if let Err(error) = neighbours.write(held, serves) {
            tracing::warn!("tell the other agents of this host what is in use: {error}");
        }
    }

    /// What CUDA calls a GPU.
    fn name_of(&self, gpu: u32) -> String {
        let given = usize::try_from(gpu).ok().and_then(|gpu| self.desk.gpus.get(gpu));
        given.cloned().unwrap_or_else(|| gpu.to_string())
    }

    /// Ours of this name, if we have it.
    fn number_of(&self, name: &str) -> Option<u32> {
        let found = self.desk.gpus.iter().position(|gpu| gpu == name).and_then(|number| u32::try_from(number).ok());
        let said = || name.parse().ok().filter(|number| self.name_of(*number) == name);
        found.or_else(said)
    }

    /// Takes one for a job that runs already.
    pub(crate) fn take_anyway(&self, activity: Activity) -> Seat {
        let id = self.in_turn(|book| book.take_anyway(activity, self.expected(activity)));
        self.seat(activity, id)
    }

    fn seat(&self, activity: Activity, id: HoldId) -> Seat {
        self.turned();
        let (gpu, number) = {
            let book = self.book();
            (book.gpu(id), book.number(id))
        };
        Seat { seats: self.clone(), activity, id, gpu, number, proof: OnceLock::new() }
    }

    /// Answers each time a seat was taken or given back.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.desk.turns.subscribe()
    }

    fn turned(&self) {
        self.desk.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    /// What a job takes, as far as can be told before its sector is known.
    fn expected(&self, activity: Activity) -> Need {
        let seen = lock(&self.desk.seen).get(&activity).copied();
        let smallest = SealProof::Drg2KiBV1_1;
        self.need(activity, self.desk.sector_size.or(seen).unwrap_or(smallest))
    }

    fn need(&self, activity: Activity, proof: SealProof) -> Need {
        let desk = &self.desk;
        let table = needs::need(activity, proof, desk.pc1_cores, desk.has_gpu);
        let Some(section) = desk.sections.get(&activity) else { return table };
        Need {
            cores: section.cores.unwrap_or(table.cores),
            memory_bytes: section.memory_bytes.unwrap_or(table.memory_bytes),
            gpu: table.gpu,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.desk.book)
    }

    fn now_ms(&self) -> u64 {
        millis(self.desk.began.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A job's seat, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    activity: Activity,
    id: HoldId,
    gpu: Option<u32>,
    number: usize,
    proof: OnceLock<SealProof>,
}

impl Seat {
    /// How long its job will still take, if anything tells.
    pub(crate) fn left_ms(&self, elapsed_ms: u64, permille: Option<u16>) -> Option<u64> {
        let proof = self.proof.get()?;
        lock(&self.seats.desk.durations).left_ms(self.activity, *proof, elapsed_ms, permille)
    }

    /// Its job is done, and took so long.
    pub(crate) fn took(&self, ms: u64) {
        if let Some(proof) = self.proof.get() {
            lock(&self.seats.desk.durations).add(self.activity, *proof, ms);
        }
    }

    /// Its number among those of its kind, from 0.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    /// The sector is known: takes what its size takes, or says what there is too little of.
    pub(crate) fn settle(&self, proof: SealProof) -> Result<(), Halt> {
        let Self { seats, activity, id, .. } = self;
        lock(&seats.desk.seen).insert(*activity, proof);
        self.proof.get_or_init(|| proof);
        let adjusted = seats.in_turn(|book| book.adjust(*id, seats.need(*activity, proof), seats.now_ms()));
        adjusted.map_err(|shortage| {
            Halt::back(ROOM_DELAY, format!("{activity} of a {} sector {shortage}", proof.size_name()))
        })
    }

    /// Variables that tell a prover which GPU is its own.
    pub(crate) fn env(&self) -> Vec<(OsString, OsString)> {
        let Some(gpu) = self.gpu.map(|gpu| self.seats.name_of(gpu)) else { return Vec::new() };
        vec![("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into()), ("CUDA_VISIBLE_DEVICES".into(), gpu.into())]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.book().give(self.id, self.seats.now_ms());
        self.seats.write();
        self.seats.turned();
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
