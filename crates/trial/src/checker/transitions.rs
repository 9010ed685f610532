//! The checker's own table of moves: which are forward, and what must be on record for one that leads back.

use super::{
    Evidence,
    load::At,
    record::{Sector, State},
};

/// A sector's road. Each leads to the next by itself; the pairs below may skip.
const ROAD: [&str; 14] = [
    "allocated",
    "placed",
    "pieces-added",
    "tree-d-done",
    "ticketed",
    "pc1-done",
    "pc2-done",
    "pre-commit-sent",
    "pre-committed",
    "seed-ready",
    "c1-done",
    "c2-done",
    "prove-commit-sent",
    "proving",
];

/// Forward moves that leave one out: a sector without pieces needs no add-piece, and a proof over the present seed counts
/// when C1 was ordered again meanwhile.
const SKIPS: [(&str, &str); 2] = [("allocated", "pieces-added"), ("seed-ready", "c2-done")];

/// Why a state may move backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// An attempt failed, and the record has its error.
    Failed,
    /// A new generation begins.
    Generation,
    /// The message that it joined is no longer noted, or failed on chain.
    Message,
    /// The seed is another one.
    Seed,
    /// The chain was reorganised.
    Reorg,
    /// Files are lost: a person said so of their store, or an agent found it.
    Lost,
}

const fn back(from: &'static [&'static str], to: &'static [&'static str], why: &'static [Why]) -> Back {
    Back { from, to, why }
}

struct Back {
    from: &'static [&'static str],
    to: &'static [&'static str],
    /// Any of these will do.
    why: &'static [Why],
}

/// Moves that lead back. Whatever a person orders is allowed besides.
const BACK: [Back; 9] = [
    back(
        &["pieces-added", "tree-d-done", "ticketed", "pc1-done", "pc2-done"],
        &["placed", "pieces-added"],
        &[Why::Generation],
    ),
    back(&["pc2-done"], &["pc1-done"], &[Why::Failed]),
    back(
        &["placed", "pieces-added", "tree-d-done", "ticketed", "pc1-done", "pc2-done"],
        &["allocated"],
        &[Why::Lost, Why::Failed],
    ),
    back(&["pre-commit-sent"], &["pc2-done"], &[Why::Message]),
    back(&["prove-commit-sent"], &["c2-done"], &[Why::Message]),
    back(&["c1-done", "c2-done"], &["seed-ready"], &[Why::Seed, Why::Failed]),
    back(
        &["pre-committed", "seed-ready", "c1-done", "c2-done", "prove-commit-sent"],
        &["pre-commit-sent", "pre-committed"],
        &[Why::Reorg],
    ),
    back(&["proving"], &["prove-commit-sent"], &[Why::Reorg]),
    back(&["prove-commit-sent"], &["seed-ready"], &[Why::Reorg, Why::Seed]),
];

/// States in which the chain has, or may have, a promise.
const PROMISED: [&str; 5] = ["pre-commit-sent", "pre-committed", "seed-ready", "c1-done", "c2-done"];

/// What is wrong with a move, if anything is.
pub(super) fn fault(evidence: &Evidence, sector: &str, prev: &At<Sector>, next: &At<Sector>) -> Option<String> {
    let (was, is) = (&prev.value, &next.value);
    let pair = Pair { evidence, prev: was, next: is };
    if is.incarnation < was.incarnation {
        return Some(format!("incarnation {} follows {}", is.incarnation, was.incarnation));
    }
    let grown = |(before, after): (u32, u32)| after >= before;
    if !was.state.generation().zip(is.state.generation()).is_none_or(grown) {
        return Some("its generation went back".to_owned());
    }
    if was.state.within().finalized && is.state.within().is == "proving" && !is.state.within().finalized {
        return Some("it was finalized and is not any more".to_owned());
    }
    // When an order was noted says little about when it was carried out.
    if pair.is_legal(&was.state, &is.state) || evidence.run.ordered.contains_key(sector) {
        return None;
    }
    Some(format!("{} became {} and nothing on record says why", name(&was.state), name(&is.state)))
}

fn name(state: &State) -> String {
    match (&state.files, &state.chain, &state.was) {
        (Some(files), Some(chain), _) => format!("{} ({} | {})", state.is, files.is, chain.is),
        (_, _, Some(was)) => format!("{} ({})", state.is, name(was)),
        _ => state.is.clone(),
    }
}

struct Pair<'a> {
    evidence: &'a Evidence,
    prev: &'a Sector,
    next: &'a Sector,
}

impl Pair<'_> {
    fn is_legal(&self, was: &State, is: &State) -> bool {
        match (was.is.as_str(), is.is.as_str()) {
            // What ended meanwhile is kept with it.
            ("parked", "parked") => inner(was).zip(inner(is)).is_some_and(|(was, is)| self.is_legal(was, is)),
            // A person lets it go on, which the caller looks for; the chain may end it without one.
            ("parked", to) => to == "pre-commit-expired",
            (_, "parked") => inner(is).is_some_and(|is| self.is_legal(was, is)),
            ("resealing", "resealing") => {
                both(&was.files, &is.files).is_some_and(|(was, is)| self.is_legal(was, is))
                    && both(&was.chain, &is.chain).is_some_and(|(was, is)| self.is_legal(was, is))
            }
            // The replica is there again, or the chain turned out to have nothing.
            ("resealing", _) if is.is != "pre-commit-expired" => {
                let same = |half: &Option<Box<State>>| half.as_ref().is_some_and(|half| half.is == is.is);
                same(&was.chain) || same(&was.files)
            }
            (from, "resealing") => {
                let kept = is.chain.as_ref().is_some_and(|chain| chain.is == from);
                PROMISED.contains(&from) && kept && (self.has(Why::Lost) || self.has(Why::Failed))
            }
            (from, "aborted") => ROAD.iter().position(|on| *on == from).is_some_and(|place| place <= 6),
            (from, "pre-commit-expired") => {
                PROMISED.contains(&from) || ["resealing", "pre-commit-expired", "prove-commit-sent"].contains(&from)
            }
            (from, to) => self.is_legal_on_road(from, to),
        }
    }

    fn is_legal_on_road(&self, from: &str, to: &str) -> bool {
        let place = |state: &str| ROAD.iter().position(|on| *on == state);
        let (Some(before), Some(after)) = (place(from), place(to)) else { return false };
        let forward = after == before || after == before + 1 || SKIPS.contains(&(from, to));
        forward
            || BACK.iter().any(|back| {
                back.from.contains(&from) && back.to.contains(&to) && back.why.iter().any(|why| self.has(*why))
            })
    }

    fn has(&self, why: Why) -> bool {
        let (was, is) = (self.prev, self.next);
        match why {
            Why::Failed => is.errors.last().is_some_and(|error| !was.errors.contains(error)),
            Why::Generation => {
                was.state.generation().zip(is.state.generation()).is_some_and(|(before, after)| after > before)
            }
            Why::Message => was.state.of_chain().message.as_ref().is_some_and(|message| {
                let note = is.messages.iter().rev().find(|note| note.message == *message);
                note.is_none_or(|note| note.exit_code.is_some_and(|code| code != 0))
            }),
            Why::Seed => was.state.of_chain().seed != is.state.of_chain().seed,
            Why::Reorg => !self.evidence.chain.reorganised.is_empty(),
            Why::Lost => is.generations_lost > was.generations_lost || is.what.contains("lost"),
        }
    }
}

fn inner(state: &State) -> Option<&State> {
    state.was.as_deref()
}

fn both<'a>(one: &'a Option<Box<State>>, other: &'a Option<Box<State>>) -> Option<(&'a State, &'a State)> {
    Some((one.as_deref()?, other.as_deref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_table_is_on_the_road() {
        let named = BACK.iter().flat_map(|back| back.from.iter().chain(back.to)).chain(&PROMISED);
        for state in named.chain(SKIPS.iter().flat_map(|(from, to)| [from, to])) {
            assert!(ROAD.contains(state), "{state}");
        }
    }
}
