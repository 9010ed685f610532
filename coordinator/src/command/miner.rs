//! `coordinator miner create`.

use std::time::Duration;

use host::{
    exit::CliError,
    output::{Details, Format},
};
use streams::{control::CreateMinerRequest, nats::Nats};

use super::ask::ask;

/// The message has to land and to settle: some tens of epochs of 30 s on mainnet.
const ANSWERED_WITHIN: Duration = Duration::from_secs(45 * 60);

pub(super) async fn create(nats: &Nats, request: &CreateMinerRequest, format: Format) -> Result<(), CliError> {
    eprintln!("creating a miner for {} sectors: waiting until the message is settled on chain", request.proof);
    let created = ask(nats, request, ANSWERED_WITHIN).await?;
    let mut details = Details::new(created.miner.to_string(), &created)?;
    details.fact("miner", created.miner.to_string());
    details.fact("robust address", created.robust.clone());
    details.fact("message", created.message_cid.clone());
    details.print(format)?;
    eprintln!("next: coordinator submit --miner {} --count 1", created.miner);
    Ok(())
}
