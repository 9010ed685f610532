//! Reading a task: its subject and its text must say the same.

use streams::{
    message::{PostTask, Task, decode},
    pull::Delivery,
    stage::{Class, Stage},
    subject::{PostSubject, TaskSubject},
};

/// What a task asks for.
#[derive(Debug)]
pub(crate) enum Work {
    /// A stage of a sector.
    Sector(Task),
    /// One half of a window PoSt.
    Partition(Box<PostTask>),
}

/// Reads a task of `class`, or says why it cannot be read.
pub(crate) fn read(class: Class, delivery: &Delivery) -> Result<Work, String> {
    if class.is_post() {
        read_post(delivery).map(|task| Work::Partition(Box::new(task)))
    } else {
        read_seal(delivery).map(Work::Sector)
    }
}

fn read_seal(delivery: &Delivery) -> Result<Task, String> {
    let subject: TaskSubject = delivery.subject().parse().map_err(|e| format!("{e}"))?;
    let task: Task = decode(delivery.payload()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))?;
    if (subject.sector, subject.stage) != (task.sector, task.stage) {
        return Err(format!("the text is about {} of {}", task.stage, task.sector));
    }
    if task.stage == Stage::Unseal && task.unseal.is_none() {
        return Err("an unseal task without its order".to_owned());
    }
    Ok(task)
}

fn read_post(delivery: &Delivery) -> Result<PostTask, String> {
    let subject: PostSubject = delivery.subject().parse().map_err(|e| format!("{e}"))?;
    let task: PostTask = decode(delivery.payload()).map_err(|e| format!("{:#}", anyhow::Error::from(e)))?;
    if (subject.miner, subject.open, subject.partition) != (task.miner, task.open, task.partition) {
        return Err(format!("the text is about partition {} of {} at {}", task.partition, task.miner, task.open));
    }
    Ok(task)
}
