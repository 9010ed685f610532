//! `coordinator sectors show`: one sector's whole story.

use std::fmt::Write as _;

use chain::{cids, policy::NetworkPolicy};
use host::{exit::CliError, output::Details};
use streams::{
    id::{Epoch, Timestamp},
    proof::{Commitment, Drawn},
    records::ChainHead,
    sector::{MessageNote, PreCommit, Sealed, SectorRecord, SectorState, StageRun, Succession},
};

use super::{clock_time, span};

/// The story as facts; programs read the record itself.
pub(crate) fn story(record: &SectorRecord, head: Option<&ChainHead>, now: Timestamp) -> Result<Details, CliError> {
    let mut details = Details::new(record.id.to_string(), record)?;
    let state = &record.state;
    details.fact("sector", record.id.to_string());
    details.fact("size", record.proof.to_string());
    details.fact("state", format!("{} for {}", state.name(), span(now.ms_since(record.entered_at))));
    if let SectorState::Parked { was, reason } = state {
        details.fact("parked", format!("reason {}: {} (was {})", reason.code, reason.text, was.name()));
    }
    if let SectorState::Aborted { reason } = state {
        details.fact("aborted", reason.clone());
    }
    if let SectorState::PreCommitExpired { pre_commit, due, successor } = state {
        details.fact("expired", format!("pre-committed at epoch {}, due at epoch {due}", pre_commit.epoch));
        details.fact("successor", successor_words(successor));
    }
    details.fact(
        if state.attached().is_some() { "attached" } else { "submitted" },
        format!("{} UTC, {} ago", clock_time(record.submitted_at), span(now.ms_since(record.submitted_at))),
    );
    for (index, piece) in record.pieces.iter().enumerate() {
        details.fact(
            &format!("piece {index}"),
            format!(
                "{}, {} bytes at {} of {} padded, {}",
                piece.name,
                piece.payload_bytes,
                piece.offset_padded,
                piece.padded_bytes,
                piece_cid(&piece.commitment)
            ),
        );
    }
    if let Some(at) = state.placement() {
        details.fact("place", format!("{}, store {}, generation {}", at.place, at.store, at.generation));
    }
    let inner = match state {
        SectorState::Parked { was, .. } => was.as_ref(),
        other => other,
    };
    if let SectorState::Resealing { files, chain } = inner {
        details.fact("sealed again", format!("its files are {}, on chain it is {}", files.name(), chain.name()));
    }
    let inner = inner.of_chain();
    chain_facts(&mut details, inner, head);
    for run in &record.story {
        details.fact(run.stage.as_str(), ran(run));
    }
    for note in &record.messages {
        details.fact(&note.method, sent(note));
    }
    for error in &record.errors {
        let at = clock_time(error.at);
        let text = format!("attempt {} on {} at {at}: {}: {}", error.attempt, error.agent, error.code, error.message);
        match error.until {
            None => details.fact(&format!("{} failed", error.stage), text),
            Some(until) => {
                details.fact(&format!("{} waits", error.stage), format!("until {}: {text}", clock_time(until)))
            }
        }
    }
    Ok(details)
}

/// What became of the pieces of a sector whose pre-commit expired.
pub(super) fn successor_words(successor: &Succession) -> String {
    match successor {
        Succession::Wanted {} => "a new sector is to be made".to_owned(),
        Succession::Named { by } => format!("sector {by}, about to be made"),
        Succession::Begun { by } => format!("sector {by}"),
    }
}

fn chain_facts(details: &mut Details, state: &SectorState, head: Option<&ChainHead>) {
    let (ticket, pre_commit, seed) = known(state);
    if let Some(ticket) = ticket {
        details.fact("ticket", format!("epoch {}{}", ticket.epoch, ticket_left(&ticket, pre_commit, head)));
    }
    if let Some(sealed) = state.sealed() {
        sealed_facts(details, sealed);
    }
    if let Some(attached) = state.attached() {
        details.fact("sealed CID", sealed_cid(&attached.comm_r));
        details.fact("replica", format!("store {} at {}, attached there", attached.store, attached.place));
        details.fact("unknown", "ticket, data and pieces: it was sealed elsewhere, and proving needs none of them");
    }
    if let Some(pre_commit) = pre_commit {
        details.fact("pre-committed", format!("epoch {}", pre_commit.epoch));
    }
    if let Some(seed) = seed {
        details.fact("seed", format!("epoch {}", seed.epoch));
    }
    if let SectorState::Proving { activation, expiration, deadline, partition, finalized, .. } = state {
        details.fact("proving", format!("deadline {deadline}, partition {partition}"));
        details.fact("activated", format!("epoch {activation}"));
        details.fact("expires", format!("epoch {expiration}{}", epochs_from(head, *expiration)));
        details.fact("trimmed", if *finalized { "yes" } else { "not yet" });
    }
}

fn known(state: &SectorState) -> (Option<Drawn>, Option<&PreCommit>, Option<Drawn>) {
    match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => (Some(*ticket), None, None),
        SectorState::Pc2Done { sealed } | SectorState::PreCommitSent { sealed, .. } => {
            (Some(sealed.ticket), None, None)
        }
        SectorState::PreCommitted { sealed, pre_commit } => (Some(sealed.ticket), Some(pre_commit), None),
        SectorState::SeedReady { sealed, pre_commit, seed }
        | SectorState::C1Done { sealed, pre_commit, seed, .. }
        | SectorState::C2Done { sealed, pre_commit, seed, .. }
        | SectorState::ProveCommitSent { sealed, pre_commit, seed, .. } => {
            (Some(sealed.ticket), Some(pre_commit), Some(*seed))
        }
        SectorState::Proving { sealed, pre_commit, seed, .. } => {
            (sealed.sealed().map(|sealed| sealed.ticket), pre_commit.as_ref(), *seed)
        }
        SectorState::PreCommitExpired { pre_commit, .. } => (None, Some(pre_commit), None),
        SectorState::Allocated {}
        | SectorState::Placed { .. }
        | SectorState::PiecesAdded { .. }
        | SectorState::TreeDDone { .. }
        | SectorState::Resealing { .. }
        | SectorState::Parked { .. }
        | SectorState::Aborted { .. } => (None, None, None),
    }
}

fn sealed_cid(comm_r: &Commitment) -> String {
    cids::sealed(comm_r).map_or_else(|_| comm_r.to_string(), |cid| cid.to_string())
}

fn sealed_facts(details: &mut Details, sealed: &Sealed) {
    details.fact("sealed CID", sealed_cid(&sealed.comm_r));
    details.fact("unsealed CID", piece_cid(&sealed.comm_d));
    let copy = sealed.persisted.as_ref().map_or_else(
        || "not yet".to_owned(),
        |copy| format!("store {} at {}, SHA-256 {}", copy.store, copy.place, copy.sealed_sha256),
    );
    details.fact("persisted", copy);
}

fn piece_cid(commitment: &Commitment) -> String {
    cids::unsealed(commitment).map_or_else(|_| commitment.to_string(), |cid| cid.to_string())
}

/// How long the ticket can still be pre-committed, while that matters.
fn ticket_left(ticket: &Drawn, pre_commit: Option<&PreCommit>, head: Option<&ChainHead>) -> String {
    let (None, Some(head)) = (pre_commit, head) else { return String::new() };
    let Some(policy) = NetworkPolicy::for_network(&head.network) else { return String::new() };
    let left = ticket.epoch.saturating_add(policy.ticket_age_max).saturating_sub(head.epoch);
    format!(", {left} epochs left to pre-commit")
}

fn epochs_from(head: Option<&ChainHead>, epoch: Epoch) -> String {
    head.map(|head| format!(", in {} epochs", epoch.saturating_sub(head.epoch))).unwrap_or_default()
}

fn ran(run: &StageRun) -> String {
    let waited = span(run.started_at.ms_since(run.queued_at));
    let took = span(run.ended_at.ms_since(run.started_at));
    let mut text = format!("{took} on {}, after {waited} in the queue", run.agent);
    if run.attempt > 1 {
        // Writing to a String cannot fail.
        let _ok = write!(text, ", attempt {}", run.attempt);
    }
    text
}

fn sent(note: &MessageNote) -> String {
    let mut text = format!("nonce {} of {}", note.message.nonce, note.message.sender);
    let _ok = match &note.cid {
        Some(cid) => write!(text, ", {cid}"),
        None => write!(text, ", not signed yet"),
    };
    let _ok = match (note.height, note.exit_code) {
        (Some(height), Some(code)) => write!(text, ", landed at epoch {height} with exit code {code}"),
        _ => write!(text, ", on its way since {}", clock_time(note.sent_at)),
    };
    if let Some(gas) = note.gas_used {
        let _ok = write!(text, ", {gas} gas");
    }
    text
}

#[cfg(test)]
mod tests {
    use host::output::Format;
    use streams::stage::Stage;

    use super::*;
    use crate::sector::tests::sample;

    fn sample_record() -> SectorRecord {
        let mut record = sample::record(sample::proving(true));
        record.story = vec![StageRun {
            stage: Stage::Pc1,
            queued_at: Timestamp(sample::NOW.0 - 50_000),
            started_at: Timestamp(sample::NOW.0 - 49_000),
            ended_at: Timestamp(sample::NOW.0 - 40_500),
            agent: sample::agent(),
            attempt: 2,
        }];
        record.messages = vec![MessageNote {
            method: "PreCommitSectorBatch2".to_owned(),
            message: sample::message(1),
            cid: Some("bafy2bzacea".to_owned()),
            sent_at: sample::NOW,
            landed_at: Some(sample::NOW),
            height: Some(120),
            exit_code: Some(0),
            gas_used: Some(15_460_000),
        }];
        record
    }

    #[test]
    fn the_whole_story() {
        let head = ChainHead {
            epoch: 140,
            tipset: Vec::new(),
            block_delay_secs: 1,
            network: "sealstream-fast".to_owned(),
            at: sample::NOW,
        };
        let text = story(&sample_record(), Some(&head), sample::NOW).unwrap().render(Format::Table);
        let words: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = include_str!("show.golden");
        assert_eq!(words.join("\n"), expected.trim_end(), "as it is now:\n{}", words.join("\n"));
    }

    #[test]
    fn of_an_attached_sector_what_is_not_known_is_said_to_be_so() {
        let record = SectorRecord { pieces: Vec::new(), ..sample::record(sample::attached()) };
        let text = story(&record, None, sample::NOW).unwrap().render(Format::Table);
        for words in ["attached ", "attached there", "sealed CID", "sealed elsewhere", "deadline 3, partition 0"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        for words in ["submitted", "ticket ", "unsealed CID", "seed", "piece 0", "generation"] {
            assert!(!text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn programs_read_the_record() {
        let text = story(&sample_record(), None, sample::NOW).unwrap().render(Format::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["state"]["is"], "proving");
        assert_eq!(value["story"][0]["stage"], "pc1");
    }
}
