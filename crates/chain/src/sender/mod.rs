//! The one place that sends messages, each of them once.
//!
//! ```text
//! send:  estimate ─► nonce ─► join (sectors' records) ─► sign ─► journal (create-only) ─► first push
//! pump:  journaled ─► pushed ─► landed ─► settled        again and again, the same bytes
//!            └───────────┴─► displaced                   the nonce is final with another message
//! ```
//!
//! A crash before the journal leaves nothing that could land; sectors that had joined find no entry with their number
//! in it ([`Sender::entry`]) and may go elsewhere. A crash after it leaves signed bytes, and the next process pushes
//! exactly those. There is one sender per address, and two that believe so do no harm: the key `<sender>.<nonce>` can
//! be created once.

mod gas;
mod outbox;
mod verdict;

use std::{error::Error, fmt, future::Future, sync::Arc};

use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use host::clock::Clock;
use serde::{Deserialize, Serialize};
use streams::{
    error::QueueError,
    id::{Epoch, MinerId, SectorNumber, Timestamp},
    nats::Nats,
    proof::ProofBytes,
    records::{Fate, OutboxEntry, Signed},
    sector::MessageRef,
};
use tokio::sync::Mutex;

use crate::{
    address,
    api::{ChainApi, TipSetKey},
    cids,
    error::{ChainError, Fault},
    json::TokenJson,
    key::{KeyError, LocalKey},
    message::BadMessage,
};

use outbox::{Open, Outbox};
use verdict::Seen;

/// How messages are priced and when they are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SenderConfig {
    /// The estimated gas limit is multiplied by so many hundredths.
    pub gas_limit_percent: u64,
    /// The most a message may cost (attoFIL); the fee cap is lowered to it. Zero means no limit.
    pub max_fee: TokenJson,
    /// Epochs after which a landed message counts as settled.
    pub confidence: Epoch,
    /// Epochs after which a used nonce is final: a message of ours that is not on chain then can never land.
    pub finality: Epoch,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self { gas_limit_percent: 125, max_fee: TokenJson::default(), confidence: 5, finality: 900 }
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// To.
    pub to: Address,
    /// Method number.
    pub method: u64,
    /// Its name, for people.
    pub method_name: &'static str,
    /// attoFIL to send along.
    pub value: TokenAmount,
    /// CBOR parameters.
    pub params: Vec<u8>,
    /// The miner it is about.
    pub miner: MinerId,
    /// The sectors it carries.
    pub sectors: Vec<SectorNumber>,
}

/// A message that was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node; an exit code in it means that the message would fail.
    #[error("send {method}")]
    Chain {
        /// The message's method.
        method: String,
        /// What the node said.
        #[source]
        source: ChainError,
    },
    /// The outbox.
    #[error("outbox of {sender}")]
    Queue {
        /// The sender.
        sender: String,
        /// What failed.
        #[source]
        source: QueueError,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The message cannot be written.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// The caller's records could not be changed first.
    #[error("join message {sender}/{nonce}")]
    Join {
        /// The sender.
        sender: String,
        /// The nonce.
        nonce: u64,
        /// The caller's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process sent with this address and nonce. The next try takes a later one.
    #[error("nonce {nonce} of {sender} was taken by another process")]
    NonceTaken {
        /// The sender.
        sender: String,
        /// The nonce.
        nonce: u64,
    },
}

impl SendError {
    /// The exit code with which the message would fail, where that is why it was not sent.
    #[must_use]
    pub fn exit_code(&self) -> Option<u32> {
        match self {
            Self::Chain { source, .. } => source.exit_code(),
            _ => None,
        }
    }

    /// Whether the same message may be sent later without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Chain { source, .. } => source.is_retryable(),
            Self::Queue { .. } | Self::NonceTaken { .. } => true,
            _ => false,
        }
    }
}

/// A message that a node would not take. It stays in the outbox and is pushed again.
#[derive(Debug)]
pub struct Refusal {
    /// The message.
    pub message: MessageRef,
    /// What the node said.
    pub error: ChainError,
}

/// What one round of [`Sender::pump`] saw.
#[derive(Debug, Default)]
pub struct Pumped {
    /// Entries whose fate changed, as they now are.
    pub changed: Vec<OutboxEntry>,
    /// Entries that the node did not take.
    pub refused: Vec<Refusal>,
}

/// Sends for one address.
pub struct Sender {
    chain: Arc<dyn ChainApi>,
    key: LocalKey,
    config: SenderConfig,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    /// Held while a message is between its nonce and the journal.
    sending: Mutex<()>,
    /// Held by one round of the pump.
    pumping: Mutex<()>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.outbox.sender())
    }
}

impl Sender {
    /// Opens the outbox of the key's address and takes up what is not settled in it.
    pub async fn open(
        nats: &Nats,
        chain: Arc<dyn ChainApi>,
        key: LocalKey,
        config: SenderConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SendError> {
        let sender = address::print(&key.address());
        let outbox = Outbox::open(nats, sender).await?;
        Ok(Self { chain, key, config, clock, outbox, sending: Mutex::new(()), pumping: Mutex::new(()) })
    }

    /// Takes up what another process did with this address since [`Sender::open`]. To be called when the role of the
    /// one that sends is taken over from it.
    pub async fn take_over(&self) -> Result<(), SendError> {
        let _sending = self.sending.lock().await;
        let _pumping = self.pumping.lock().await;
        self.outbox.reload().await
    }

    /// The address it sends for.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.key.address()
    }

    /// The address as the chain prints it: the first half of the keys in `MESSAGES`.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.outbox.sender()
    }

    /// Sends a message once. `join` is called with the message's name before anything is signed, so that sectors can
    /// join it by compare-and-set; if it fails, nothing is sent. (It must not call [`Sender::entry`], which waits for
    /// the send in progress.)
    ///
    /// When this returns the message is in the outbox, and will be pushed until it has landed, whatever happens to
    /// this process. An error after `join` was called means that it is *not* there, except for a queue error and a
    /// taken nonce: what is under its name then, and which sectors that carries, [`Sender::entry`] tells.
    pub async fn send<J, F>(&self, outgoing: Outgoing, join: J) -> Result<MessageRef, SendError>
    where
        J: FnOnce(MessageRef) -> F + Send,
        F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send,
    {
        let _sending = self.sending.lock().await;
        let chain = |source| SendError::Chain { method: outgoing.method_name.to_owned(), source };
        let pending = self.chain.mpool_nonce(&self.key.address()).await.map_err(chain)?;
        let nonce = self.outbox.next_nonce(pending);
        let name = MessageRef { sender: self.sender().to_owned(), nonce };

        // Estimated before anybody joins: a message that would fail leaves nothing to be undone.
        let bare = Message {
            version: 0,
            from: self.key.address(),
            to: outgoing.to,
            sequence: nonce,
            value: outgoing.value.clone(),
            method_num: outgoing.method,
            params: outgoing.params.clone().into(),
            gas_limit: 0,
            gas_fee_cap: TokenAmount::from_atto(0),
            gas_premium: TokenAmount::from_atto(0),
        };
        let estimated = self.chain.estimate_gas(&bare).await.map_err(chain)?;
        let message = gas::price(bare, &estimated, &self.config);

        join(name.clone()).await.map_err(|source| SendError::Join { sender: name.sender.clone(), nonce, source })?;

        let signed = self.key.sign_message(message)?;
        let bytes = signed.to_cbor()?;
        let entry = OutboxEntry {
            message: name.clone(),
            method: outgoing.method_name.to_owned(),
            miner: outgoing.miner,
            sectors: outgoing.sectors,
            signed: vec![Signed { cid: signed.cid()?.to_string(), bytes: ProofBytes(bytes.clone()) }],
            created_at: self.now(),
            fate: Fate::Journaled {},
        };
        self.outbox.journal(entry).await?;
        // The pump repeats this; a refusal here is seen there.
        if let Err(error) = self.chain.mpool_push(&bytes).await {
            tracing::debug!(sender = %name.sender, nonce, "first push: {error}");
        }
        Ok(name)
    }

    /// Looks after every message that is not settled: pushes its bytes again, looks for it on chain, and records what
    /// it finds. To be called about once an epoch.
    pub async fn pump(&self) -> Result<Pumped, SendError> {
        let _pumping = self.pumping.lock().await;
        let mut pumped = Pumped::default();
        let open = self.outbox.open_entries();
        let Some(oldest) = open.first() else { return Ok(pumped) };
        let chain = self.look_at_chain().await.map_err(|e| pump_error(oldest, e))?;
        for entry in open {
            let seen = self.look_for(&entry.value, &chain).await.map_err(|e| pump_error(&entry, e))?;
            let mut pushed = false;
            if seen == Seen::Nowhere {
                match self.push(&entry.value).await {
                    Ok(()) => pushed = true,
                    // It landed, or another did, since the chain was looked at: the next round sees which.
                    Err(ChainError { fault: Fault::NonceTooLow(_), .. }) => {}
                    Err(error) => pumped.refused.push(Refusal { message: entry.value.message.clone(), error }),
                }
            }
            let depth = (chain.head, self.config.confidence);
            if let Some(fate) = verdict::fate(&entry.value.fate, &seen, pushed, depth, self.now())
                && let Some(changed) = self.outbox.amend(entry, fate).await?
            {
                pumped.changed.push(changed);
            }
        }
        Ok(pumped)
    }

    /// An entry of the outbox. Waits for a send in progress, so that "absent" means that the message was never signed
    /// into the journal and this process is not about to.
    pub async fn entry(&self, message: &MessageRef) -> Result<Option<OutboxEntry>, SendError> {
        let _sending = self.sending.lock().await;
        self.outbox.get(message).await
    }

    async fn look_at_chain(&self) -> Result<ChainNow, ChainError> {
        let head = self.chain.head().await?;
        let nonce_head = self.nonce_at(&head.key).await?;
        Ok(ChainNow { head: head.height, tipset: head.key, nonce_head })
    }

    /// The nonce of the next message in the state that `tipset` was made on; an account without any is at zero.
    async fn nonce_at(&self, tipset: &TipSetKey) -> Result<u64, ChainError> {
        match self.chain.actor(&self.key.address(), tipset).await {
            Ok(actor) => Ok(actor.nonce),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn look_for(&self, entry: &OutboxEntry, chain: &ChainNow) -> Result<Seen, ChainError> {
        // The newest replacement is the likeliest to have landed.
        for signed in entry.signed.iter().rev() {
            // An unreadable CID cannot come from this program; skipping it leaves the nonce to decide.
            let Ok(cid) = cids::parse(&signed.cid) else { continue };
            if let Some(lookup) = self.chain.search_message(&cid).await? {
                return Ok(Seen::OnChain(lookup));
            }
        }
        let nonce = entry.message.nonce;
        if chain.nonce_head <= nonce {
            return Ok(Seen::Nowhere);
        }
        let deep = self.chain.tipset_by_height((chain.head - self.config.finality).max(0), &chain.tipset).await?;
        Ok(if self.nonce_at(&deep.key).await? > nonce { Seen::NonceFinal } else { Seen::NonceUsed })
    }

    async fn push(&self, entry: &OutboxEntry) -> Result<(), ChainError> {
        match entry.signed.last() {
            Some(signed) => self.chain.mpool_push(&signed.bytes.0).await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_unix_ms())
    }
}

/// The chain at the start of a round.
struct ChainNow {
    head: Epoch,
    tipset: TipSetKey,
    nonce_head: u64,
}

fn pump_error(entry: &Open, source: ChainError) -> SendError {
    SendError::Chain { method: entry.value.method.clone(), source }
}
