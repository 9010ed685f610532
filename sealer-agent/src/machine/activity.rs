//! What a job does, as far as its machine is concerned: what it needs and how long it may take.

use serde::{Deserialize, Serialize};
use streams::{
    message::{PostTask, PostWork},
    stage::{Class, Stage},
};

use crate::order::{Order, Ordered};

/// A stage of a sector, or a half of a window PoSt. Its name is a table of `[stages]` in `agent.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Activity {
    /// Finding a place.
    Place,
    /// Fetching pieces into the staged file.
    AddPiece,
    /// The tree over the staged file.
    TreeD,
    /// Labelling.
    Pc1,
    /// Trees and replica.
    Pc2,
    /// Copying to a persistent store.
    Persist,
    /// Vanilla proofs of a seal.
    C1,
    /// The seal's SNARK.
    C2,
    /// Dropping layers.
    Finalize,
    /// Reading data back.
    Unseal,
    /// Vanilla proofs of a window PoSt.
    VanillaPost,
    /// The SNARK of a window PoSt.
    WindowPost,
}

impl Activity {
    /// Every one, in the order of a sector's life.
    pub(crate) const ALL: [Self; 12] = [
        Self::Place,
        Self::AddPiece,
        Self::TreeD,
        Self::Pc1,
        Self::Pc2,
        Self::Persist,
        Self::C1,
        Self::C2,
        Self::Finalize,
        Self::Unseal,
        Self::VanillaPost,
        Self::WindowPost,
    ];

    /// What an order asks for.
    pub(crate) fn of(order: &Order) -> Self {
        match &order.what {
            Ordered::Sector { task, .. } => task.stage.into(),
            Ordered::Partition { task } => Self::of_post(task),
        }
    }

    /// What a partition's task asks for.
    pub(crate) const fn of_post(task: &PostTask) -> Self {
        match task.work {
            PostWork::Vanilla { .. } => Self::VanillaPost,
            PostWork::Snark { .. } => Self::WindowPost,
        }
    }

    /// The name in configuration and tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::AddPiece => "add-piece",
            Self::TreeD => "tree-d",
            Self::Pc1 => "pc1",
            Self::Pc2 => "pc2",
            Self::Persist => "persist",
            Self::C1 => "c1",
            Self::C2 => "c2",
            Self::Finalize => "finalize",
            Self::Unseal => "unseal",
            Self::VanillaPost => "vanilla-post",
            Self::WindowPost => "window-post",
        }
    }

    /// The class whose slots it takes.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Place | Self::Pc1 => Class::Pc1Cpu,
            Self::Pc2 => Class::Pc2Gpu,
            Self::C2 => Class::C2Gpu,
            Self::AddPiece | Self::TreeD | Self::Persist | Self::C1 | Self::Finalize | Self::Unseal => Class::Io,
            Self::VanillaPost => Class::PostIo,
            Self::WindowPost => Class::PostGpu,
        }
    }
}

impl From<Stage> for Activity {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Place => Self::Place,
            Stage::AddPiece => Self::AddPiece,
            Stage::TreeD => Self::TreeD,
            Stage::Pc1 => Self::Pc1,
            Stage::Pc2 => Self::Pc2,
            Stage::Persist => Self::Persist,
            Stage::C1 => Self::C1,
            Stage::C2 => Self::C2,
            Stage::Finalize => Self::Finalize,
            Stage::Unseal => Self::Unseal,
        }
    }
}

impl std::fmt::Display for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_keeps_its_name_and_class() {
        for stage in Stage::ALL {
            let activity = Activity::from(stage);
            assert_eq!((activity.as_str(), activity.class()), (stage.as_str(), stage.class()));
        }
        for activity in Activity::ALL {
            assert_eq!(serde_json::to_value(activity).unwrap(), activity.as_str());
        }
    }
}
