//! What a chain does to those who trusted it: tipsets are abandoned, waiting messages are lost or replaced.

use chain::message::SignedMessage;
use cid::Cid;
use fvm_shared::address::Address;
use serde::{Deserialize, Serialize};
use streams::id::Epoch;

use crate::{
    devnet::Devnet,
    journal::Line,
    mempool::Rejected,
    tipset::{Included, Tipset},
};

/// How a reorganisation goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upheaval {
    /// Which messages of the abandoned tipsets do not wait again.
    pub lose: Lose,
    /// New tipsets, without messages, come in the place of the abandoned ones.
    pub refill: bool,
}

/// Messages of abandoned tipsets that are in no pool afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lose {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those with these CIDs.
    #[serde(untagged)]
    These(Vec<String>),
}

impl Lose {
    fn takes(&self, cid: &Cid) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::These(cids) => cids.contains(&cid.to_string()),
        }
    }
}

/// Which waiting messages are meant; all when nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this sender.
    pub from: Option<Address>,
    /// Those with this nonce.
    pub nonce: Option<u64>,
}

impl Devnet {
    /// Abandons the last `depth` tipsets. Their messages wait again; the clock stays, and the next tipset is on a new
    /// branch, with other tickets.
    pub fn reorganise(&mut self, depth: usize) -> anyhow::Result<Epoch> {
        self.reorganise_so(depth, &Upheaval::default())
    }

    /// The same, as `upheaval` says.
    pub fn reorganise_so(&mut self, depth: usize, upheaval: &Upheaval) -> anyhow::Result<Epoch> {
        let keep = self.tipsets.len().saturating_sub(depth).max(1);
        let abandoned = self.tipsets.split_off(keep);
        self.branch += 1;
        let cids = abandoned.iter().map(|tipset| tipset.cid.to_string()).collect();
        let messages = abandoned.into_iter().flat_map(|tipset| tipset.messages);
        let (lost, waiting): (Vec<Included>, Vec<Included>) =
            messages.partition(|included| upheaval.lose.takes(&included.cid));
        let names = |messages: &[Included]| messages.iter().map(|included| included.cid.to_string()).collect();
        let (height, head) = self.head_names();
        self.journal.note(Line::Reorganised {
            depth,
            abandoned: cids,
            height,
            head,
            waiting: names(&waiting),
            lost: names(&lost),
        })?;
        if upheaval.refill {
            self.refill()?;
        }
        let ledger = self.ledger_after_head()?;
        self.mempool.put_back(&ledger, waiting);
        Ok(self.height())
    }

    /// Lets the clock run again from the head to where it stands, with an empty pool.
    fn refill(&mut self) -> anyhow::Result<()> {
        let pool = std::mem::take(&mut self.mempool);
        let height = self.height();
        let rounds = (self.epoch - height).unsigned_abs();
        let null_rounds = std::mem::take(&mut self.null_rounds);
        self.epoch = height;
        let filled = self.advance(rounds);
        self.mempool = pool;
        self.null_rounds = null_rounds;
        filled.map(drop)
    }

    /// Forgets waiting messages; their CIDs.
    pub fn drop_waiting(&mut self, filter: &Filter) -> anyhow::Result<Vec<Cid>> {
        let ledger = self.ledger_after_head()?;
        let from = filter.from.map(|from| ledger.key_of(&from).unwrap_or(from));
        let dropped = self.mempool.drop_where(|key, nonce| {
            from.is_none_or(|from| from == *key) && filter.nonce.is_none_or(|wanted| wanted == nonce)
        });
        let height = self.height();
        self.journal.note(Line::Dropped { cids: dropped.iter().map(ToString::to_string).collect(), height })?;
        Ok(dropped)
    }

    /// Puts a message in the place of the waiting one with its sender and nonce, whatever either pays.
    pub fn replace(&mut self, signed: SignedMessage) -> anyhow::Result<Result<Cid, Rejected>> {
        let ledger = self.ledger_after_head()?;
        let (from, nonce) = (signed.message.from, signed.message.sequence);
        let key = ledger.key_of(&from).unwrap_or(from);
        let old = self.mempool.take(&key, nonce);
        let cid = match self.mempool.push(&ledger, signed) {
            Ok(cid) => cid,
            Err(refused) => {
                self.mempool.put_back(&ledger, old);
                return Ok(Err(refused));
            }
        };
        let height = self.height();
        self.journal.note(Line::Replaced {
            cid: cid.to_string(),
            from: chain::address::print(&from),
            nonce,
            old: old.map(|included| included.cid.to_string()),
            height,
        })?;
        Ok(Ok(cid))
    }

    /// The head's height and CID.
    pub(crate) fn head_names(&self) -> (Epoch, String) {
        (self.height(), self.tipsets.last().map(|tipset: &Tipset| tipset.cid.to_string()).unwrap_or_default())
    }
}
