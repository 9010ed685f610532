//! Driving the chain: what no real node offers.
//!
//! Parameters are positional as everywhere; those in brackets may be left out.
//!
//! | method | parameters | answers | does |
//! |---|---|---|---|
//! | `Devnet.Advance` | `epochs` | the head's height | lets epochs pass |
//! | `Devnet.NullRounds` | `rounds` | null | leaves the next rounds without a block |
//! | `Devnet.Reorganise` | `depth`, `[{"lose", "refill"}]` | the head's height | abandons the last tipsets. `lose`: which of their messages do not wait again: `"none"` (default), `"all"`, or a list of CIDs (text). `refill`: true makes new tipsets at the heights of the abandoned ones, with other tickets and without messages, so that the head is as high as before; without it those rounds are null |
//! | `Devnet.MempoolDrop` | `[{"from", "nonce"}]` | CIDs (text) | forgets waiting messages: all, those of a sender, or one |
//! | `Devnet.Replace` | signed message, CBOR in base64 | its CID (`{"/": …}`) | puts it in the place of the waiting message of the same sender and nonce, whatever either pays; it must be signed by that sender |
//! | `Devnet.Mempool` | | list of `{"cid", "from", "nonce", "to", "method"}` | what waits |
//! | `Devnet.Misbehave` | one [`Rule`] | null | lets the next calls go wrong; rules add up, the oldest that fits a call is used |
//! | `Devnet.Behave` | | how many calls were still to go wrong | forgets every rule |
//! | `Devnet.Misbehaviour` | | rules with what is left of `times` | tells them |
//! | `Devnet.Log` | `[from, [limit]]` | `{"from", "next", "lines"}` | lines of the log (see [`crate::journal`]) from number `from`, at most 10,000; `next` is the number to ask from next |
//! | `Devnet.PostVerdicts` | | list | what verification said of every window PoSt so far |
//!
//! A [`Rule`] is `{"method", "does", "times", …}`: `method` is a full name such as `Filecoin.MpoolPush`, or `*` for any
//! `Filecoin.` method; it ends after `times` calls that it fitted. `does` is one of
//!
//! | `does` | with | the call |
//! |---|---|---|
//! | `hang` | `secs` | waits so long, and only then is executed and answered; a client that has left by then has asked nothing |
//! | `http` | `status` | is answered with this HTTP status and is not executed |
//! | `drop` | | is not executed and the connection breaks |
//! | `lost-answer` | | is executed and the connection breaks instead of an answer |
//! | `stale` | `back` | is answered as by a node that is so many tipsets behind |
//! | `network` | `name` | (`StateNetworkName`, `StateGetNetworkParams`) is answered with this network's name |
//! | `no-receipt` | | (`StateSearchMsg`) is answered with null, wherever the message is |
//! | `exit-code` | `code` | (`StateSearchMsg`) is answered with this exit code when the message is on chain |
//!
//! `Devnet.` calls never misbehave.

use chain::{
    json::{AddressJson, Base64, CidJson},
    message::SignedMessage,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::RpcError,
    misbehaviour::{Misbehaviour, Rule},
    request::{Args, answer},
};
use crate::{
    devnet::Devnet,
    journal::PushLine,
    upheaval::{Filter, Upheaval},
};

/// Epochs one call may let pass.
const ADVANCE_MAX: u64 = 100_000;
/// Lines of the log in one answer.
const LOG_LINES_MAX: usize = 10_000;

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(
    devnet: &mut Devnet,
    misbehaviour: &mut Misbehaviour,
    name: &str,
    args: Args<'_>,
) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "Advance" => advance(devnet, args),
        "NullRounds" => null_rounds(devnet, args),
        "Reorganise" => reorganise(devnet, args),
        "MempoolDrop" => mempool_drop(devnet, args),
        "Replace" => replace(devnet, args),
        "Mempool" => args.none().and_then(|()| {
            let height = devnet.height();
            answer(devnet.mempool.all().map(|included| PushLine::of(included, height)).collect::<Vec<_>>())
        }),
        "Misbehave" => args.read::<(Rule,)>(1).and_then(|(rule,)| {
            misbehaviour.add(rule).map_err(RpcError::plain)?;
            answer(())
        }),
        "Behave" => args.none().and_then(|()| answer(misbehaviour.clear())),
        "Misbehaviour" => args.none().and_then(|()| answer(misbehaviour.rules())),
        "Log" => log(devnet, args),
        "PostVerdicts" => args.none().and_then(|()| answer(devnet.post_verdicts())),
        _ => return None,
    })
}

fn advance(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (epochs,) = args.read::<(u64,)>(1)?;
    if epochs > ADVANCE_MAX {
        return Err(RpcError::plain(format!("{epochs} epochs at once, at most {ADVANCE_MAX}")));
    }
    answer(devnet.advance(epochs)?)
}

fn null_rounds(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (rounds,) = args.read::<(u64,)>(1)?;
    devnet.null_rounds(rounds);
    answer(())
}

fn reorganise(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (depth, upheaval) = args.read_padded::<(usize, Option<Upheaval>)>(1, 2)?;
    answer(devnet.reorganise_so(depth, &upheaval.unwrap_or_default())?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    from: Option<AddressJson>,
    #[serde(default)]
    nonce: Option<u64>,
}

fn mempool_drop(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (which,) = args.read_padded::<(Option<Which>,)>(0, 1)?;
    let filter = which
        .map_or_else(Filter::default, |which| Filter { from: which.from.map(|address| address.0), nonce: which.nonce });
    let dropped = devnet.drop_waiting(&filter)?;
    answer(dropped.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn replace(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (bytes,) = args.read::<(Base64,)>(1)?;
    let signed = SignedMessage::from_cbor(&bytes.0).map_err(RpcError::plain)?;
    answer(CidJson(devnet.replace(signed)??))
}

fn log(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (from, limit) = args.read_padded::<(Option<u64>, Option<usize>)>(0, 2)?;
    let limit = limit.unwrap_or(LOG_LINES_MAX).min(LOG_LINES_MAX);
    let (first, lines) = devnet.journal.read(from.unwrap_or(0), limit);
    let lines = lines.collect::<Vec<_>>();
    let next = first + u64::try_from(lines.len()).unwrap_or(u64::MAX);
    answer(json!({ "from": first, "next": next, "lines": lines }))
}
