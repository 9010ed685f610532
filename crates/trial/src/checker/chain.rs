//! The chain's log: which messages stand, and how deadlines closed.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cid::Cid;
use fil_actor_miner_state::v18::{
    DeclareFaultsRecoveredParams, PreCommitSectorBatchParams2, ProveCommitSectors3Params,
};
use fvm_ipld_encoding::from_slice;
use serde::Deserialize;

use super::{Evidence, Spot};
use crate::evidence::{CHAIN, Line};

/// Methods of a miner, by number.
pub(super) const POST: u64 = 5;
/// See [`POST`].
pub(super) const RECOVERED: u64 = 11;
/// See [`POST`].
pub(super) const PRE_COMMIT: u64 = 28;
/// See [`POST`].
pub(super) const PROVE_COMMIT: u64 = 34;

/// For so long a fork may show in seeds and challenges.
const FORK_EPOCHS: i64 = 200;

/// A line of the log, by its own words.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(super) enum ChainLine {
    Started {
        height: i64,
        head: String,
        finality: i64,
        pre_commit_challenge_delay: i64,
    },
    Tipset {
        height: i64,
        cid: String,
        messages: Vec<Message>,
    },
    Post {
        tipset: String,
        miner: Miner,
        deadline: u64,
        partitions: Vec<u64>,
        valid: bool,
    },
    DeadlineClosed {
        tipset: String,
        miner: Miner,
        deadline: u64,
        epoch: i64,
        partitions: Vec<Partition>,
    },
    Reorganised {
        abandoned: Vec<String>,
        height: i64,
    },
    Replaced {
        cid: String,
    },
    #[serde(other)]
    Other,
}

/// A miner, as a number or as people write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Miner {
    Number(u64),
    Written(String),
}

impl Miner {
    /// `f01000`, whichever letter the network uses.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Number(id) => format!("f0{id}"),
            Self::Written(text) => written(text),
        }
    }
}

fn written(text: &str) -> String {
    text.strip_prefix('t').map_or_else(|| text.to_owned(), |rest| format!("f{rest}"))
}

/// A message in a tipset.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    pub(super) cid: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) nonce: u64,
    pub(super) method: u64,
    params: String,
    pub(super) exit_code: u32,
}

/// A partition at the end of its deadline.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Partition {
    pub(super) partition: u64,
    pub(super) proven: bool,
    pub(super) faulty: Vec<u64>,
    pub(super) missed: Vec<u64>,
}

/// A sector in a pre-commit.
#[derive(Debug, Clone)]
pub(super) struct PreCommitted {
    pub(super) number: u64,
    pub(super) ticket_epoch: i64,
    pub(super) comm_r: String,
    /// None: zeros.
    pub(super) comm_d: Option<String>,
}

impl Message {
    /// The sectors, for a pre-commit that can be read.
    pub(super) fn pre_commits(&self) -> Option<Vec<PreCommitted>> {
        (self.method == PRE_COMMIT).then_some(())?;
        let params: PreCommitSectorBatchParams2 = from_slice(&STANDARD.decode(&self.params).ok()?).ok()?;
        let sector = |info: fil_actor_miner_state::v18::SectorPreCommitInfo| PreCommitted {
            number: info.sector_number,
            ticket_epoch: info.seal_rand_epoch,
            comm_r: digest(&info.sealed_cid),
            comm_d: info.unsealed_cid.0.as_ref().map(digest),
        };
        Some(params.sectors.into_iter().map(sector).collect())
    }

    /// The sectors' numbers, for a prove-commit that can be read.
    pub(super) fn prove_commits(&self) -> Option<Vec<u64>> {
        (self.method == PROVE_COMMIT).then_some(())?;
        let params: ProveCommitSectors3Params = from_slice(&STANDARD.decode(&self.params).ok()?).ok()?;
        Some(params.sector_activations.iter().map(|activation| activation.sector_number).collect())
    }

    /// Deadline, partition and sectors, for a declaration of recoveries that can be read.
    pub(super) fn recoveries(&self) -> Option<Vec<(u64, u64, Vec<u64>)>> {
        (self.method == RECOVERED).then_some(())?;
        let params: DeclareFaultsRecoveredParams = from_slice(&STANDARD.decode(&self.params).ok()?).ok()?;
        Some(params.recoveries.iter().map(|r| (r.deadline, r.partition, r.sectors.iter().collect())).collect())
    }

    pub(super) fn miner(&self) -> String {
        written(&self.to)
    }

    /// The params as they were sent.
    pub(super) fn params(&self) -> &str {
        &self.params
    }
}

fn digest(cid: &Cid) -> String {
    hex::encode(cid.hash().digest())
}

/// A line that is in a tipset which stands, or stood.
#[derive(Debug, Clone)]
pub(super) struct Landed<T> {
    pub(super) spot: Spot,
    pub(super) tipset: String,
    pub(super) height: i64,
    pub(super) value: T,
}

/// What verification said of a PoSt.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) miner: String,
    pub(super) deadline: u64,
    pub(super) partitions: Vec<u64>,
    pub(super) valid: bool,
}

/// How a deadline closed.
#[derive(Debug, Clone)]
pub(super) struct Close {
    pub(super) miner: String,
    pub(super) deadline: u64,
    pub(super) partitions: Vec<Partition>,
}

/// The chain as it was at the end.
#[derive(Debug, Default)]
pub(super) struct Chain {
    tipsets: BTreeMap<String, i64>,
    abandoned: HashSet<String>,
    messages: Vec<Landed<Message>>,
    pub(super) verdicts: Vec<Landed<Verdict>>,
    pub(super) closes: Vec<Landed<Close>>,
    /// Heights that reorganisations went back to.
    pub(super) reorganised: Vec<(Spot, i64)>,
    /// Messages that somebody else put in place of ours.
    pub(super) foreign: HashSet<String>,
    /// What the log says of the network.
    pub(super) finality: Option<i64>,
    pub(super) challenge_delay: Option<i64>,
}

impl Chain {
    pub(super) fn take(&mut self, Line { number: line, value }: Line<ChainLine>) {
        let spot = Spot { file: CHAIN, line };
        match value {
            ChainLine::Started { height, head, finality, pre_commit_challenge_delay } => {
                self.finality = Some(finality);
                self.challenge_delay = Some(pre_commit_challenge_delay);
                // The chain was saved before these: a restart of the node took them back.
                let gone = self.tipsets.iter().filter(|(cid, at)| **at > height || (**at == height && **cid != head));
                let gone: Vec<_> = gone.map(|(cid, _)| cid.clone()).collect();
                if !gone.is_empty() {
                    self.reorganised.push((spot, height));
                }
                self.abandoned.extend(gone);
            }
            ChainLine::Tipset { height, cid, messages } => {
                self.abandoned.remove(&cid);
                // Made again after a restart, it is the same one.
                if self.tipsets.insert(cid.clone(), height).is_none() {
                    let landed = |value| Landed { spot, tipset: cid.clone(), height, value };
                    self.messages.extend(messages.into_iter().map(landed));
                }
            }
            ChainLine::Post { tipset, miner, deadline, partitions, valid } => {
                let height = self.height_of(&tipset);
                let value = Verdict { miner: miner.written(), deadline, partitions, valid };
                self.verdicts.push(Landed { spot, tipset, height, value });
            }
            ChainLine::DeadlineClosed { tipset, miner, deadline, epoch, partitions } => {
                let value = Close { miner: miner.written(), deadline, partitions };
                self.closes.push(Landed { spot, tipset, height: epoch, value });
            }
            ChainLine::Reorganised { abandoned, height } => {
                self.reorganised.push((spot, height));
                self.abandoned.extend(abandoned);
            }
            ChainLine::Replaced { cid } => {
                self.foreign.insert(cid);
            }
            ChainLine::Other => {}
        }
    }

    /// Whether a tipset is part of the chain at the end.
    pub(super) fn stands(&self, tipset: &str) -> bool {
        !self.abandoned.contains(tipset)
    }

    /// Messages of the chain at the end, in order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Landed<Message>> {
        self.messages.iter().filter(|message| self.stands(&message.tipset))
    }

    /// Messages that were in a tipset, whether it stands or not.
    pub(super) fn ever(&self) -> impl Iterator<Item = &Landed<Message>> {
        self.messages.iter()
    }

    /// Whether a fork went back to some height shortly before this one.
    pub(super) fn is_forked_before(&self, height: i64) -> bool {
        self.reorganised.iter().any(|(_, to)| *to <= height && height - to <= FORK_EPOCHS)
    }

    /// The head's height at the end.
    pub(super) fn head(&self) -> i64 {
        self.tipsets.iter().filter(|(cid, _)| self.stands(cid)).map(|(_, height)| *height).max().unwrap_or(0)
    }

    fn height_of(&self, tipset: &str) -> i64 {
        self.tipsets.get(tipset).copied().unwrap_or(0)
    }
}

impl Evidence {
    /// Epochs from a pre-commit to its seed: the chain's word before the harness'.
    pub(super) fn challenge_delay(&self) -> i64 {
        self.chain.challenge_delay.unwrap_or(self.run.settings.challenge_delay)
    }
}
