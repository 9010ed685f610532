use std::future::{pending, ready};

use anyhow::Context as _;

use super::*;
use crate::exit::{CliError, Exit, chain};

async fn until(token: CancellationToken) -> anyhow::Result<()> {
    token.cancelled().await;
    Ok(())
}

#[tokio::test]
async fn a_stop_ends_all_well() {
    let tasks = Tasks::new();
    tasks.spawn("follower", until(tasks.token()));
    tasks.spawn_once("greeting", ready(Ok(())));
    let nested = tasks.clone();
    tasks.spawn("dispatch", async move {
        nested.spawn("lane", until(nested.token()));
        until(nested.token()).await
    });
    tasks.run_until(ready(())).await.unwrap();
}

#[tokio::test]
async fn an_unasked_end_ends_all() {
    let tasks = Tasks::new();
    tasks.spawn("follower", until(tasks.token()));
    tasks.spawn("dispatch", ready(Ok(())));
    let error = tasks.run_until(pending::<()>()).await.unwrap_err();
    assert_eq!(error.to_string(), "task dispatch ended by itself");
}

#[tokio::test]
async fn a_failure_is_named_with_its_cause_and_keeps_its_code() {
    let tasks = Tasks::new();
    tasks.spawn_once("follower", async {
        Err(CliError::new(Exit::Unavailable, "connect to the node")).context("read the head")
    });
    let error = tasks.run_until(pending::<()>()).await.unwrap_err();
    assert_eq!(chain(&error), "task follower: read the head: connect to the node");
    assert_eq!(CliError::from(anyhow::Error::from(error)).exit, Exit::Unavailable);
}

#[tokio::test]
async fn a_panic_ends_all() {
    let tasks = Tasks::new();
    tasks.spawn("follower", until(tasks.token()));
    tasks.spawn("dispatch", async { panic!("no sector {}", 7) });
    let error = tasks.run_until(pending::<()>()).await.unwrap_err();
    assert_eq!(error.to_string(), "task dispatch panicked: no sector 7");
}

#[tokio::test]
async fn a_failure_during_the_drain_is_told() {
    let tasks = Tasks::new();
    let token = tasks.token();
    tasks.spawn("journal", async move {
        token.cancelled().await;
        anyhow::bail!("sync the journal")
    });
    let error = tasks.run_until(ready(())).await.unwrap_err();
    assert_eq!(chain(&error), "task journal: sync the journal");
}

#[tokio::test]
async fn the_late_are_named() {
    let tasks = Tasks::new().drain_limit(2 * DRAIN_PATIENCE);
    tasks.spawn("follower", until(tasks.token()));
    tasks.spawn("deaf", pending());
    let error = tasks.run_until(ready(())).await.unwrap_err();
    assert_eq!(error.to_string(), "still running 200ms after the order to stop: deaf");
}
