use std::path::Path;

use streams::stage::Stage;

use super::{super::discover, *};

const GIB: u64 = 1 << 30;

fn seats(text: &str, slots: &[(Class, u32)]) -> Seats {
    let config: Config = toml::from_str(text).unwrap();
    let host = discover::host(Path::new("/nowhere"));
    Seats::new(&config, means(&config, &host, 64), &slots.iter().copied().collect())
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

/// An agent's seats on a host with one GPU, beside others with the same home.
fn beside(home: &Path, agent: &str, text: &str, slots: &[(Class, u32)]) -> Seats {
    let config: Config = toml::from_str(text).unwrap();
    let host = discover::host(Path::new("/nowhere"));
    let neighbours = Neighbours::open(home, &agent.parse().unwrap()).unwrap();
    Seats::beside(neighbours, &config, means(&config, &host, 64), &host, &slots.iter().copied().collect())
}

#[tokio::test(start_paused = true)]
async fn agents_of_one_host_never_hold_the_same_gpu() {
    let home = tempfile::tempdir().unwrap();
    let one = "machine.gpus = 1";
    let (pc2, c2) = (Activity::Stage(Stage::Pc2), Activity::Stage(Stage::C2));
    let labels = beside(home.path(), "labels", one, &[(Class::Pc2Gpu, 1)]);
    let snarks = beside(home.path(), "snarks", one, &[(Class::C2Gpu, 1)]);
    let held = labels.take(pc2).unwrap();
    assert!(!snarks.may_ask(&[c2]));
    assert_eq!(snarks.take(c2).unwrap_err(), Shortage::Gpu { total: 1 });
    assert_eq!(snarks.opens_in(&[c2]), Some(LOOK_EVERY), "nobody tells it when");
    drop(held);
    assert!(!labels.may_ask(&[pc2]), "the other's C2 is more urgent");
    tokio::time::advance(LOOK_EVERY).await;
    assert!(snarks.may_ask(&[c2]));
    let held = snarks.take(c2).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(labels.take(pc2).unwrap_err(), Shortage::Gpu { total: 1 });
    drop(held);
    tokio::time::advance(LOOK_LASTS).await;
    assert!(!labels.may_ask(&[pc2]), "it comes first again");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(labels.may_ask(&[pc2]), "it had nothing to do");
    assert!(labels.take(pc2).is_ok());
}

#[tokio::test]
async fn memory_and_locks_are_the_hosts() {
    let home = tempfile::tempdir().unwrap();
    let text = format!("machine.memory_bytes = {}\nstages.pc1.locks = [\"disk\"]", 100 * GIB);
    let agents = ["a", "b"].map(|name| beside(home.path(), name, &text, &[(Class::Pc1Cpu, 1)]));
    let [first, second] = agents.each_ref().map(|seats| seats.take(Activity::Stage(Stage::Pc1)));
    let first = first.unwrap();
    assert_eq!(second.unwrap_err(), Shortage::Lock { name: "disk".to_owned() });
    first.settle(SealProof::Drg32GiBV1_1).unwrap();
    let placed = agents[1].take(Activity::Stage(Stage::Place)).unwrap();
    placed.settle(SealProof::Drg32GiBV1_1).unwrap();
    drop(first);
    assert!(agents[1].take(Activity::Stage(Stage::Pc1)).is_ok());
}

#[tokio::test]
async fn gpus_that_were_divided_are_those_that_provers_get() {
    let home = tempfile::tempdir().unwrap();
    let with = |agent: &str, visible: &str| {
        let mut host = discover::host(Path::new("/nowhere"));
        host.gpus =
            (0..2).map(|id: u32| discover::Gpu { id: id.to_string(), name: String::new(), node: None }).collect();
        host.limit_gpus(visible);
        let (config, neighbours) = (Config::default(), Neighbours::open(home.path(), &agent.parse().unwrap()).unwrap());
        Seats::beside(neighbours, &config, means(&config, &host, 64), &host, &BTreeMap::from([(Class::C2Gpu, 2)]))
    };
    let c2 = Activity::Stage(Stage::C2);
    let is_told = |seat: &Seat, gpu: &str| seat.env().contains(&("CUDA_VISIBLE_DEVICES".into(), gpu.into()));
    let (zero, one, both) = (with("zero", "0"), with("one", "1"), with("both", "0,1"));
    let held = one.take(c2).unwrap();
    assert!(is_told(&held, "1") && one.take(c2).is_err());
    let other = both.take(c2).unwrap();
    assert!(is_told(&other, "0") && zero.take(c2).is_err() && both.take(c2).is_err());
}
