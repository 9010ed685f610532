//! One half of a window PoSt, from its task to its acknowledgement. No claim guards it: any proof that verifies counts.

use std::time::Duration;

use streams::{
    message::{PostOutcome, PostResult, PostTask},
    stage::Class,
};
use tracing::Instrument as _;

use super::{Runner, Share, log_end, put_down};
use crate::{
    child::AtWork,
    halt::Halt,
    job_dir::{Order, Ordered},
    journal::AnyResult,
    keep_alive,
    now::now,
    parting,
    running::Pointer,
    settle::{Fate, finish, settle},
    stage,
};

impl Runner {
    /// Does one half of a window PoSt; in the directory of a job that was `left`, or in a new one.
    pub(crate) async fn post_task(
        &self,
        class: Class,
        task: PostTask,
        pointer: Pointer,
        ack_wait: Duration,
        share: Share,
    ) {
        let span = tracing::info_span!(
            "task", miner = %task.miner, open = task.open, partition = task.partition, attempt = task.attempt, %class
        );
        self.post_work(class, task, pointer, ack_wait, share).instrument(span).await;
    }

    async fn post_work(&self, class: Class, task: PostTask, mut pointer: Pointer, ack_wait: Duration, share: Share) {
        let Share { seat, left } = share;
        if self.offered.was_offered(pointer.subject()) {
            return settle(pointer.close(), Fate::Ack).await;
        }
        let left = match left {
            Some(left) => Some(left),
            None => self.left_for(pointer.subject()).await,
        };
        let started_at = left.as_ref().map_or_else(now, |left| left.started_at);
        let what = Ordered::Partition { task: Box::new(task.clone()) };
        let order = Order { subject: pointer.subject().to_owned(), class, what };
        let (dir, ended) = match self.job_dir(&order, left, started_at, seat.settle(task.proof)) {
            Ok(dir) => {
                let work = async |at: AtWork<'_>| stage::post::run(&self.tools, &at, &task).await;
                let work = Box::pin(self.at_work(&order, &dir, started_at, &seat, work));
                let ended = keep_alive::while_working(&mut pointer, None, ack_wait, work).await;
                (Some(dir), ended)
            }
            Err(halt) => (None, Err(halt)),
        };
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(Halt::Failed(failure)) => PostOutcome::Failed { failure },
            Err(halt) => {
                put_down(dir, &order);
                return self.send_back(pointer, halt).await;
            }
        };
        let ended_at = now();
        let failure = if let PostOutcome::Failed { failure } = &outcome { Some(failure) } else { None };
        log_end(failure, started_at, ended_at);
        let failed = failure.is_some();
        let (agent, place) = (self.tools.agent.clone(), self.tools.place.clone());
        let PostTask { miner, open, partition, attempt, .. } = task;
        let result = PostResult { miner, open, partition, attempt, agent, place, started_at, ended_at, outcome };
        let result = AnyResult::Post(Box::new(result));
        let stored = self.offer(dir, result, failed, &mut pointer, None, ack_wait).await;
        parting::within(&self.stop, finish(&self.offered, pointer, stored)).await;
    }
}
