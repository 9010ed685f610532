use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn means() -> Means {
    Means { cores: 16, memory_bytes: 256 * GIB, gpus: 2 }
}

fn plain(means: Means) -> Book {
    Book::new(means, BTreeMap::new(), BTreeMap::new())
}

const fn gpu(memory_gib: u64) -> Need {
    Need { cores: 1, memory_bytes: memory_gib * GIB, gpu: true }
}

const fn cpu(cores: u32, memory_gib: u64) -> Need {
    Need { cores, memory_bytes: memory_gib * GIB, gpu: false }
}

#[test]
fn each_job_has_a_gpu_of_its_own_and_gives_it_back() {
    let mut book = plain(means());
    let first = book.take(Activity::Stage(Stage::Pc2), gpu(1), 0).unwrap();
    let second = book.take(Activity::Stage(Stage::C2), gpu(1), 0).unwrap();
    assert_eq!((book.gpu(first), book.gpu(second)), (Some(0), Some(1)));
    assert_eq!(book.take(Activity::WindowPost, gpu(1), 0), Err(Shortage::Gpu { total: 2 }));
    book.give(first, 1);
    let third = book.take(Activity::WindowPost, gpu(1), 1).unwrap();
    assert_eq!(book.gpu(third), Some(0));
    let labels = [(); 3].map(|()| book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 1).unwrap());
    assert_eq!(labels.map(|id| book.number(id)), [0, 1, 2]);
    book.give(labels[1], 2);
    let next = book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 2).unwrap();
    assert_eq!(book.number(next), 1, "the smallest that is free");
}

#[test]
fn a_job_that_runs_already_keeps_its_gpu() {
    let mut book = plain(means());
    let adopted = book.take_anyway(Activity::Stage(Stage::Pc2), gpu(1), Some(1));
    let next = book.take(Activity::Stage(Stage::C2), gpu(1), 0).unwrap();
    assert_eq!((book.gpu(adopted), book.gpu(next)), (Some(1), Some(0)));
}

#[test]
fn every_shortage_says_what_there_is_too_little_of() {
    let mut book = plain(means());
    let memory = book.take(Activity::Stage(Stage::C2), cpu(1, 300), 0).unwrap_err();
    assert_eq!(memory.to_string(), "needs 300 GiB of memory, 256 of 256 GiB are free");
    book.take(Activity::Stage(Stage::Pc1), cpu(14, 56), 0).unwrap();
    let cores = book.take(Activity::Stage(Stage::Pc1), cpu(4, 56), 0).unwrap_err();
    assert_eq!(cores.to_string(), "needs 4 cores, 2 of 16 are free");
    assert!(cores.until_ms().is_none());
}

#[test]
fn a_lock_is_shared_by_the_stages_that_name_it() {
    let locked = || Rule { locks: BTreeSet::from(["gpu".to_owned()]), ..Rule::default() };
    let rules = BTreeMap::from([(Activity::Stage(Stage::Pc2), locked()), (Activity::Stage(Stage::C2), locked())]);
    let mut book = Book::new(means(), rules.clone(), BTreeMap::new());
    let pc2 = book.take(Activity::Stage(Stage::Pc2), cpu(0, 1), 0).unwrap();
    assert_eq!(book.take(Activity::Stage(Stage::C2), cpu(0, 1), 0), Err(Shortage::Lock { name: "gpu".to_owned() }));
    book.take(Activity::Stage(Stage::Pc1), cpu(0, 1), 0).unwrap();
    book.give(pc2, 5);
    book.take(Activity::Stage(Stage::C2), cpu(0, 1), 5).unwrap();
    let mut wide = Book::new(means(), rules, BTreeMap::from([("gpu".to_owned(), 2)]));
    wide.take(Activity::Stage(Stage::Pc2), cpu(0, 1), 0).unwrap();
    wide.take(Activity::Stage(Stage::C2), cpu(0, 1), 0).unwrap();
    assert!(wide.take(Activity::Stage(Stage::C2), cpu(0, 1), 0).is_err());
}

#[test]
fn starts_keep_their_distance_and_their_number() {
    let rule = Rule { at_once: Some(2), stagger_ms: 100, locks: BTreeSet::new() };
    let mut book = Book::new(means(), BTreeMap::from([(Activity::Stage(Stage::Pc1), rule)]), BTreeMap::new());
    book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 0).unwrap();
    let early = book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 99).unwrap_err();
    assert_eq!(early.until_ms(), Some(100));
    book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 100).unwrap();
    assert_eq!(book.take(Activity::Stage(Stage::Pc1), cpu(1, 1), 500), Err(Shortage::AtOnce { max: 2 }));
}

#[test]
fn the_more_urgent_is_asked_for_first_once_a_gpu_is_free() {
    let mut book = plain(Means { gpus: 1, ..means() });
    let served = BTreeMap::from([
        (Activity::Stage(Stage::Pc2), gpu(1)),
        (Activity::Stage(Stage::C2), gpu(1)),
        (Activity::WindowPost, gpu(1)),
        (Activity::Stage(Stage::Pc1), cpu(1, 1)),
    ]);
    for activity in served.keys() {
        assert_eq!(book.may_ask(*activity, served[activity], &served, 0), Ok(()), "nothing was given back yet");
    }
    let pc2 = book.take(Activity::Stage(Stage::Pc2), gpu(1), 0).unwrap();
    assert!(book.may_ask(Activity::Stage(Stage::C2), gpu(1), &served, 1).is_err());
    book.give(pc2, 1000);
    let asks_from = |activity: Activity| {
        (1000..2000).find(|now| book.may_ask(activity, served[&activity], &served, *now).is_ok()).unwrap()
    };
    assert_eq!(asks_from(Activity::WindowPost), 1000);
    assert_eq!(asks_from(Activity::Stage(Stage::C2)), 1000 + HEAD_START_MS);
    assert_eq!(asks_from(Activity::Stage(Stage::Pc2)), 1000 + 2 * HEAD_START_MS);
    assert_eq!(asks_from(Activity::Stage(Stage::Pc1)), 1000, "it shares nothing");
}

#[test]
fn what_did_not_fit_is_waited_for() {
    let mut book = plain(means());
    let labels = book.take(Activity::Stage(Stage::Pc1), cpu(1, 200), 0).unwrap();
    let c2 = book.take(Activity::Stage(Stage::C2), gpu(1), 0).unwrap();
    assert!(matches!(book.adjust(c2, gpu(64), 0), Err(Shortage::Memory { .. })));
    book.give(c2, 0);
    // 56 GiB are free, and what is less urgent may not have them.
    let yields = book.take(Activity::Stage(Stage::TreeD), cpu(1, 8), 1).unwrap_err();
    assert_eq!(yields.to_string(), "c2 comes first");
    book.take(Activity::Stage(Stage::TreeD), cpu(1, 0), 1).expect("it takes nothing that C2 waits for");
    book.take(Activity::WindowPost, gpu(8), 1).expect("it is more urgent");
    book.give(labels, 2);
    book.take(Activity::Stage(Stage::TreeD), cpu(1, 8), 2).expect("both fit now");
    let c2 = book.take(Activity::Stage(Stage::C2), gpu(1), 2).unwrap();
    book.adjust(c2, gpu(64), 2).unwrap();
}

#[test]
fn what_can_never_fit_is_not_waited_for() {
    let mut book = plain(means());
    let c2 = book.take(Activity::Stage(Stage::C2), gpu(1), 0).unwrap();
    book.adjust(c2, gpu(400), 0).unwrap_err();
    book.give(c2, 0);
    book.take(Activity::Stage(Stage::TreeD), cpu(1, 250), 1).unwrap();
}

#[test]
fn what_runs_already_is_entered_whether_it_fits_or_not() {
    let mut book = plain(Means { gpus: 1, ..means() });
    let first = book.take_anyway(Activity::Stage(Stage::C2), gpu(200), None);
    let second = book.take_anyway(Activity::Stage(Stage::C2), gpu(200), None);
    assert_eq!((book.gpu(first), book.gpu(second)), (Some(0), None));
    assert_eq!(book.free().memory_bytes, 0);
    book.take(Activity::Stage(Stage::Place), Need::default(), 0).expect("it takes nothing");
    assert!(book.take(Activity::Stage(Stage::TreeD), cpu(0, 1), 0).is_err());
}

#[derive(Debug, Clone)]
enum Op {
    Take(Activity, Need),
    Adjust(usize, Need),
    Give(usize),
    Wait(u64),
}

fn need() -> impl Strategy<Value = Need> {
    (0..20u32, 0..300u64, any::<bool>()).prop_map(|(cores, memory, gpu)| Need {
        cores,
        memory_bytes: memory * GIB,
        gpu,
    })
}

fn activity() -> impl Strategy<Value = Activity> {
    prop::sample::select(Activity::all().collect::<Vec<_>>())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (activity(), need()).prop_map(|(activity, need)| Op::Take(activity, need)),
        2 => (0..64usize, need()).prop_map(|(which, need)| Op::Adjust(which, need)),
        3 => (0..64usize).prop_map(Op::Give),
        1 => (0..200u64).prop_map(Op::Wait),
    ]
}

fn rules() -> BTreeMap<Activity, Rule> {
    let shared = BTreeSet::from(["shared".to_owned()]);
    BTreeMap::from([
        (Activity::Stage(Stage::Pc1), Rule { at_once: Some(3), stagger_ms: 50, locks: BTreeSet::new() }),
        (Activity::Stage(Stage::Pc2), Rule { at_once: None, stagger_ms: 0, locks: shared.clone() }),
        (Activity::Stage(Stage::C2), Rule { at_once: None, stagger_ms: 0, locks: shared }),
    ])
}

fn holds_what_there_is(book: &Book) {
    let sum = |of: fn(&Hold) -> u64| book.held.values().map(of).sum::<u64>();
    assert!(sum(|hold| hold.need.cores.into()) <= book.means.cores.into(), "cores: {book:?}");
    assert!(sum(|hold| hold.need.memory_bytes) <= book.means.memory_bytes, "memory: {book:?}");
    assert!(sum(|hold| hold.need.gpu.into()) <= book.means.gpus.into(), "GPUs: {book:?}");
    assert!(
        book.count(|hold| matches!(hold.activity, Activity::Stage(Stage::Pc2) | Activity::Stage(Stage::C2))) <= 1,
        "lock: {book:?}"
    );
    assert!(book.count(|hold| hold.activity == Activity::Stage(Stage::Pc1)) <= 3, "at once: {book:?}");
    let gpus: Vec<u32> = book.held.values().filter_map(|hold| hold.gpu).collect();
    assert_eq!(gpus.iter().collect::<BTreeSet<_>>().len(), gpus.len(), "one GPU twice: {book:?}");
}

proptest! {
    #[test]
    fn nothing_is_promised_twice(ops in prop::collection::vec(op(), 1..200)) {
        let mut book = Book::new(means(), rules(), BTreeMap::new());
        let (mut now, mut held, mut last_pc1) = (1000, Vec::new(), None);
        for op in ops {
            match op {
                Op::Take(activity, need) => if let Ok(id) = book.take(activity, need, now) {
                    if activity == Activity::Stage(Stage::Pc1) {
                        prop_assert!(last_pc1.replace(now).is_none_or(|last| now >= last + 50));
                    }
                    held.push(id);
                },
                Op::Adjust(which, need) => if let Some(id) = held.get(which % held.len().max(1)) {
                    // A GPU is settled when a job starts.
                    let gpu = book.held[id].need.gpu;
                    drop(book.adjust(*id, Need { gpu, ..need }, now));
                },
                Op::Give(which) => if !held.is_empty() {
                    book.give(held.swap_remove(which % held.len()), now);
                },
                Op::Wait(ms) => now += ms,
            }
            holds_what_there_is(&book);
        }
        for id in held {
            book.give(id, now);
        }
        prop_assert_eq!(book.free(), book.means);
    }

    /// Whatever less urgent work tries meanwhile: once what ran at that moment has ended, the one that waits fits.
    #[test]
    fn the_more_urgent_does_not_starve(
        before in prop::collection::vec((activity(), need()), 0..20),
        tries in prop::collection::vec((activity(), need()), 0..60),
        wanted in (0..17u32, 0..257u64),
    ) {
        let mut book = plain(means());
        let ran: Vec<HoldId> = before.into_iter().filter_map(|(a, need)| book.take(a, need, 0).ok()).collect();
        let wanted = Need { cores: wanted.0, memory_bytes: wanted.1 * GIB, gpu: true };
        let waits = book.take_anyway(Activity::WindowPost, Need::default(), None);
        let fitted = book.adjust(waits, wanted, 0).is_ok();
        book.give(waits, 0);
        let less_urgent = |a: Activity| urgency(a) > 0;
        let mut given = ran.into_iter();
        if !fitted {
            for (activity, need) in tries.into_iter().filter(|(a, _)| less_urgent(*a)) {
                let _tried = book.take(activity, need, 1);
                if let Some(id) = given.next() {
                    book.give(id, 1);
                }
            }
            given.for_each(|id| book.give(id, 1));
            prop_assert_eq!(book.take(Activity::WindowPost, wanted, 2).map(|_| ()), Ok(()));
        }
    }
}
