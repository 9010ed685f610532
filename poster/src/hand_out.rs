//! Tasks to agents, on `POST_TASKS`.

use std::time::Duration;

use streams::{
    error::QueueError,
    message::{PostTask, PostWork},
    nats::{Nats, Published},
    stage::Class,
    subject::{PostSubject, Whither},
};

use crate::{facts::Facts, partition::Order};

/// Publishes tasks that vanish when their window closes.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    nats: Nats,
    block_delay: Duration,
}

impl Desk {
    pub(crate) const fn new(nats: Nats, block_delay: Duration) -> Self {
        Self { nats, block_delay }
    }

    /// Publishes one task; an open one with the same subject stays as it is.
    pub(crate) async fn publish(
        &self,
        facts: &Facts,
        partition: u64,
        attempt: u32,
        order: &Order,
    ) -> Result<Published, QueueError> {
        let (subject, task) = task(facts, partition, attempt, order);
        self.nats.publish_post_task(&subject, &task, time_left(facts, self.block_delay)).await
    }
}

/// From the head to the close, so that yesterday's work never runs today; at least one second, the shortest time that
/// the queue keeps a message.
fn time_left(facts: &Facts, block_delay: Duration) -> Duration {
    let epochs = u32::try_from(facts.window.close.saturating_sub(facts.head).max(0)).unwrap_or(u32::MAX);
    block_delay.saturating_mul(epochs).max(Duration::from_secs(1))
}

fn task(facts: &Facts, partition: u64, attempt: u32, order: &Order) -> (PostSubject, PostTask) {
    let window = &facts.window;
    let (class, whither, work) = match order {
        Order::Vanilla { place, sectors } => {
            let order =
                facts.partitions.get(&partition).map(|p| p.to_prove.keys().copied().collect()).unwrap_or_default();
            let work = PostWork::Vanilla { sectors: sectors.clone(), order };
            (Class::PostIo, Whither::At(place.clone()), work)
        }
        Order::Snark { sectors, vanilla } => {
            let work = PostWork::Snark { sectors: sectors.clone(), vanilla: vanilla.clone() };
            (Class::PostGpu, Whither::Any, work)
        }
    };
    let subject = PostSubject { class, whither, miner: window.miner, open: window.open, partition, attempt };
    let task = PostTask {
        miner: window.miner,
        deadline: window.deadline,
        open: window.open,
        close: window.close,
        partition,
        attempt,
        proof: facts.proof,
        randomness: facts.randomness,
        work,
    };
    (subject, task)
}
