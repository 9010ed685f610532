//! By when a sector's next message must be on chain: what a person looks at before a machine is taken away.

use host::{
    exit::CliError,
    output::{Column, Listing},
};
use serde::Serialize;
use streams::{
    duty::binds,
    error::QueueError,
    id::{Epoch, Place, SectorId, Timestamp},
    kv::{Bucket, BucketName, Scanned},
    nats::Nats,
    records::ChainHead,
    sector::{SectorRecord, SectorState},
};

use crate::policy::{NetworkPolicy, PolicyOverride};

/// A message that must be on chain in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Due {
    /// Which: `pre-commit` or `prove-commit`.
    pub what: &'static str,
    /// The last epoch at which it counts.
    pub epoch: Epoch,
    /// What is lost after it.
    pub otherwise: &'static str,
}

/// What is due next for a sector; none before it has a ticket, and once it is proven.
#[must_use]
pub fn due(state: &SectorState, policy: &NetworkPolicy) -> Option<Due> {
    let state = state.of_chain();
    if let SectorState::Proving { .. } | SectorState::PreCommitExpired { .. } = state {
        return None;
    }
    if let Some(pre_commit) = state.pre_commit() {
        let epoch = pre_commit.epoch.saturating_add(policy.prove_commit_duration_max);
        return Some(Due { what: "prove-commit", epoch, otherwise: "number and deposit are lost" });
    }
    let ticket = match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(ticket),
        state => state.sealed().map(|sealed| &sealed.ticket),
    };
    let epoch = ticket?.epoch.saturating_add(policy.ticket_age_max);
    Some(Due { what: "pre-commit", epoch, otherwise: "the ticket expires: sealed anew" })
}

/// A sector that needs a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundSector {
    /// The sector.
    pub sector: SectorId,
    /// The place.
    pub place: Place,
    /// Its state.
    pub state: &'static str,
    /// What is due next, where the network's rules are known.
    pub due: Option<Due>,
    /// When that is, by the head as last seen.
    pub at: Option<Timestamp>,
}

/// The sectors that need one of these places, the most urgent first.
///
/// # Errors
///
/// The queue cannot be read.
pub async fn bound(nats: &Nats, places: &[Place], by: &PolicyOverride) -> Result<Vec<BoundSector>, QueueError> {
    let heads: Bucket<ChainHead> = Bucket::open(nats, BucketName::Chain).await?;
    let head = heads.get("head").await?.map(|entry| entry.value);
    let rules = head.as_ref().and_then(|head| NetworkPolicy::for_network(&head.network));
    let rules = rules.map(|rules| rules.overridden(by));
    let sectors: Bucket<SectorRecord> = Bucket::open(nats, BucketName::Sectors).await?;
    let mut scan = sectors.each(">").await?;
    let mut found = std::collections::BTreeMap::new();
    while let Some(scanned) = scan.next().await? {
        let Scanned::Entry(entry) = scanned else { continue };
        let record = entry.value;
        let Some(place) = places.iter().find(|place| binds(&record.state, place)) else {
            // What came first may have moved on meanwhile.
            found.remove(&record.id);
            continue;
        };
        let due = rules.as_ref().and_then(|rules| due(&record.state, rules));
        let at = due.zip(head.as_ref()).map(|(due, head)| time_of(due.epoch, head));
        let sector = BoundSector { sector: record.id, place: place.clone(), state: record.state.name(), due, at };
        found.insert(record.id, sector);
    }
    let mut found: Vec<BoundSector> = found.into_values().collect();
    found.sort_by_key(|sector| (sector.due.map_or(Epoch::MAX, |due| due.epoch), sector.sector));
    Ok(found)
}

/// When an epoch is, by the head as last seen.
fn time_of(epoch: Epoch, head: &ChainHead) -> Timestamp {
    let epoch_ms = i128::from(head.block_delay_secs) * 1000;
    let at = i128::from(head.at.0) + i128::from(epoch.saturating_sub(head.epoch)) * epoch_ms;
    Timestamp(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
}

/// The sectors with their deadlines, a line each.
///
/// # Errors
///
/// A sector is not representable in JSON.
pub fn listing(sectors: &[BoundSector], now: Timestamp) -> Result<Listing, CliError> {
    let mut listing = Listing::new([
        Column::new("SECTOR"),
        Column::new("PLACE"),
        Column::new("STATE"),
        Column::new("NEXT ON CHAIN"),
        Column::new("BY EPOCH").right(),
        Column::new("BY TIME (UTC)"),
        Column::new("LEFT").right(),
        Column::new("OTHERWISE"),
    ]);
    for sector in sectors {
        let none = || "-".to_owned();
        let cells = [
            sector.sector.to_string(),
            sector.place.to_string(),
            sector.state.to_owned(),
            sector.due.map_or_else(none, |due| due.what.to_owned()),
            sector.due.map_or_else(none, |due| due.epoch.to_string()),
            sector.at.map_or_else(none, clock),
            sector.at.map_or_else(none, |at| left(at, now)),
            sector.due.map_or_else(none, |due| due.otherwise.to_owned()),
        ];
        listing.row(cells, sector)?;
    }
    Ok(listing)
}

fn clock(at: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at.0 / 1000);
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn left(at: Timestamp, now: Timestamp) -> String {
    if at <= now {
        return "over".to_owned();
    }
    let minutes = at.ms_since(now) / 60_000;
    match minutes {
        0..60 => format!("{minutes}m"),
        60..1_440 => format!("{}h {}m", minutes / 60, minutes % 60),
        _ => format!("{}d {}h", minutes / 1_440, minutes % 1_440 / 60),
    }
}

#[cfg(test)]
mod tests {
    use streams::{
        id::StoreId,
        proof::{Bytes32, Drawn},
        sector::Placement,
    };

    use super::*;

    fn at() -> Placement {
        Placement { place: "here".parse().unwrap(), store: StoreId(uuid::Uuid::nil()), generation: 1 }
    }

    #[test]
    fn a_ticket_is_due_when_it_expires_and_nothing_is_before_it() {
        let policy = NetworkPolicy::mainnet();
        let comm_d = Bytes32([1; 32]);
        assert_eq!(due(&SectorState::TreeDDone { at: at(), comm_d }, &policy), None);
        let ticket = Drawn { epoch: 1_000, value: Bytes32([2; 32]) };
        let found = due(&SectorState::Ticketed { at: at(), comm_d, ticket }, &policy).unwrap();
        assert_eq!((found.what, found.epoch), ("pre-commit", 1_000 + 3_780));
    }

    #[test]
    fn an_epoch_has_a_time_on_both_sides_of_the_head() {
        let head = ChainHead {
            epoch: 100,
            tipset: vec![],
            block_delay_secs: 30,
            network: "mainnet".to_owned(),
            at: Timestamp(1_790_000_000_000),
        };
        assert_eq!(time_of(110, &head), Timestamp(1_790_000_300_000));
        assert_eq!(time_of(90, &head), Timestamp(1_789_999_700_000));
        assert_eq!(left(Timestamp(1_790_000_300_000), head.at), "5m");
        assert_eq!(left(Timestamp(1_790_000_300_000 + 3_600_000 * 50), head.at), "2d 2h");
        assert_eq!(left(head.at, head.at), "over");
        assert_eq!(clock(head.at), "2026-09-21 14:13:20");
    }
}
