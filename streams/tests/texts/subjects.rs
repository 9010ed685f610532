//! Every subject reads back as what it was written from, and nothing else is taken for one.

use std::{fmt::Display, str::FromStr};

use proptest::prelude::*;
use streams::{
    id::{AgentId, MinerId, Place, SectorId, SectorNumber},
    stage::{Class, Stage},
    subject::*,
};

fn round_trip<T>(subject: &T)
where
    T: Display + FromStr<Err: std::fmt::Debug> + PartialEq + std::fmt::Debug,
{
    let text = subject.to_string();
    assert_eq!(&text.parse::<T>().unwrap(), subject, "{text}");
    assert!(!text.contains(['*', '>', ' ']) && !text.contains("..") && !text.ends_with('.'), "{text}");
    assert!(format!("{text}.more").parse::<T>().is_err(), "{text}.more");
    let (shorter, _) = text.rsplit_once('.').unwrap();
    assert!(shorter.parse::<T>().is_err(), "{shorter}");
}

fn agent() -> impl Strategy<Value = AgentId> {
    "[a-z0-9-]{1,32}".prop_map(|name| name.parse().unwrap())
}

fn place() -> impl Strategy<Value = Place> {
    "[a-z0-9-]{1,32}".prop_filter("reserved", |name| name != "any").prop_map(|name| name.parse().unwrap())
}

fn whither() -> impl Strategy<Value = Whither> {
    prop_oneof![Just(Whither::Any), place().prop_map(Whither::At)]
}

fn sector() -> impl Strategy<Value = SectorId> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(miner, number)| SectorId { miner: MinerId(miner), number: SectorNumber(number) })
}

proptest! {
    #[test]
    fn tasks(whither in whither(), sector in sector(), stage in prop::sample::select(Stage::ALL.to_vec())) {
        round_trip(&TaskSubject { whither, sector, stage });
    }

    #[test]
    fn post_tasks(
        class in prop::sample::select(vec![Class::PostIo, Class::PostGpu]),
        whither in whither(),
        miner in any::<u64>().prop_map(MinerId),
        open in any::<i64>(),
        partition in any::<u64>(),
        attempt in any::<u32>(),
    ) {
        round_trip(&PostSubject { class, whither, miner, open, partition, attempt });
    }

    #[test]
    fn results(agent in agent(), sector in sector()) {
        round_trip(&ResultSubject { agent, sector });
    }

    #[test]
    fn post_results(
        agent in agent(),
        miner in any::<u64>().prop_map(MinerId),
        open in any::<i64>(),
        partition in any::<u64>(),
    ) {
        round_trip(&PostResultSubject { agent, miner, open, partition });
    }

    #[test]
    fn events(sector in sector(), what in "[a-z0-9-]{1,32}") {
        round_trip(&EventSubject { sector, what });
    }

    #[test]
    fn control(agent in agent(), verb in "[a-z-]{1,16}") {
        round_trip(&ControlSubject::Coordinator(verb.clone()));
        round_trip(&ControlSubject::Agent(agent, verb.clone()));
        round_trip(&ControlSubject::Poster(verb));
    }

    #[test]
    fn keys(sector in sector()) {
        prop_assert_eq!(SectorId::from_key(&sector.key()).unwrap(), sector);
        prop_assert_eq!(sector.to_string().parse::<SectorId>().unwrap(), sector);
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in ".{0,64}") {
        drop(text.parse::<TaskSubject>());
        drop(text.parse::<PostSubject>());
        drop(text.parse::<ControlSubject>());
    }
}

#[test]
fn subjects_are_what_operators_type() {
    let sector = "f01000/17".parse().unwrap();
    let pc2 = TaskSubject { whither: "host1".parse().unwrap(), sector, stage: Stage::Pc2 };
    assert_eq!(pc2.to_string(), "seal.pc2-gpu.host1.f01000.17.pc2");
    let place = TaskSubject { whither: Whither::Any, sector, stage: Stage::Place };
    assert_eq!(place.to_string(), "seal.pc1-cpu.any.f01000.17.place");
}

#[test]
fn a_stage_under_the_wrong_class_is_refused() {
    let words = "seal.c2-gpu.any.f01000.17.pc2".parse::<TaskSubject>().unwrap_err().to_string();
    assert!(words.contains("pc2-gpu"), "{words}");
    assert!("post.pc2-gpu.any.f01000.120.0.1".parse::<PostSubject>().is_err());
    assert!("ctl.janitor.sweep".parse::<ControlSubject>().is_err());
}

#[test]
fn names_that_would_address_something_else_are_refused() {
    for bad in ["", "a.b", "a b", "*", ">", "Host", "any", "x".repeat(33).as_str()] {
        assert!(bad.parse::<Place>().is_err(), "{bad}");
    }
    for bad in ["f1000", "f0", "f001000", "f0-1", "f01000.", "f099999999999999999999"] {
        assert!(bad.parse::<MinerId>().is_err(), "{bad}");
    }
}
