//! `CreateMiner`: a new storage miner, by message to the power actor.

use std::{sync::Arc, time::Duration};

use chain::{
    ChainApi, ChainError,
    address::{BadAddress, POWER_ACTOR, parse, print, to_miner},
    params::{BadParams, create_miner, created_miner, method, no_value},
    sender::{Outgoing, SendError, Sender},
};
use fvm_shared::address::Protocol;
use streams::{
    control::{CreateMinerRequest, MinerCreated},
    id::{Epoch, MinerId},
    records::{Fate, OutboxEntry},
    sector::MessageRef,
};

use crate::{head::Head, miners::Miners};

/// The actor the message is about, in the outbox.
const POWER: MinerId = MinerId(4);
/// How many epochs the message may take before a person should look.
const EPOCHS_MAX: Epoch = 60;
/// How long the chain may stand still meanwhile.
const STANDSTILL_MAX: Duration = Duration::from_secs(300);

/// A miner that was not created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("{0} is not a sender of this coordinator")]
    UnknownSender(String),
    #[error("the key of {0} is not BLS, and a miner's worker signs blocks with one")]
    NotBls(String),
    #[error("{0} would be neither owner nor worker, and the chain would refuse its messages")]
    Stranger(String),
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error("peer id is not hexadecimal")]
    PeerId(#[from] hex::FromHexError),
    #[error(transparent)]
    Params(#[from] BadParams),
    #[error("ask for the deposit")]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("CreateMiner landed at epoch {height} with exit code {exit_code}")]
    Failed { height: Epoch, exit_code: u32 },
    #[error("CreateMiner did not land within {EPOCHS_MAX} epochs; message {0}/{1} is still being pushed", .message.sender, .message.nonce)]
    Late { message: MessageRef },
    #[error("the power actor's answer is not two addresses")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Keep(#[from] host::exit::CliError),
}

impl CreateError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotBls(_) => {
                Some("make one with `coordinator keys generate --kind bls` and fund its address".to_owned())
            }
            Self::Keep(error) => error.hint.clone(),
            Self::Send(error) if error.exit_code().is_some() => {
                Some("does the sender have the funds for deposit and gas?".to_owned())
            }
            _ => None,
        }
    }
}

/// Creates a miner and begins to seal for it.
pub(crate) async fn create(
    request: &CreateMinerRequest,
    miners: &Miners,
    chain: &Arc<dyn ChainApi>,
    head: Head,
) -> Result<MinerCreated, CreateError> {
    let sender = match &request.from {
        None => miners.default_sender().await?,
        Some(name) => miners.sender_named(name).ok_or_else(|| CreateError::UnknownSender(name.clone()))?,
    };
    let named = |name: &Option<String>| name.as_deref().map_or_else(|| Ok(sender.address()), parse);
    let (owner, worker) = (named(&request.owner)?, named(&request.worker)?);
    if ![owner, worker].contains(&sender.address()) {
        return Err(CreateError::Stranger(sender.sender().to_owned()));
    }
    if worker.protocol() != Protocol::BLS {
        return Err(CreateError::NotBls(print(&worker)));
    }
    let deposit = chain.creation_deposit(&Vec::new()).await?.unwrap_or_else(no_value);
    let params = create_miner(owner, worker, request.proof, hex::decode(&request.peer_id)?, Vec::new())?;
    let outgoing = Outgoing {
        to: POWER_ACTOR,
        method: method::CREATE_MINER,
        method_name: "CreateMiner",
        value: deposit,
        params,
        miner: POWER,
        sectors: Vec::new(),
    };
    let message = sender.send(outgoing, |_| async { Ok(()) }).await?;
    host::failpoint!("coordinator.miner_create.sent");
    let entry = until_landed(&sender, &message, head).await?;
    let Fate::Landed { cid, height, exit_code, return_value, .. } = entry.fate else {
        return Err(CreateError::Late { message });
    };
    if exit_code != 0 {
        return Err(CreateError::Failed { height, exit_code });
    }
    let created = created_miner(&return_value.0)?;
    let miner = to_miner(&created.id_address).map_err(|e| CreateError::Answer(Box::new(e)))?;
    host::failpoint!("coordinator.miner_create.landed");
    miners.keep(miner).await?;
    tracing::info!(%miner, "miner created");
    Ok(MinerCreated { miner, robust: print(&created.robust_address), message_cid: cid })
}

/// Looks at the outbox with every head, since that is when it is looked after.
async fn until_landed(sender: &Sender, message: &MessageRef, mut head: Head) -> Result<OutboxEntry, CreateError> {
    let late = || CreateError::Late { message: message.clone() };
    let mut first = None;
    loop {
        if let Some(entry) = sender.entry(message).await?
            && matches!(entry.fate, Fate::Landed { settled: true, .. })
        {
            return Ok(entry);
        }
        let changed = tokio::time::timeout(STANDSTILL_MAX, head.changed()).await;
        changed.map_err(|_| late())?.map_err(|_| late())?;
        let now = head.borrow_and_update().as_ref().map_or(0, |head| head.epoch);
        if now.saturating_sub(*first.get_or_insert(now)) > EPOCHS_MAX {
            return Err(late());
        }
    }
}
