//! The model of the queue, held to the real server: the same random operations on both, with the same answers.
//!
//! A failing script prints its seed; `SEALSTREAM_MODEL_SEED=N` plays that one alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod play;
mod script;

use std::time::Duration;

use futures::StreamExt as _;
use streams::{
    layout::{LayoutOptions, ensure},
    model::{Latency, Model, Random},
    nats::Nats,
    testing::TestServer,
};

use self::{
    play::play,
    script::{Kind, Script},
};

/// Scripts without waiting, and those whose messages expire and come back.
const QUICK: u64 = 440;
const SLOW: u64 = 120;
/// Played at a time: the slow ones mostly wait.
const QUICK_ABREAST: usize = 48;
const SLOW_ABREAST: usize = 120;
/// Nothing comes back by itself during a quick script.
const LONG: Duration = Duration::from_secs(120);

fn scripts(kind: Kind) -> Vec<Script> {
    if let Ok(seed) = std::env::var("SEALSTREAM_MODEL_SEED") {
        let seed: u64 = seed.parse().unwrap();
        return if (seed < QUICK) == (kind == Kind::Quick) { vec![Script::new(kind, seed)] } else { Vec::new() };
    }
    let seeds = match kind {
        Kind::Quick => 0..QUICK,
        Kind::Slow => QUICK..QUICK + SLOW,
    };
    seeds.map(|seed| Script::new(kind, seed)).collect()
}

async fn on_server(scripts: &[Script], ack_wait: Duration, abreast: usize) -> Vec<Vec<String>> {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(ack_wait).await;
    let plays = scripts.iter().map(|script| play(&nats, script, ack_wait));
    futures::stream::iter(plays).buffered(abreast).collect().await
}

/// On time that stands still unless everybody waits.
fn on_model(scripts: &[Script], ack_wait: Duration) -> Vec<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let model = Model::new(7, 1_700_000_000_000);
        model.set_latency(Latency { usual: Duration::from_micros(200), slow: Duration::from_micros(200) });
        let nats: Nats = model.connect("test");
        ensure(&nats, &LayoutOptions { replicas: 1, ack_wait }).await.unwrap();
        let mut answers = Vec::new();
        for script in scripts {
            answers.push(play(&nats, script, ack_wait).await);
        }
        answers
    })
}

fn compare(scripts: &[Script], real: &[Vec<String>], modelled: &[Vec<String>]) {
    let mut divergences = 0;
    for ((script, real), modelled) in scripts.iter().zip(real).zip(modelled) {
        if real == modelled {
            continue;
        }
        divergences += 1;
        println!("seed {} differs (SEALSTREAM_MODEL_SEED={} plays it alone):", script.seed, script.seed);
        for (index, op) in script.ops.iter().enumerate() {
            let (server, model) = (real.get(index), modelled.get(index));
            let mark = if server == model { " " } else { "!" };
            println!("{mark} {op:?}\n      server {server:?}\n      model  {model:?}");
            if server != model {
                break;
            }
        }
    }
    let ops: usize = scripts.iter().map(|script| script.ops.len()).sum();
    println!("{} scripts, {ops} operations, {divergences} divergences", scripts.len());
    assert_eq!(divergences, 0);
}

#[test]
fn the_model_answers_as_the_server_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (kind, ack_wait, abreast) in [(Kind::Quick, LONG, QUICK_ABREAST), (Kind::Slow, script::ACK_WAIT, SLOW_ABREAST)]
    {
        let scripts = scripts(kind);
        let began = std::time::Instant::now();
        let real = runtime.block_on(on_server(&scripts, ack_wait, abreast));
        println!("the server took {:.1?}", began.elapsed());
        compare(&scripts, &real, &on_model(&scripts, ack_wait));
    }
}

#[test]
fn one_seed_is_one_play() {
    let scripts: Vec<Script> = (0..40).map(|seed| Script::new(Kind::Slow, seed)).collect();
    assert_eq!(on_model(&scripts, script::ACK_WAIT), on_model(&scripts, script::ACK_WAIT));
    let first = Random::new(1).next();
    assert_ne!(first, Random::new(2).next());
}
