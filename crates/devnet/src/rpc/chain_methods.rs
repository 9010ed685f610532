//! Questions about the chain itself: tipsets, network, actors, randomness.

use chain::{
    json::{AddressJson, Base64, CidJson},
    wire::{
        ActorStateJson, ApiMessageJson, BeaconEntryJson, BlockHeaderJson, ElectionProofJson, MessageJson,
        NetworkParamsJson, ReceiptJson, TicketJson, TipSetJson, VersionJson,
    },
};
use fvm_shared::{address::Address, econ::TokenAmount, receipt::Receipt};
use serde_json::Value;

use super::{
    error::RpcError,
    request::{Args, Key, Version, answer},
    view::View,
};
use crate::{
    devnet::Devnet,
    randomness,
    tipset::{Included, Tipset},
};

/// The network version whose actors these are.
const NETWORK_VERSION: u32 = 28;

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(devnet: &Devnet, name: &str, args: Args<'_>) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "Version" => version(devnet, args),
        "ChainHead" => {
            args.none().and_then(|()| View::at(devnet, &Key::default())).and_then(|view| tipset(view.tipset))
        }
        "ChainGetGenesis" => args.none().and_then(|()| devnet.tipsets.first().map_or_else(|| answer(()), tipset)),
        "ChainGetTipSet" => {
            args.read::<(Key,)>(1).and_then(|(key,)| View::at(devnet, &key)).and_then(|view| tipset(view.tipset))
        }
        "ChainGetTipSetByHeight" => by_height(devnet, args, false),
        "ChainGetTipSetAfterHeight" if args.version == Version::V1 => by_height(devnet, args, true),
        "ChainGetMessage" => message(devnet, args),
        "ChainGetParentMessages" => parent(devnet, args)
            .and_then(|parent| answer(parent.messages.iter().map(api_message).collect::<Result<Vec<_>, _>>()?)),
        "ChainGetParentReceipts" => {
            parent(devnet, args).and_then(|parent| answer(parent.receipts.iter().map(receipt).collect::<Vec<_>>()))
        }
        "StateNetworkName" => args.none().and_then(|()| answer(&devnet.rules.name)),
        "StateNetworkVersion" => {
            args.read::<(Key,)>(1).and_then(|(key,)| View::at(devnet, &key)).and_then(|_| answer(NETWORK_VERSION))
        }
        "StateGetNetworkParams" => network_params(devnet, args),
        "StateGetActor" => actor(devnet, args),
        "StateLookupID" => lookup_id(devnet, args),
        "StateAccountKey" => account_key(devnet, args),
        "WalletBalance" => balance(devnet, args),
        "WalletHas" => args.read::<(AddressJson,)>(1).and_then(|_| answer(false)),
        "WalletList" => args.none().and_then(|()| answer(Vec::<AddressJson>::new())),
        "StateGetRandomnessFromTickets" => drawn(devnet, args, Source::Tickets),
        "StateGetRandomnessFromBeacon" => drawn(devnet, args, Source::Beacon),
        "StateGetBeaconEntry" => beacon_entry(devnet, args),
        _ => return None,
    })
}

fn version(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let api_version = match args.version {
        Version::V0 => 0x1_05_00,
        Version::V1 => 0x2_03_00,
    };
    args.none()?;
    answer(VersionJson {
        version: format!("sealstream-devnet+{}", env!("CARGO_PKG_VERSION")),
        api_version,
        block_delay: devnet.rules.row.block_delay_ms / 1_000,
        agent: "sealstream-devnet".to_owned(),
    })
}

fn by_height(devnet: &Devnet, args: Args<'_>, after: bool) -> Result<Value, RpcError> {
    let (height, key) = args.read::<(i64, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    if height > view.epoch() {
        let head = view.epoch();
        return Err(RpcError::plain(format!(
            "looking for tipset with height greater than start point: {height} > {head}"
        )));
    }
    let tipsets = view.tipsets;
    let at_or_after = tipsets.partition_point(|tipset| tipset.header.height < height);
    let exact = tipsets.get(at_or_after).filter(|tipset| after || tipset.header.height == height);
    let found = exact.or_else(|| tipsets.get(at_or_after.saturating_sub(1)));
    found.map_or_else(|| Err(RpcError::plain("no tipset at or before this height")), tipset)
}

fn message(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (cid,) = args.read::<(CidJson,)>(1)?;
    let mut included = devnet.tipsets.iter().rev().flat_map(|tipset| &tipset.messages).chain(devnet.mempool.all());
    match included.find(|included| included.cid == cid.0) {
        Some(included) => answer(message_json(included)?),
        None => Err(RpcError::plain(format!("ipld: could not find {}", cid.0))),
    }
}

/// The parent of the block that was asked for.
fn parent<'a>(devnet: &'a Devnet, args: Args<'_>) -> Result<&'a Tipset, RpcError> {
    let (block,) = args.read::<(CidJson,)>(1)?;
    let tipsets = devnet.up_to(&[block.0])?;
    match tipsets {
        [.., parent, _] => Ok(parent),
        _ => Err(RpcError::plain("genesis has no parent")),
    }
}

fn network_params(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    args.none()?;
    let rules = &devnet.rules;
    answer(NetworkParamsJson {
        network_name: rules.name.clone(),
        block_delay_secs: rules.row.block_delay_ms / 1_000,
        consensus_miner_min_power: TokenAmount::from_atto(rules.policy.minimum_consensus_power.clone()).into(),
        pre_commit_challenge_delay: rules.row.pre_commit_challenge_delay,
        eip155_chain_id: 31_415_926,
        genesis_timestamp: devnet.genesis.timestamp,
    })
}

fn actor(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, key) = args.read::<(AddressJson, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    let actor = view.ledger.resolve(&address.0).and_then(|id| view.ledger.actor(id));
    let actor = actor.ok_or_else(|| RpcError::actor_not_found("actor not found"))?;
    answer(ActorStateJson {
        code: actor.kind.code().into(),
        head: actor.head.into(),
        nonce: actor.nonce,
        balance: actor.balance.clone().into(),
        delegated_address: None,
    })
}

fn lookup_id(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, key) = args.read::<(AddressJson, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    answer(AddressJson(Address::new_id(view.id(&address.0)?)))
}

fn account_key(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, key) = args.read::<(AddressJson, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    let text = chain::address::print(&address.0);
    match view.ledger.key_of(&address.0) {
        Some(key) => answer(AddressJson(key)),
        None => {
            Err(RpcError::plain(format!("failed to get account actor state for {text}: actor code is not account")))
        }
    }
}

fn balance(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address,) = args.read::<(AddressJson,)>(1)?;
    let view = View::at(devnet, &Key::default())?;
    let id = view.ledger.resolve(&address.0);
    let balance = id.map(|id| view.ledger.balance(id)).unwrap_or_default();
    answer(chain::json::TokenJson(balance))
}

#[derive(Clone, Copy)]
enum Source {
    Tickets,
    Beacon,
}

fn drawn(devnet: &Devnet, args: Args<'_>, source: Source) -> Result<Value, RpcError> {
    let (tag, epoch, entropy, key) = args.read::<(i64, i64, Base64, Key)>(4)?;
    let draws = View::at(devnet, &key)?.draws();
    let drawn = match source {
        Source::Tickets => draws.ticket(tag, epoch, &entropy.0)?,
        Source::Beacon => draws.beacon(tag, epoch, &entropy.0)?,
    };
    answer(Base64(drawn.0.to_vec()))
}

fn beacon_entry(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (epoch,) = args.read::<(i64,)>(1)?;
    if epoch > devnet.height() {
        return Err(RpcError::plain(format!("beacon entry of epoch {epoch} is not out yet")));
    }
    let data = randomness::beacon_entry(&devnet.genesis.seed, epoch.max(0));
    answer(BeaconEntryJson { round: epoch.max(0).unsigned_abs(), data: data.into() })
}

pub(crate) fn tipset(tipset: &Tipset) -> Result<Value, RpcError> {
    answer(TipSetJson { cids: vec![tipset.cid.into()], blocks: vec![header(tipset)], height: tipset.header.height })
}

fn header(tipset: &Tipset) -> BlockHeaderJson {
    let header = &tipset.header;
    let entry =
        |entry: &crate::tipset::BeaconEntry| BeaconEntryJson { round: entry.round, data: entry.data.clone().into() };
    BlockHeaderJson {
        miner: header.miner.into(),
        ticket: Some(TicketJson { vrf_proof: header.ticket.vrf_proof.clone().into() }),
        election_proof: header
            .election_proof
            .as_ref()
            .map(|proof| ElectionProofJson { win_count: proof.win_count, vrf_proof: proof.vrf_proof.clone().into() }),
        beacon_entries: header.beacon_entries.iter().map(entry).collect(),
        win_post_proof: vec![],
        parents: header.parents.iter().copied().map(CidJson).collect(),
        parent_weight: TokenAmount::from_atto(header.parent_weight.clone()).into(),
        height: header.height,
        parent_state_root: header.parent_state_root.into(),
        parent_message_receipts: header.parent_message_receipts.into(),
        messages: header.messages.into(),
        bls_aggregate: None,
        timestamp: header.timestamp,
        block_sig: None,
        fork_signaling: header.fork_signaling,
        parent_base_fee: header.parent_base_fee.clone().into(),
    }
}

pub(crate) fn message_json(included: &Included) -> Result<MessageJson, RpcError> {
    let mut shape = MessageJson::of(&included.signed.message).map_err(RpcError::plain)?;
    shape.cid = Some(included.cid.into());
    Ok(shape)
}

fn api_message(included: &Included) -> Result<ApiMessageJson, RpcError> {
    Ok(ApiMessageJson { cid: included.cid.into(), message: message_json(included)? })
}

pub(crate) fn receipt(receipt: &Receipt) -> ReceiptJson {
    ReceiptJson {
        exit_code: receipt.exit_code.value(),
        r#return: receipt.return_data.to_vec().into(),
        gas_used: i64::try_from(receipt.gas_used).unwrap_or(i64::MAX),
        events_root: None,
    }
}
