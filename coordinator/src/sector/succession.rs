//! The end of a pre-commit that was not proven in time, and what becomes of the pieces.
//!
//! Three records, each written before the next effect: that a successor is wanted, which number it has, that it exists.
//! A crash between any two is taken up where it stands; two coordinators at once are told apart by compare-and-set.

use streams::{
    id::{Epoch, SectorId},
    sector::{SectorRecord, SectorState as S, Succession},
};

use super::{Change, refusal::Refused};

/// The chain has forgotten the pre-commit: whatever was made for it is worth nothing.
pub(super) fn expired(mut record: SectorRecord, due: Epoch) -> Result<Change, Refused> {
    let state = match &record.state {
        S::Parked { was, .. } => was.of_chain(),
        state => state.of_chain(),
    };
    let mut dropped = None;
    let pre_commit = match state {
        S::PreCommitted { pre_commit, .. } | S::SeedReady { pre_commit, .. } | S::C2Done { pre_commit, .. } => {
            pre_commit.clone()
        }
        S::C1Done { pre_commit, c1, .. } => {
            dropped = Some(c1.clone());
            pre_commit.clone()
        }
        _ => return Err(Refused::not_now("pre-commit expired", &record.state)),
    };
    let what =
        format!("the pre-commit of epoch {} expired at epoch {due}: number and deposit are lost", pre_commit.epoch);
    record.state = S::PreCommitExpired { pre_commit, due, successor: Succession::Wanted {} };
    Ok(Change { record, what, dropped })
}

/// The first number that is recorded is the successor's; any other is never used.
pub(super) fn named(mut record: SectorRecord, by: SectorId) -> Result<Change, Refused> {
    match &mut record.state {
        S::PreCommitExpired { successor: successor @ Succession::Wanted {}, .. } => {
            *successor = Succession::Named { by };
        }
        S::PreCommitExpired { .. } => return Err(Refused::Again("a successor")),
        state => return Err(Refused::not_now("successor named", state)),
    }
    Ok(Change::new(record, format!("its pieces go into sector {by}")))
}

/// From here on it is never made again, even if it should be removed one day.
pub(super) fn begun(mut record: SectorRecord, by: SectorId) -> Result<Change, Refused> {
    match &mut record.state {
        S::PreCommitExpired { successor, .. } => match successor {
            Succession::Named { by: named } if *named == by => *successor = Succession::Begun { by },
            Succession::Begun { .. } => return Err(Refused::Again("the successor's beginning")),
            Succession::Wanted {} | Succession::Named { .. } => {
                return Err(Refused::not_now("successor begun", &record.state));
            }
        },
        state => return Err(Refused::not_now("successor begun", state)),
    }
    Ok(Change::new(record, format!("sector {by} is submitted in its place")))
}
