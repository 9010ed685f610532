//! I1 and I2: numbers and tickets are given once.

use std::collections::BTreeMap;

use super::{Evidence, Found, Spot, Violation, load::At, record::Drawn};

/// A number was created twice in one life of `NUMBERS`, or two submissions have it: in different lives of the queue too,
/// which is what a rebuild must not do. Reserved ranges and numbers that only the chain knows are the chain's to refuse:
/// a pre-commit of such a one is seen by I4 and I7.
pub(super) fn i1(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I1");
    for (sector, given) in &evidence.numbers {
        let mut by_life = BTreeMap::<u32, Vec<&At<()>>>::new();
        for at in given {
            by_life.entry(at.life).or_default().push(at);
        }
        for (_, twice) in by_life.into_iter().filter(|(_, given)| given.len() > 1) {
            found.note(sector.clone(), twice.iter().map(|at| at.spot), "its number was given twice");
        }
    }
    for (sector, records) in &evidence.sectors {
        let mut begun = BTreeMap::<u64, Spot>::new();
        for record in records.iter().filter(|record| record.value.state.is == "allocated" && record.value.seq == 0) {
            begun.entry(record.value.submitted_at).or_insert(record.spot);
        }
        if begun.len() > 1 {
            found.note(sector.clone(), begun.into_values(), "two submissions were given this number");
        }
    }
    for (sector, answers) in by(evidence.run.submitted.iter().map(|answer| (answer.value.clone(), answer.spot))) {
        if answers.len() > 1 {
            found.note(sector, answers, "two answers to `submit` name it");
        }
    }
    found.all
}

fn by(pairs: impl Iterator<Item = (String, Spot)>) -> BTreeMap<String, Vec<Spot>> {
    let mut all = BTreeMap::<String, Vec<Spot>>::new();
    for (key, spot) in pairs {
        all.entry(key).or_default().push(spot);
    }
    all
}

/// Records of one generation name two tickets, or the manifest beside its files names another one. Which ticket the
/// prover was given is in its job directory, which is gone: CommR binds it, and I7 sees a proof over another.
pub(super) fn i2(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I2");
    let mut tickets = BTreeMap::<(&str, u32), BTreeMap<&Drawn, Spot>>::new();
    for (sector, records) in &evidence.sectors {
        for record in records {
            let state = &record.value.state;
            if let (Some(generation), Some(ticket)) = (state.generation(), state.ticket()) {
                tickets.entry((sector, generation)).or_default().entry(ticket).or_insert(record.spot);
            }
        }
    }
    for (sector, files) in evidence.files.iter().flat_map(|(sector, all)| all.iter().map(move |files| (sector, files)))
    {
        let Some(tag) = files.manifest.as_ref().and_then(|manifest| manifest.tag.as_ref()) else { continue };
        tickets.entry((sector, tag.generation)).or_default().entry(&tag.ticket).or_insert(files.spot);
    }
    for ((sector, generation), drawn) in tickets.into_iter().filter(|(_, drawn)| drawn.len() > 1) {
        let epochs: Vec<_> = drawn.keys().map(|ticket| ticket.epoch.to_string()).collect();
        let words = format!("generation {generation} has tickets of epochs {}", epochs.join(" and "));
        found.note(sector, drawn.into_values(), words);
    }
    found.all
}
