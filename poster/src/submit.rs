//! `SubmitWindowedPoSt`, through the outbox of the poster's own address.
//!
//! ```text
//! asked: has the chain it?  ─►  proof verified  ─►  nonce, gas  ─►  message's name in each record of POSTS
//!        ─►  signed  ─►  bytes in MESSAGES (create-only)  ─►  first push
//! ```
//!
//! A record takes a message's name only from whoever knows the message it names now, so of two posters that both
//! believe they lead one sends. A name without an entry in the outbox, or whose entry carries other sectors, was never
//! signed for this proof: the next plan sends it. A landing that a fork took away puts the entry back to `pushed`; the
//! same bytes are pushed again, and where the fork changed the challenge they fail by their chain commitment, which is
//! drawn at the challenge's own epoch.

use std::sync::Arc;

use anyhow::Context as _;
use chain::{
    ChainApi, address,
    params::{WindowPoSt, method, no_value, submit_window_post},
    randomness::tag,
    sender::{Outgoing, SendError, Sender},
};
use host::failpoint;
use streams::{
    id::SectorNumber,
    proof::ProofBytes,
    records::{Fate, PostRecord},
    sector::MessageRef,
};

use crate::{
    check::{Checker, with_commitments},
    facts::{Facts, Sending},
    posts::Posts,
    reading,
};

/// The method's name in the outbox.
const METHOD_NAME: &str = "SubmitWindowedPoSt";

/// Sends proofs.
#[derive(Clone)]
pub(crate) struct Submitter {
    chain: Arc<dyn ChainApi>,
    sender: Arc<Sender>,
    posts: Posts,
    checker: Checker,
}

/// What came of an attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The message is in the outbox.
    As(MessageRef),
    /// The chain has these partitions already; nothing was sent.
    AlreadyThere,
    /// The partitions' proofs, put end to end, are no proof of all of them: send them apart.
    Apart,
}

impl Submitter {
    pub(crate) fn new(chain: Arc<dyn ChainApi>, sender: Arc<Sender>, posts: Posts, checker: Checker) -> Self {
        Self { chain, sender, posts, checker }
    }

    /// Sends the stored proofs of `partitions` in one message, after asking the chain once more whether it has them,
    /// and verifying once more what is about to be sent.
    pub(crate) async fn submit(&self, facts: &Facts, partitions: &[u64]) -> anyhow::Result<Sent> {
        let there = reading::submitted_at(&*self.chain, &facts.window, &Vec::new()).await?;
        if partitions.iter().any(|partition| there.contains(partition)) {
            return Ok(Sent::AlreadyThere);
        }
        let records = partitions
            .iter()
            .map(|index| facts.partitions.get(index).and_then(|partition| partition.proof_for(&facts.randomness)))
            .collect::<Option<Vec<_>>>()
            .context("a proof to send is gone")?;
        let (sectors, proof) = joined(facts, &records)?;
        if !self.checker.proves(facts, sectors, proof.clone()).await? {
            anyhow::ensure!(partitions.len() > 1, "the stored proof of partition {partitions:?} does not verify");
            return Ok(Sent::Apart);
        }
        failpoint!("poster.submit.verified");
        let message = self.send(facts, &records, proof).await?;
        failpoint!("poster.submit.sent");
        Ok(Sent::As(message))
    }

    async fn send(&self, facts: &Facts, records: &[&PostRecord], proof: ProofBytes) -> anyhow::Result<MessageRef> {
        let window = &facts.window;
        // As far back as the actor allows: the deeper the epoch, the smaller the risk that a reorg voids the message.
        let chain_commit_epoch = window.challenge;
        let chain_commit_rand = self
            .chain
            .randomness_from_tickets(tag::POST_CHAIN_COMMIT, chain_commit_epoch, &[], &Vec::new())
            .await
            .context("draw the chain commitment")?;
        let skipped = |record: &&PostRecord| {
            (record.partition, record.skipped.iter().map(|(number, _)| *number).collect::<Vec<_>>())
        };
        let params = submit_window_post(&WindowPoSt {
            deadline: window.deadline,
            partitions: records.iter().map(skipped).collect(),
            proof_type: facts.proof.window_post_number(),
            proof: proof.0,
            chain_commit_epoch,
            chain_commit_rand,
        })?;
        let outgoing = Outgoing {
            to: address::of_miner(window.miner),
            method: method::SUBMIT_WINDOWED_POST,
            method_name: METHOD_NAME,
            value: no_value(),
            params,
            miner: window.miner,
            sectors: records.iter().flat_map(|record| record.proven.iter().copied()).collect(),
        };
        let posts = self.posts.clone();
        let joining: Vec<PostRecord> = records.iter().map(|record| (*record).clone()).collect();
        let join = |name: MessageRef| async move {
            for record in joining {
                let joined = posts.amend(&record, |record| record.message = Some(name.clone())).await?;
                joined.ok_or_else(|| format!("the proof of partition {} is another poster's now", record.partition))?;
                failpoint!("poster.submit.message-noted");
            }
            Ok(())
        };
        self.sender.send(outgoing, join).await.context("send")
    }

    /// What became of the message that carries a proof.
    pub(crate) async fn fate(&self, record: &PostRecord) -> Result<Sending, SendError> {
        let Some(message) = &record.message else { return Ok(Sending::Unsent) };
        // No entry: the process that sent died between joining and the journal, and nothing was signed that could land.
        let Some(entry) = self.sender.entry(message).await? else { return Ok(Sending::Unsent) };
        // Another process of this address took the nonce after this proof had joined.
        if entry.miner != record.miner || !record.proven.iter().all(|number| entry.sectors.contains(number)) {
            return Ok(Sending::Unsent);
        }
        Ok(match entry.fate {
            Fate::Journaled {} | Fate::Pushed { .. } => Sending::InFlight,
            Fate::Landed { exit_code: 0, height, .. } => Sending::Accepted { height },
            Fate::Landed { exit_code, .. } => Sending::Failed { exit_code: Some(exit_code) },
            Fate::Displaced { .. } => Sending::Failed { exit_code: None },
        })
    }
}

/// The sectors of all partitions and their proofs, end to end.
fn joined(
    facts: &Facts,
    records: &[&PostRecord],
) -> anyhow::Result<(Vec<(SectorNumber, streams::proof::Commitment)>, ProofBytes)> {
    let mut sectors = Vec::new();
    let mut proof = Vec::new();
    for record in records {
        let proven = with_commitments(facts, record.partition, &record.proven);
        sectors.extend(proven.with_context(|| format!("partition {} changed", record.partition))?);
        proof.extend_from_slice(&record.proof.0);
    }
    Ok((sectors, ProofBytes(proof)))
}
