//! I3 to I6: what is sent about a sector, once and in time.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fvm_ipld_encoding::from_slice;

use super::{
    Evidence, Found, Spot, Violation,
    chain::{Landed, Message},
    load::At,
    nonces::address,
    record::{Drawn, OutboxEntry},
};

/// What a message did to one sector.
pub(super) struct Effect {
    pub(super) spot: Spot,
    pub(super) height: i64,
    /// 0, the message's exit code, or the sector's own in a batch that went through.
    pub(super) code: u32,
    cid: String,
}

/// Sector and effect of every pre-commit, or prove-commit, of the chain at the end.
pub(super) fn effects(
    evidence: &Evidence,
    numbers: impl Fn(&Message) -> Option<Vec<u64>>,
) -> BTreeMap<String, Vec<Effect>> {
    let mut all = BTreeMap::<String, Vec<Effect>>::new();
    for landed in evidence.chain.messages() {
        let message = &landed.value;
        let Some(numbers) = numbers(message) else { continue };
        let failed = batch_failures(evidence, landed);
        for (index, number) in numbers.into_iter().enumerate() {
            let own = failed.get(&index).copied().unwrap_or(0);
            let code = if message.exit_code == 0 { own } else { message.exit_code };
            let effect = Effect { spot: landed.spot, height: landed.height, code, cid: message.cid.clone() };
            all.entry(format!("{}/{number}", message.miner())).or_default().push(effect);
        }
    }
    all
}

fn pre_committed(message: &Message) -> Option<Vec<u64>> {
    message.pre_commits().map(|sectors| sectors.iter().map(|sector| sector.number).collect())
}

/// Exit codes of sectors that a batch left out, by index, as the outbox has them from the receipt.
fn batch_failures(evidence: &Evidence, landed: &Landed<Message>) -> BTreeMap<usize, u32> {
    let message = &landed.value;
    let entries = evidence.outbox.get(&(address(&message.from), message.nonce));
    entries.into_iter().flatten().filter_map(|entry| failures(&entry.value)).next_back().unwrap_or_default()
}

/// `[successes, [[index, code], …]]`
fn failures(entry: &OutboxEntry) -> Option<BTreeMap<usize, u32>> {
    let bytes = STANDARD.decode(entry.fate.return_value.as_ref()?).ok()?;
    let (_, failed): (u64, Vec<(usize, u32)>) = from_slice(&bytes).ok()?;
    Some(failed.into_iter().collect())
}

/// A pre-commit landed with a ticket older than the actor takes. One that was refused before it landed cost only time,
/// and is not seen here.
pub(super) fn i3(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I3");
    for landed in evidence.chain.ever() {
        for sector in landed.value.pre_commits().unwrap_or_default() {
            let age = landed.height - sector.ticket_epoch;
            if age > evidence.run.settings.ticket_age_max {
                let subject = format!("{}/{}", landed.value.miner(), sector.number);
                found.note(subject, [landed.spot], format!("its ticket was {age} epochs old when it landed"));
            }
        }
    }
    found.all
}

/// On the chain at the end, a sector is carried by a message after one that had worked for it; or the outbox has a second
/// message with it, made while the first could still work.
pub(super) fn i4(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I4");
    let kinds =
        [("pre-commit", effects(evidence, pre_committed)), ("prove-commit", effects(evidence, Message::prove_commits))];
    for (kind, sectors) in kinds {
        for (sector, effects) in sectors {
            let Some(worked) = effects.iter().position(|effect| effect.code == 0) else { continue };
            if let Some(again) = effects.get(worked + 1..).and_then(<[Effect]>::first) {
                let lines = effects.iter().map(|effect| effect.spot);
                found.note(sector, lines, format!("{kind} {} came after one that had worked", again.cid));
            }
        }
    }
    for (sector, method, entries) in by_sector(evidence) {
        for (first, second) in entries.iter().zip(entries.iter().skip(1)) {
            let before = first.iter().rev().find(|entry| entry.us <= second.us_first());
            let Some(before) = before.filter(|before| before.life == second.life_first()) else { continue };
            if may_still_work(&before.value, &sector) {
                let words = format!("{method}: nonces {} and {} both carry it", first.nonce(), second.nonce());
                found.note(sector.clone(), [before.spot, second.spot_first()], words);
            }
        }
    }
    found.all
}

/// The history of one outbox entry.
struct History<'a>(&'a [At<OutboxEntry>]);

impl<'a> History<'a> {
    fn iter(&self) -> std::slice::Iter<'a, At<OutboxEntry>> {
        self.0.iter()
    }
    fn us_first(&self) -> u64 {
        self.0.first().map_or(0, |entry| entry.us)
    }
    fn life_first(&self) -> u32 {
        self.0.first().map_or(0, |entry| entry.life)
    }
    fn spot_first(&self) -> Spot {
        self.0.first().map_or(Spot { file: crate::evidence::QUEUE, line: 0 }, |entry| entry.spot)
    }
    fn nonce(&self) -> u64 {
        self.0.first().map_or(0, |entry| entry.value.message.nonce)
    }
}

/// Outbox entries that carry a sector, by sector and method, in the order they were made.
fn by_sector(evidence: &Evidence) -> Vec<(String, String, Vec<History<'_>>)> {
    let mut all = BTreeMap::<(String, String), Vec<History<'_>>>::new();
    for entries in evidence.outbox.values() {
        let Some(first) = entries.first() else { continue };
        if !["PreCommitSectorBatch2", "ProveCommitSectors3"].contains(&first.value.method.as_str()) {
            continue;
        }
        for number in &first.value.sectors {
            let key = (format!("{}/{number}", address(&first.value.miner)), first.value.method.clone());
            all.entry(key).or_default().push(History(entries));
        }
    }
    let sorted = all.into_iter().map(|((sector, method), mut entries)| {
        entries.sort_by_key(History::us_first);
        (sector, method, entries)
    });
    sorted.collect()
}

/// Whether a message may still do, or has done, what it says for a sector.
fn may_still_work(entry: &OutboxEntry, sector: &str) -> bool {
    match entry.fate.is.as_str() {
        "displaced" => false,
        "landed" if entry.fate.exit_code != Some(0) => false,
        "landed" => {
            let index = entry.sectors.iter().position(|number| sector.ends_with(&format!("/{number}")));
            let failed = failures(entry).unwrap_or_default();
            index.is_none_or(|index| !failed.contains_key(&index))
        }
        _ => true,
    }
}

/// A seed's epoch is not the pre-commit's plus the delay; a proven sector's record names another pre-commit epoch than
/// the chain; or two proven sectors of one miner have different seeds of one epoch. The seed's value itself is bound by
/// the proof, which the actor verified: I7 sees one that is not.
pub(super) fn i5(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I5");
    let delay = evidence.challenge_delay();
    let on_chain = effects(evidence, pre_committed);
    let mut seeds = BTreeMap::<(&str, i64), BTreeMap<&Drawn, Spot>>::new();
    for (sector, records) in &evidence.sectors {
        let wrong = records.iter().find(|record| {
            let state = record.value.state.within();
            matches!((&state.pre_commit, &state.seed), (Some(on), Some(seed)) if seed.epoch != on.epoch + delay)
        });
        if let Some(record) = wrong {
            let words = format!("its seed is not of the epoch {delay} after its pre-commit");
            found.note(sector.clone(), [record.spot], words);
        }
        let Some(last) = records.last().filter(|last| last.value.state.within().is == "proving") else { continue };
        let state = last.value.state.within();
        let landed = on_chain.get(sector).and_then(|effects| effects.iter().find(|effect| effect.code == 0));
        if let (Some(pre_commit), Some(landed)) = (&state.pre_commit, landed)
            && pre_commit.epoch != landed.height
        {
            let words =
                format!("pre-committed at {} by its record, at {} by the chain", pre_commit.epoch, landed.height);
            found.note(sector.clone(), [last.spot, landed.spot], words);
        }
        if let (Some((miner, _)), Some(seed)) = (sector.split_once('/'), &state.seed) {
            seeds.entry((miner, seed.epoch)).or_default().entry(seed).or_insert(last.spot);
        }
    }
    for ((miner, epoch), drawn) in seeds.into_iter().filter(|(_, drawn)| drawn.len() > 1) {
        found.note(miner, drawn.into_values(), format!("proven sectors have different seeds of epoch {epoch}"));
    }
    found.all
}

/// A prove-commit landed after its due epoch, or the due epoch passed without one that worked.
pub(super) fn i6(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I6");
    let allowed = evidence.run.settings.prove_commit_duration_max;
    let proven = effects(evidence, Message::prove_commits);
    for (sector, pre_commits) in effects(evidence, pre_committed) {
        let Some(pre_commit) = pre_commits.iter().find(|effect| effect.code == 0) else { continue };
        if evidence.run.is_poisoned(&sector) {
            continue;
        }
        let due = pre_commit.height.saturating_add(allowed);
        let effects = proven.get(&sector).map(Vec::as_slice).unwrap_or_default();
        if let Some(late) = effects.iter().find(|effect| effect.height > due) {
            let words = format!("proven at epoch {}, due at {due}", late.height);
            found.note(sector, [pre_commit.spot, late.spot], words);
        } else if evidence.chain.head() > due && !effects.iter().any(|effect| effect.code == 0) {
            found.note(sector, [pre_commit.spot], format!("due at epoch {due} and never proven"));
        }
    }
    found.all
}
