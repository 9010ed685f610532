//! A reason in words for a person.

use streams::id::Place;

use super::{Facts, MessageStage, Reason};
use crate::view::{clock_time, span};

pub(super) fn of(reason: &Reason, facts: &Facts<'_>) -> String {
    match reason {
        Reason::Running { agent, attempt, since } => {
            format!("attempt {attempt} runs on {agent} for {}", span(facts.now.ms_since(*since)))
        }
        Reason::ResultWaits => "its result is stored and being judged".to_owned(),
        Reason::NotBefore { until, because } => format!("not before {} UTC: {because}", clock_time(*until)),
        Reason::NotQueued => "its task is not in the queue: the next pass of the reconciler puts it there".to_owned(),
        Reason::NoAgent { class, place: None, .. } => format!("no agent of class {class} is alive"),
        Reason::NoAgent { class, place: Some(place), silent_since } => {
            let silent = silent_since.map(|at| format!(", silent since {} UTC", clock_time(at))).unwrap_or_default();
            format!("waits for an agent of class {class} at place {place}{silent}; its files are there")
        }
        Reason::SlotsBusy { class, place, slots } => {
            format!("all {slots} slots of class {class}{} are busy", at(place.as_ref()))
        }
        Reason::AgentsHeld { class, place, agents } => format!(
            "every agent of class {class}{} was told to take no such work: {}; `coordinator agents resume` ends that",
            at(place.as_ref()),
            agents.join(", ")
        ),
        Reason::LeftToOthers { class } => {
            format!("the only agent of class {class} failed at it and asked for another to try")
        }
        Reason::Queued { class, place } => format!("queued; a slot of class {class}{} is free", at(place.as_ref())),
        Reason::Seed { epoch, pre_commit, head } => {
            let head = head.map(|head| format!(", the head is at {head}")).unwrap_or_default();
            match epoch {
                Some(epoch) => format!("waits for the seed, drawn at epoch {epoch}{head}"),
                None => format!("waits for the seed of its pre-commit at epoch {pre_commit}{head}"),
            }
        }
        Reason::Batch { until: None, .. } => "its message is being made".to_owned(),
        Reason::Batch { until: Some(until), threshold } => {
            format!("waits for its batch until {} UTC, or until {threshold} sectors wait", clock_time(*until))
        }
        Reason::Message { message, stage } => format!("waits for message nonce {}: {}", message.nonce, so_far(stage)),
        Reason::Succession { by: None } => {
            "its pre-commit expired: a new sector for its pieces is to be made".to_owned()
        }
        Reason::Succession { by: Some(by) } => format!("its pre-commit expired: sector {by} takes its pieces over"),
        Reason::Parked { code, text } => {
            format!("reason {code}: {text}; go on with `coordinator sectors retry {}`", facts.record.id)
        }
        Reason::AtEnd { state } => format!("nothing more is to be done: it is {state}"),
    }
}

fn at(place: Option<&Place>) -> String {
    place.map(|place| format!(" at place {place}")).unwrap_or_default()
}

fn so_far(stage: &MessageStage) -> String {
    match stage {
        MessageStage::NotSigned => "not signed yet".to_owned(),
        MessageStage::Journaled => "signed, and not taken by a node yet".to_owned(),
        MessageStage::Pushed { at } => format!("pushed at {} UTC, not on chain yet", clock_time(*at)),
        MessageStage::Landed { height, settled: true, .. } => format!("settled, landed at epoch {height}"),
        MessageStage::Landed { height, confirmations: Some(confirmations), settled: false } => {
            format!("landed at epoch {height}, {confirmations} confirmations")
        }
        MessageStage::Landed { height, confirmations: None, settled: false } => format!("landed at epoch {height}"),
        MessageStage::Displaced => "another message took its nonce".to_owned(),
    }
}
