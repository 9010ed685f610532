//! The one place that sends messages, each of them once.
//!
//! ```text
//! send:  estimate ─► nonce ─► join (sectors' records) ─► sign ─► journal (create-only) ─► first push
//! pump:  journaled ─► pushed ─► landed ─► settled        again and again, the same bytes
//!            │           │ ▲       │          │
//!            │           │ └───────┴── fork ──┘          until the landing is final
//!            └───────────┴─► displaced                   the nonce is final with another message
//! ```
//!
//! A crash before the journal leaves nothing that could land; sectors that had joined find no entry with their number
//! in it ([`Sender::entry`]) and may go elsewhere. A crash after it leaves signed bytes, and the next process pushes
//! exactly those. There is one sender per address, and two that believe so do no harm: the key `<sender>.<nonce>` can
//! be created once.
//!
//! What is settled by confidence is looked at again after every fork until finality: a landing that is gone puts the
//! message back to `pushed`, and its bytes are pushed again. A nonce that nothing has, before one that waits, is filled
//! with a message that does nothing, journaled like any other.
//!
//! Nothing is concluded from one answer of a node alone where acting on a lie would do harm: a landing settles when
//! two looks agree, a settled one is given up when two looks miss it, and a gap is filled when it was there twice.

mod error;
mod gap;
mod gas;
mod outbox;
mod pump;
mod verdict;

use std::{error::Error, fmt, future::Future, sync::Arc};

use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use host::{clock::Clock, failpoint};
use serde::{Deserialize, Serialize};
use streams::{
    id::{Epoch, MinerId, SectorNumber, Timestamp},
    nats::Nats,
    proof::ProofBytes,
    records::{Fate, OutboxEntry, Signed},
    sector::MessageRef,
};
use tokio::sync::Mutex;

pub use self::error::{Refusal, SendError};
use self::{outbox::Outbox, pump::Watching};
use crate::{address, api::ChainApi, json::TokenJson, key::LocalKey};

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
    /// Held by one round of the pump, with what it remembers.
    pumping: Mutex<Watching>,
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
        let pumping = Mutex::new(Watching::new(config.finality));
        Ok(Self { chain, key, config, clock, outbox, sending: Mutex::new(()), pumping })
    }

    /// Takes up what another process did with this address since [`Sender::open`]. To be called when the role of the
    /// one that sends is taken over from it.
    pub async fn take_over(&self) -> Result<(), SendError> {
        let mut pumping = self.pumping.lock().await;
        let _sending = self.sending.lock().await;
        *pumping = Watching::new(self.config.finality);
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
        failpoint!("chain.sender.nonce-chosen");

        // Estimated before anybody joins: a message that would fail leaves nothing to be undone.
        let message = self.priced(nonce, &outgoing).await?;
        join(name.clone()).await.map_err(|source| SendError::Join { sender: name.sender.clone(), nonce, source })?;
        failpoint!("chain.sender.joined");
        self.journal_and_push(name, message, outgoing).await
    }

    /// The message with this nonce, and what it may cost.
    async fn priced(&self, nonce: u64, outgoing: &Outgoing) -> Result<Message, SendError> {
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
        match self.chain.estimate_gas(&bare).await {
            Ok(estimated) => Ok(gas::price(bare, &estimated, &self.config)),
            Err(source) => Err(SendError::Chain { method: outgoing.method_name.to_owned(), source }),
        }
    }

    /// Signs, writes the signed bytes down, and only then shows them to a node.
    async fn journal_and_push(
        &self,
        name: MessageRef,
        message: Message,
        outgoing: Outgoing,
    ) -> Result<MessageRef, SendError> {
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
        failpoint!("chain.sender.signed");
        self.outbox.journal(entry).await?;
        failpoint!("chain.sender.journaled");
        // The pump repeats this; a refusal here is seen there.
        if let Err(error) = self.chain.mpool_push(&bytes).await {
            tracing::debug!(sender = %name.sender, nonce = name.nonce, "first push: {error}");
        }
        failpoint!("chain.sender.pushed");
        Ok(name)
    }

    /// An entry of the outbox. Waits for a send in progress, so that "absent" means that the message was never signed
    /// into the journal and this process is not about to.
    pub async fn entry(&self, message: &MessageRef) -> Result<Option<OutboxEntry>, SendError> {
        let _sending = self.sending.lock().await;
        self.outbox.get(message).await
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_unix_ms())
    }
}
