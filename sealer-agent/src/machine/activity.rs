//! What a job does, as far as its machine is concerned: what it needs and how long it may take.

use serde::{Deserialize, Serialize};
use streams::{
    message::{PostTask, PostWork},
    stage::{Class, Stage},
};

use crate::order::{Order, Ordered};

/// A stage of a sector, or a half of a window PoSt. Its name is a table of `[stages]` in `agent.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Activity {
    /// A stage of a sector.
    Stage(Stage),
    /// Vanilla proofs of a window PoSt.
    VanillaPost,
    /// The SNARK of a window PoSt.
    WindowPost,
}

impl Activity {
    /// Every one: stages in the order of a sector's life, then those of a window PoSt.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Stage::ALL.into_iter().map(Self::Stage).chain([Self::VanillaPost, Self::WindowPost])
    }

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
            Self::Stage(stage) => stage.as_str(),
            Self::VanillaPost => "vanilla-post",
            Self::WindowPost => "window-post",
        }
    }

    /// The class whose slots it takes.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Stage(stage) => stage.class(),
            Self::VanillaPost => Class::PostIo,
            Self::WindowPost => Class::PostGpu,
        }
    }
}

impl From<Stage> for Activity {
    fn from(stage: Stage) -> Self {
        Self::Stage(stage)
    }
}

impl TryFrom<String> for Activity {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::all().find(|activity| activity.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::as_str).collect();
            format!("there is no stage {name:?}: they are {}", names.join(", "))
        })
    }
}

impl From<Activity> for String {
    fn from(activity: Activity) -> Self {
        activity.as_str().to_owned()
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
    fn names_are_read_back_and_others_refused() {
        for activity in Activity::all() {
            assert_eq!(Activity::try_from(activity.to_string()), Ok(activity));
        }
        let refused = Activity::try_from("pc3".to_owned()).unwrap_err();
        assert!(refused.starts_with("there is no stage \"pc3\": they are place, add-piece, tree-d"), "{refused}");
    }
}
