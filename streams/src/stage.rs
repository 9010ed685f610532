//! Stages of a sector's life and the resource classes that do them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a task needs. An agent serves one or more classes; one durable consumer per class carries its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Placement (free) and PC1 (bound): cores with SHA extensions, memory bandwidth.
    #[serde(rename = "pc1-cpu")]
    Pc1Cpu,
    /// PC2, bound to the sector's place.
    #[serde(rename = "pc2-gpu")]
    Pc2Gpu,
    /// C2, free: any agent.
    #[serde(rename = "c2-gpu")]
    C2Gpu,
    /// Work next to the disks: add-piece, tree-d, C1, persist, finalize, unseal. Bound.
    Io,
    /// Vanilla window-PoSt proofs, read where the replica is. Bound.
    PostIo,
    /// Window-PoSt SNARKs, free.
    PostGpu,
}

impl Class {
    /// Every class, in the order tables show them.
    pub const ALL: [Self; 6] = [Self::Pc1Cpu, Self::Pc2Gpu, Self::C2Gpu, Self::Io, Self::PostIo, Self::PostGpu];

    /// The name on command lines, in subjects and of the durable consumer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pc1Cpu => "pc1-cpu",
            Self::Pc2Gpu => "pc2-gpu",
            Self::C2Gpu => "c2-gpu",
            Self::Io => "io",
            Self::PostIo => "post-io",
            Self::PostGpu => "post-gpu",
        }
    }

    /// Whether tasks of this class can be for one place only. (`pc1-cpu` has both: placement is free, PC1 bound.)
    #[must_use]
    pub const fn has_bound_tasks(self) -> bool {
        matches!(self, Self::Pc1Cpu | Self::Pc2Gpu | Self::Io | Self::PostIo)
    }

    /// Whether tasks of this class can go to any agent.
    #[must_use]
    pub const fn has_free_tasks(self) -> bool {
        matches!(self, Self::Pc1Cpu | Self::C2Gpu | Self::PostGpu)
    }

    /// Whether its tasks travel on `POST_TASKS` rather than `TASKS`.
    #[must_use]
    pub const fn is_post(self) -> bool {
        matches!(self, Self::PostIo | Self::PostGpu)
    }

    /// Whether the class promises a GPU.
    #[must_use]
    pub const fn wants_gpu(self) -> bool {
        matches!(self, Self::Pc2Gpu | Self::C2Gpu | Self::PostGpu)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A class that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown class \"{0}\": the classes are pc1-cpu, pc2-gpu, c2-gpu, io, post-io, post-gpu")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|c| c.as_str() == text).ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// One task's worth of work on a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Find a place: reserve room in a local store.
    Place,
    /// Fetch the pieces and write them, Fr32-padded, into the staged file.
    AddPiece,
    /// Build the binary tree over the staged file: CommD.
    TreeD,
    /// SDR labelling; the ticket is taken when this is claimed.
    Pc1,
    /// Column hashes, tree-c, tree-r-last, the replica: CommR.
    Pc2,
    /// Copy sealed file and cache to a persistent store.
    Persist,
    /// Vanilla proofs for the interactive seed.
    C1,
    /// The Groth16 proof.
    C2,
    /// Drop layers and trees that proving does not need.
    Finalize,
    /// Read a piece back out of the replica.
    Unseal,
}

impl Stage {
    /// Every stage, in the order of a sector's life.
    pub const ALL: [Self; 10] = [
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
    ];

    /// The name in subjects and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
        }
    }

    /// The class that does it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Place | Self::Pc1 => Class::Pc1Cpu,
            Self::Pc2 => Class::Pc2Gpu,
            Self::C2 => Class::C2Gpu,
            Self::AddPiece | Self::TreeD | Self::Persist | Self::C1 | Self::Finalize | Self::Unseal => Class::Io,
        }
    }

    /// Whether it must run where the sector's files are.
    #[must_use]
    pub const fn is_bound(self) -> bool {
        !matches!(self, Self::Place | Self::C2)
    }

    /// Whether it changes the sector's files in place, so that only the lock holder's result counts.
    /// C1 and C2 only read: any result that verifies wins, whoever made it, however late.
    #[must_use]
    pub const fn writes_in_place(self) -> bool {
        !matches!(self, Self::C1 | Self::C2 | Self::Unseal)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stage that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown stage \"{0}\"")]
pub struct UnknownStage(pub String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}
