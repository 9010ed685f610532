//! How long a published task takes to reach a waiting agent, beside what the network and the server need anyway.
//!
//! Both figures come from one run on one server with the shipped settings (`sync_interval: always`), at 100 a
//! second: core NATS request-reply is the limit, and publish-to-start is given as a multiple of it. Lines are appended
//! to `target/bench/results.jsonl`.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt as _;
use hdrhistogram::Histogram;
use serde::Serialize;
use streams::{
    layout::ensure_class,
    message::Task,
    nats::{Nats, Published},
    pull::Puller,
    stage::{Class, Stage},
    subject::{TaskSubject, Whither},
    testing::{TestServer, wait_for},
};
use tokio::time::{Instant, MissedTickBehavior};

const SAMPLES: u64 = 500;
const WARM_UP: u64 = 50;
const EVERY: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(30);
/// As many bytes as a task has.
const PAYLOAD: usize = 64;

/// One figure.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    value: f64,
    unit: &'static str,
    ratio_to: Option<&'static str>,
    ratio: Option<f64>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = runtime.block_on(measure());
    print_table(&lines);
    append(&lines);
}

async fn measure() -> Vec<Line> {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(LIMIT).await;
    let other = server.connect().await;
    let limit = request_reply(&nats, &other).await;
    let dispatch = publish_to_start(&nats, &other).await;
    vec![
        line("core request-reply p50", &limit, 0.50, None),
        line("core request-reply p99", &limit, 0.99, None),
        line("publish to start p50", &dispatch, 0.50, Some(("core request-reply p50", &limit))),
        line("publish to start p99", &dispatch, 0.99, Some(("core request-reply p99", &limit))),
    ]
}

/// Core NATS, no storage: the limit.
async fn request_reply(asker: &Nats, answerer: &Nats) -> Histogram<u64> {
    let mut requests = answerer.client().subscribe("bench.echo").await.unwrap();
    let answering = async {
        while let Some(request) = requests.next().await {
            answerer.client().publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    };
    let asking = async {
        let ask = || asker.client().request("bench.echo", vec![7; PAYLOAD].into());
        wait_for(LIMIT, || async { ask().await.map_err(|error| error.to_string()) }).await;
        let mut times = histogram();
        let mut ticks = ticks();
        for sample in 0..WARM_UP + SAMPLES {
            ticks.tick().await;
            let asked = Instant::now();
            ask().await.unwrap();
            record(&mut times, sample, asked.elapsed());
        }
        times
    };
    tokio::select! {
        times = asking => times,
        () = answering => panic!("the connection closed"),
    }
}

/// From the call of `publish_task` to the delivery in the agent's hands; it is acknowledged before the next one.
async fn publish_to_start(publisher: &Nats, agent: &Nats) -> Histogram<u64> {
    let whither: Whither = "bench".parse().unwrap();
    ensure_class(publisher, Class::Pc2Gpu, &whither, LIMIT).await.unwrap();
    let puller = Puller::open(agent, Class::Pc2Gpu, &whither).await.unwrap();
    let mut times = histogram();
    let mut ticks = ticks();
    for sample in 0..WARM_UP + SAMPLES {
        let (sector, stage) = (format!("f01000/{sample}").parse().unwrap(), Stage::Pc2);
        let subject = TaskSubject { whither: whither.clone(), sector, stage };
        let task = Task { sector, stage, unseal: None };
        let publishing = async {
            // The agent's pull waits at the server before the task is published, as an idle slot's does.
            ticks.tick().await;
            let published = Instant::now();
            assert!(matches!(publisher.publish_task(&subject, &task).await.unwrap(), Published::New { .. }));
            published
        };
        let taking = async {
            let delivery = puller.next(LIMIT).await.unwrap().unwrap();
            (delivery, Instant::now())
        };
        let ((delivery, started), published) = tokio::join!(taking, publishing);
        record(&mut times, sample, started - published);
        delivery.ack().await.unwrap();
    }
    times
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn record(times: &mut Histogram<u64>, sample: u64, took: Duration) {
    if sample >= WARM_UP {
        times.record(u64::try_from(took.as_micros()).unwrap().max(1)).unwrap();
    }
}

fn millis(times: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_micros(times.value_at_quantile(quantile)).as_secs_f64() * 1e3
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn line(
    name: &'static str,
    times: &Histogram<u64>,
    quantile: f64,
    limit: Option<(&'static str, &Histogram<u64>)>,
) -> Line {
    let value = millis(times, quantile);
    let ratio = limit.map(|(_, times)| value / millis(times, quantile));
    Line {
        name,
        value: thousandths(value),
        unit: "ms",
        ratio_to: limit.map(|(name, _)| name),
        ratio: ratio.map(thousandths),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn print_table(lines: &[Line]) {
    println!("{:<26} {:>10}  {:<4} {:>7}", "figure", "value", "unit", "ratio");
    for Line { name, value, unit, ratio_to, ratio } in lines {
        let ratio = match (ratio, ratio_to) {
            (Some(ratio), Some(to)) => format!("{ratio:>6.1}x of {to}"),
            _ => String::new(),
        };
        println!("{name:<26} {value:>10.3}  {unit:<4} {ratio}");
    }
}

fn append(lines: &[Line]) {
    let path = results();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
    for line in lines {
        writeln!(file, "{}", serde_json::to_string(line).unwrap()).unwrap();
    }
}

/// In the workspace, wherever the build goes.
fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/results.jsonl")
}
