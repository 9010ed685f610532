//! What an agent was told about taking work: the request on `ctl.agent.<agent>.duty`, and what its heartbeat says.

use serde::{Deserialize, Serialize};

use crate::{
    control::AgentRequest,
    id::{AgentId, Place, Timestamp},
    message::Text,
    sector::SectorState,
};

/// What an agent does about work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Duty {
    /// It takes whatever fits.
    #[default]
    Serving,
    /// It takes what is bound to its place, and nothing that any other agent could do.
    Cordoned,
    /// The same, until its place has another agent, nothing bound to it, or no time left: then it is drained.
    Draining {
        /// When nothing more is started, whatever is left.
        until: Timestamp,
    },
    /// It starts nothing any more, until it is resumed.
    Drained {
        /// Since when.
        at: Timestamp,
    },
    /// It starts nothing, until it is resumed.
    Paused,
}

impl Duty {
    /// Whether it begins work that is bound to its place, or work that any agent of the class could do.
    #[must_use]
    pub const fn takes(self, bound: bool) -> bool {
        match self {
            Self::Serving => true,
            Self::Cordoned | Self::Draining { .. } => bound,
            Self::Drained { .. } | Self::Paused => false,
        }
    }

    /// Whether it is what an agent does when nobody told it anything.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        matches!(self, Self::Serving)
    }

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Cordoned => "cordoned",
            Self::Draining { .. } => "draining",
            Self::Drained { .. } => "drained",
            Self::Paused => "paused",
        }
    }
}

/// Asked of an agent: from now on, do this about work. Answered once it holds: nothing that it forbids can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyRequest {
    /// What it is to do; `Drained` is the agent's own to say.
    pub duty: Duty,
    /// Who says so, for the log.
    pub by: String,
}

impl Text for DutyRequest {
    const KIND: &'static str = "ctl-duty";
    const VERSION: u64 = 1;
}

impl AgentRequest for DutyRequest {
    const VERB: &'static str = "duty";
    type Answer = DutyTaken;
}

/// An agent after such a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyTaken {
    /// Who.
    pub agent: AgentId,
    /// What it did about work before.
    pub before: Duty,
    /// What it does now.
    pub now: Duty,
    /// Jobs at hand: they go on to their end.
    pub jobs: u64,
}

/// Whether a sector needs this place: its files are there, and its replica is not kept elsewhere with a proof made.
#[must_use]
pub fn binds(state: &SectorState, place: &Place) -> bool {
    let here = state.placement().is_some_and(|at| at.place == *place);
    here && match state {
        SectorState::Parked { .. } => false,
        SectorState::Proving { finalized, .. } => !finalized,
        SectorState::C2Done { sealed, .. } | SectorState::ProveCommitSent { sealed, .. } => sealed.persisted.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::StoreId, sector::Placement};

    #[test]
    fn what_each_duty_begins() {
        let until = Timestamp(1);
        for (duty, bound, free) in [
            (Duty::Serving, true, true),
            (Duty::Cordoned, true, false),
            (Duty::Draining { until }, true, false),
            (Duty::Drained { at: until }, false, false),
            (Duty::Paused, false, false),
        ] {
            assert_eq!((duty.takes(true), duty.takes(false)), (bound, free), "{duty:?}");
        }
    }

    #[test]
    fn a_sector_binds_the_place_that_has_its_files() {
        let here: Place = "here".parse().unwrap();
        let at = Placement { place: here.clone(), store: StoreId(uuid::Uuid::nil()), generation: 1 };
        assert!(binds(&SectorState::Placed { at: at.clone() }, &here));
        assert!(!binds(&SectorState::Placed { at }, &"there".parse().unwrap()));
        assert!(!binds(&SectorState::Allocated {}, &here));
    }
}
