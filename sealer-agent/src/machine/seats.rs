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
    book::{Book, HoldId, Means, Need, Rule, Shortage},
    config::StageSection,
    discover::{Gpu, Host},
    eta::Durations,
    needs,
};
use crate::{
    config::Config,
    halt::{Halt, ROOM_DELAY},
};

/// The variable that names a prover's GPU.
pub(crate) const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";
/// Cores that one PC1 keeps busy, if there are so many.
const PC1_CORES_MAX: u32 = 4;

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
    /// What CUDA calls the GPUs that were found. Those that only the configuration knows of go by their numbers.
    gpus: Vec<String>,
    gpus_max: u32,
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
    /// Those of an agent that serves these slots.
    pub(crate) fn new(config: &Config, means: Means, gpus: &[Gpu], slots: &BTreeMap<Class, u32>) -> Self {
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
        Self::over(Desk {
            book: Mutex::new(Book::new(means, rules, config.machine.locks.clone())),
            gpus: gpus.iter().map(|gpu| gpu.id.clone()).collect(),
            gpus_max: means.gpus,
            turns: watch::Sender::default(),
            sections: config.stages.clone(),
            served: Activity::all().filter(|activity| slots.contains_key(&activity.class())).collect(),
            pc1_cores: pc1_cores.min(PC1_CORES_MAX),
            has_gpu,
            sector_size: config.machine.sector_size.map(|size| size.0),
            seen: Mutex::default(),
            began: Instant::now(),
            durations: Mutex::default(),
        })
    }

    /// Seats that never run out.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn unlimited() -> Self {
        let means = Means { cores: u32::MAX, memory_bytes: u64::MAX, gpus: 0 };
        Self::new(&Config::default(), means, &[], &BTreeMap::new())
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
        let untils = activities.iter().filter_map(|activity| self.asks(*activity).err()?.until_ms());
        untils.min().map(|until| Duration::from_millis(until.saturating_sub(now).max(1)))
    }

    fn asks(&self, activity: Activity) -> Result<(), Shortage> {
        let served = self.desk.served.iter().map(|other| (*other, self.expected(*other))).collect();
        self.book().may_ask(activity, self.expected(activity), &served, self.now_ms())
    }

    /// Takes a seat for work that has come.
    pub(crate) fn take(&self, activity: Activity) -> Result<Seat, Shortage> {
        let id = self.book().take(activity, self.expected(activity), self.now_ms())?;
        Ok(self.seat(activity, id))
    }

    /// Takes one for a job that runs already, on the GPU of this name.
    pub(crate) fn take_anyway(&self, activity: Activity, gpu: Option<&str>) -> Seat {
        let number = gpu.and_then(|gpu| self.number_of(gpu));
        let id = self.book().take_anyway(activity, self.expected(activity), number);
        self.seat(activity, id)
    }

    /// What CUDA calls a GPU.
    fn name_of(&self, gpu: u32) -> String {
        let found = usize::try_from(gpu).ok().and_then(|gpu| self.desk.gpus.get(gpu));
        found.cloned().unwrap_or_else(|| gpu.to_string())
    }

    fn number_of(&self, name: &str) -> Option<u32> {
        (0..self.desk.gpus_max).find(|gpu| self.name_of(*gpu) == name)
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
        let adjusted = seats.book().adjust(*id, seats.need(*activity, proof), seats.now_ms());
        adjusted.map_err(|shortage| {
            Halt::back(ROOM_DELAY, format!("{activity} of a {} sector {shortage}", proof.size_name()))
        })
    }

    /// Variables that tell a prover which GPU is its own.
    pub(crate) fn env(&self) -> Vec<(OsString, OsString)> {
        let Some(gpu) = self.gpu.map(|gpu| self.seats.name_of(gpu)) else { return Vec::new() };
        vec![("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into()), (VISIBLE_GPUS.into(), gpu.into())]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.book().give(self.id, self.seats.now_ms());
        self.seats.turned();
    }
}

#[cfg(test)]
mod tests {
    use streams::stage::Stage;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn seats(text: &str, slots: &[(Class, u32)]) -> Seats {
        let config: Config = toml::from_str(text).unwrap();
        let host = super::super::discover::host(std::path::Path::new("/nowhere"));
        Seats::new(&config, means(&config, &host, 64), &host.gpus, &slots.iter().copied().collect())
    }

    #[tokio::test]
    async fn pc2_and_c2_share_one_gpu_and_their_provers_are_told_which() {
        let seats = seats("machine.gpus = 1", &[(Class::Pc2Gpu, 1), (Class::C2Gpu, 1)]);
        let pc2 = seats.take(Activity::Stage(Stage::Pc2)).unwrap();
        assert!(pc2.env().contains(&("CUDA_VISIBLE_DEVICES".into(), "0".into())));
        assert!(!seats.may_ask(&[Activity::Stage(Stage::C2)]));
        let mut turns = seats.turns();
        turns.mark_unchanged();
        drop(pc2);
        assert!(turns.has_changed().unwrap());
        let waits = seats.opens_in(&[Activity::Stage(Stage::Pc2)]).expect("C2 has a head start");
        assert!(waits < Duration::from_secs(1));
        assert!(seats.may_ask(&[Activity::Stage(Stage::C2)]));
        assert!(seats.take(Activity::Stage(Stage::C2)).unwrap().env().len() == 2);
    }

    #[tokio::test]
    async fn provers_get_the_gpus_that_their_agent_was_given() {
        let mut host = super::super::discover::host(std::path::Path::new("/nowhere"));
        host.gpus = ["0", "1", "2"].map(|id| Gpu { id: id.to_owned(), ..Gpu::default() }).to_vec();
        host.limit_gpus("2,1");
        let config = Config::default();
        let seats = Seats::new(&config, means(&config, &host, 64), &host.gpus, &BTreeMap::from([(Class::C2Gpu, 2)]));
        let held = [(); 2].map(|()| seats.take(Activity::Stage(Stage::C2)).unwrap());
        let told: Vec<_> = held.iter().map(|seat| seat.env().pop().unwrap().1).collect();
        assert_eq!(told, ["2", "1"]);
        drop(held);
        let _adopted = seats.take_anyway(Activity::Stage(Stage::C2), Some("2"));
        assert_eq!(seats.take(Activity::Stage(Stage::C2)).unwrap().env().pop().unwrap().1, "1");
    }

    #[tokio::test]
    async fn memory_is_settled_when_the_sector_is_known() {
        let seats = seats(&format!("machine.memory_bytes = {}", 128 * GIB), &[(Class::Pc1Cpu, 4)]);
        let proof = SealProof::Drg32GiBV1_1;
        let held: Vec<Seat> = (0..2).map(|_| seats.take(Activity::Stage(Stage::Pc1)).unwrap()).collect();
        held.iter().for_each(|seat| seat.settle(proof).unwrap());
        assert!(!seats.may_ask(&[Activity::Stage(Stage::Pc1)]), "the next one is expected to be as large");
        assert!(seats.may_ask(&[Activity::Stage(Stage::Pc1), Activity::Stage(Stage::Place)]));
        drop(held);
        let one = seats.take(Activity::Stage(Stage::Pc1)).unwrap();
        one.settle(SealProof::Drg64GiBV1_1).unwrap();
        one.settle(proof).unwrap();
        let two = seats.take(Activity::Stage(Stage::Pc1)).unwrap();
        let Err(Halt::Back { reason, .. }) = two.settle(SealProof::Drg64GiBV1_1) else { panic!("both fit") };
        assert_eq!(reason, "pc1 of a 64GiB sector needs 113 GiB of memory, 71 of 128 GiB are free");
    }

    #[tokio::test]
    async fn slots_that_were_asked_for_are_never_short_of_cores() {
        for slots in [1, 16, 40, 64, 100] {
            let seats = seats("machine.gpus = 1", &[(Class::Pc1Cpu, slots), (Class::Pc2Gpu, 1), (Class::C2Gpu, 1)]);
            let held: Vec<Seat> = (0..slots).map(|_| seats.take(Activity::Stage(Stage::Pc1)).unwrap()).collect();
            assert!(seats.take(Activity::Stage(Stage::Pc2)).is_ok(), "{slots} PC1 leave no core: {:?}", held.len());
        }
    }

    #[tokio::test]
    async fn a_stages_section_overrides_the_table() {
        let text = "stages.pc1 = { memory_bytes = 1, cores = 0, at_once = 2 }\nmachine.sector_size = \"32GiB\"";
        let seats = seats(text, &[(Class::Pc1Cpu, 4)]);
        let held = [seats.take(Activity::Stage(Stage::Pc1)).unwrap(), seats.take(Activity::Stage(Stage::Pc1)).unwrap()];
        held.iter().for_each(|seat| seat.settle(SealProof::Drg64GiBV1_1).unwrap());
        assert_eq!(seats.take(Activity::Stage(Stage::Pc1)).unwrap_err(), Shortage::AtOnce { max: 2 });
    }

    #[test]
    fn a_sector_size_is_one_that_there_is() {
        let error = toml::from_str::<Config>("machine.sector_size = \"32GB\"").unwrap_err().to_string();
        assert!(error.contains("the sizes are 2KiB, 8MiB, 512MiB, 32GiB, 64GiB"), "{error}");
    }
}
