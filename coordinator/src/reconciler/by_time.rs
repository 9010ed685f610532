//! What became true of a sector by time alone, or by what happened elsewhere: nobody will ever tell it.

use streams::{
    id::Epoch,
    sector::{MessageRef, SectorRecord, SectorState},
};

use super::{Reconciler, Seen};
use crate::{
    sector::{Event, LostStore},
    tickets::{is_too_old, pending_ticket},
};

/// A message joined so recently may still be on its way into the outbox, in a coordinator that lost its lease.
const OUTBOX_GRACE_MS: u64 = 60_000;

impl Reconciler {
    /// Tells the sector what is due; whether that could be done. `None`: nothing is.
    pub(super) async fn due_by_time(&self, record: &SectorRecord, seen: &Seen) -> Option<bool> {
        let event = self.event_due(record, seen).await?;
        match self.driver.tell(record.id, event).await {
            Ok(_) => Some(true),
            Err(error) => {
                tracing::warn!(sector = %record.id, "{}", host::exit::chain(&error));
                Some(false)
            }
        }
    }

    async fn event_due(&self, record: &SectorRecord, seen: &Seen) -> Option<Event> {
        let head = self.head.borrow().as_ref().map(|head| head.epoch);
        if let Some(head) = head {
            if let Some(event) = self.store_lost(record, seen, head) {
                return Some(event);
            }
            if let Some(ticket) = pending_ticket(&record.state)
                && is_too_old(&self.policy, ticket.epoch, head)
            {
                return Some(Event::TicketExpired { head });
            }
            if let Some(event) = self.expired(record, head).await {
                return Some(event);
            }
        }
        self.never_sent(record).await
    }

    fn store_lost(&self, record: &SectorRecord, seen: &Seen, head: Epoch) -> Option<Event> {
        let local = record.state.placement().map(|at| at.store);
        let kept = record.state.sealed().and_then(|sealed| sealed.persisted.as_ref()).map(|copy| copy.store);
        let lost = |store| LostStore { store, head, prove_commit_max: self.policy.prove_commit_duration_max };
        [local, kept]
            .into_iter()
            .flatten()
            .filter(|store| seen.lost.contains_key(store))
            .map(|store| Event::StoreLost(lost(store)))
            .find(|event| self.driver.registry().would_move(record, event))
    }

    /// The chain is asked before anything is given up: it may have the sector although the record does not know.
    async fn expired(&self, record: &SectorRecord, head: Epoch) -> Option<Event> {
        let pre_commit = record.state.pre_commit()?;
        let due = pre_commit.epoch.saturating_add(self.policy.prove_commit_duration_max);
        if head <= due.saturating_add(self.policy.pre_commit_clean_up_delay) {
            return None;
        }
        let event = Event::PreCommitExpired { due };
        if !self.driver.registry().would_move(record, &event) {
            return None;
        }
        let (miner, number) = (record.id.miner, record.id.number);
        let pre_committed = self.chain.pre_commit(miner, number, &Vec::new()).await;
        let proven = self.chain.sector(miner, number, &Vec::new()).await;
        match (pre_committed, proven) {
            (Ok(None), Ok(None)) => Some(event),
            (Ok(_), Ok(_)) => None,
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(sector = %record.id, "ask whether its pre-commit expired: {}", host::exit::chain(&error));
                None
            }
        }
    }

    async fn never_sent(&self, record: &SectorRecord) -> Option<Event> {
        let (SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. }) =
            record.state.of_chain()
        else {
            return None;
        };
        if self.driver.registry().now().ms_since(record.entered_at) < OUTBOX_GRACE_MS {
            return None;
        }
        self.is_absent(record, message).await.then(|| Event::NeverSent { message: message.clone() })
    }

    async fn is_absent(&self, record: &SectorRecord, message: &MessageRef) -> bool {
        let Some(sender) = self.miners.sender_named(&message.sender) else {
            tracing::error!(sector = %record.id, sender = message.sender, "it joined a message of a sender that is not configured any more");
            return false;
        };
        match sender.entry(message).await {
            Ok(Some(entry)) => !entry.sectors.contains(&record.id.number) || entry.miner != record.id.miner,
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(sector = %record.id, "read the outbox: {}", host::exit::chain(&error));
                false
            }
        }
    }
}
