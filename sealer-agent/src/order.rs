//! What a job was ordered to do: kept in its directory, so that another run, or another agent, can go on with it.

use serde::{Deserialize, Serialize};
use streams::{
    message::{ClaimRef, PostTask, Task, Text},
    records::JobSubject,
    stage::{Class, Stage},
};

/// An order for one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// The subject of its task: one open task has it.
    pub(crate) subject: String,
    /// The class whose slot it takes.
    pub(crate) class: Class,
    /// What to do.
    pub(crate) what: Ordered,
}

/// Work of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub(crate) enum Ordered {
    /// A stage of a sector.
    Sector {
        /// The task.
        task: Task,
        /// The claim it began under.
        claim: ClaimRef,
    },
    /// One half of a window PoSt.
    Partition {
        /// The task.
        task: Box<PostTask>,
    },
}

impl Text for Order {
    const KIND: &'static str = "job-order";
    const VERSION: u64 = 1;
}

impl Order {
    /// What the job is shown as.
    pub(crate) fn shown(&self) -> JobSubject {
        match &self.what {
            Ordered::Sector { task, .. } => JobSubject::Sector { sector: task.sector, stage: task.stage },
            Ordered::Partition { task } => JobSubject::Partition {
                class: self.class,
                miner: task.miner,
                open: task.open,
                partition: task.partition,
            },
        }
    }

    /// Which attempt.
    pub(crate) const fn attempt(&self) -> u32 {
        match &self.what {
            Ordered::Sector { claim, .. } => claim.attempt,
            Ordered::Partition { task } => task.attempt,
        }
    }

    /// Whether another run can go on with what its prover does. An unseal writes into scratch that is gone with its
    /// agent; placing and persisting have no prover.
    pub(crate) const fn outlives_its_agent(&self) -> bool {
        match &self.what {
            Ordered::Sector { task, .. } => match task.stage {
                Stage::AddPiece | Stage::TreeD | Stage::Pc1 | Stage::Pc2 | Stage::C1 | Stage::C2 | Stage::Finalize => {
                    true
                }
                Stage::Place | Stage::Persist | Stage::Unseal => false,
            },
            Ordered::Partition { .. } => true,
        }
    }
}
