//! `coordinator dev`: the whole system on one machine, on the embedded devnet.
//!
//! It starts the same programs that a provider runs, with the same commands, and prints those commands: nothing here
//! reaches around them. In order: proof parameters and nats-server if there are none, the devnet, the coordinator,
//! two agents, the poster; then a miner, a CC sector and one that carries a file, until both are proving and a window
//! PoSt over each was accepted; then the file is read back and compared. Whatever ends the run, every process it
//! started is stopped, last started first.

mod cluster;
mod commands;
mod live;
mod split;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use streams::{
    id::SectorId,
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    records::ChainHead,
    sector::SectorRecord,
};

use self::{cluster::Cluster, commands::Commands, live::Live};

/// The file that marks a folder as one this command made and may empty.
const MARK: &str = ".sealstream-dev";
/// What is sealed when no file is named: small enough for a 2 KiB sector.
const SAMPLE: (&str, &[u8]) = ("LICENSE-MIT", include_bytes!("../../../LICENSE-MIT"));

/// Run the whole system on this machine, on an embedded chain: for a first look, and for development.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for everything the run makes; emptied at the start if a former run made it.
    #[arg(long, default_value = "sealstream-dev")]
    dir: PathBuf,
    /// Leave the cluster running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Start the cluster and create a miner, but submit nothing; implies --keep.
    #[arg(long)]
    idle: bool,
    /// The file to seal, at most 2,032 bytes; a sample when none is named.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give up when the sectors are not proven by then.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    limit: Duration,
}

/// Runs the command to its end, and stops whatever it started.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let began = Instant::now();
    let stop = host::signal::shutdown().context("listen for signals")?;
    let dir = prepare(&args.dir)?;
    let mut cluster = Cluster::new(&dir, began)?;
    let end = tokio::select! {
        done = demo(&args, &dir, &mut cluster, began) => done,
        _ = stop => Err(CliError::new(Exit::Interrupted, "interrupted").hint("everything that was started is being stopped")),
    };
    cluster.stop().await;
    end
}

async fn demo(args: &Args, dir: &Path, cluster: &mut Cluster, began: Instant) -> Result<(), CliError> {
    cluster.start().await?;
    let nats = connect(cluster.nats_url()).await?;
    let commands = Commands::new(cluster)?;
    let miner = cluster.unless_broken(commands.create_miner()).await?;
    if args.idle {
        return rest(cluster, &commands).await;
    }

    let file = payload(args, dir)?;
    let mut sectors = cluster.unless_broken(commands.submit_empty(&miner)).await?;
    let with_file = cluster.unless_broken(commands.submit_file(&miner, &file)).await?;
    let carrier = *with_file.first().context("the coordinator named no sector for the file")?;
    sectors.extend(with_file);
    commands.say_what_shows_more(carrier);

    let live = Live::new(&nats, &sectors, began, std::io::stderr().is_terminal()).await?;
    let proven = tokio::time::timeout(args.limit, cluster.unless_broken(Box::pin(live.until_proven())));
    let snarks = Box::pin(proven).await.map_err(|_| late(args.limit, cluster))??;

    cluster.unless_broken(commands.unseal_and_compare(carrier, &file, &dir.join("unsealed"))).await?;
    print_split(&nats, &sectors, &snarks, dir).await?;
    println!("\nall done in {:.0} s: two sectors sealed, proven and read back", began.elapsed().as_secs_f64());
    if args.keep { rest(cluster, &commands).await } else { Ok(()) }
}

/// Leaves the cluster running until something ends it.
async fn rest(cluster: &mut Cluster, commands: &Commands) -> Result<(), CliError> {
    println!("\nthe cluster keeps running; Ctrl-C stops it. In another terminal:");
    commands.say_how_to_reach();
    cluster.unless_broken(std::future::pending()).await
}

/// Makes the folder, or empties the one a former run made. Any other folder is left alone.
fn prepare(dir: &Path) -> Result<PathBuf, CliError> {
    let shown = dir.display();
    if dir.exists() {
        if !dir.join(MARK).exists() {
            return Err(CliError::new(Exit::Usage, format!("{shown} exists and was not made by `coordinator dev`"))
                .hint("name another folder with --dir"));
        }
        host::durable::remove_dir_all(dir).with_context(|| format!("empty {shown}"))?;
    }
    host::durable::create_dir_all(dir).with_context(|| format!("create {shown}"))?;
    host::durable::write(&dir.join(MARK), b"made by `coordinator dev`\n").with_context(|| format!("mark {shown}"))?;
    dir.canonicalize().with_context(|| format!("resolve {shown}")).map_err(Into::into)
}

fn payload(args: &Args, dir: &Path) -> Result<PathBuf, CliError> {
    if let Some(file) = &args.file {
        return file
            .canonicalize()
            .map_err(|e| CliError::new(Exit::NotFound, format!("cannot read {}", file.display())).because(e));
    }
    let (name, bytes) = SAMPLE;
    let file = dir.join(name);
    host::durable::write(&file, bytes).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

async fn connect(url: &str) -> Result<Nats, CliError> {
    let config =
        NatsConfig { url: url.to_owned(), name: "coordinator-dev".to_owned(), connect_timeout: Duration::from_secs(5) };
    Nats::connect(&config).await.map_err(|e| CliError::new(Exit::Unavailable, "connect to the queue").because(e))
}

fn late(limit: Duration, cluster: &Cluster) -> CliError {
    CliError::new(Exit::Failure, format!("the sectors were not proven within {}", humantime::format_duration(limit)))
        .hint(format!("the logs are in {}", cluster.logs().display()))
}

async fn print_split(nats: &Nats, sectors: &[SectorId], snarks: &[live::Ran], dir: &Path) -> Result<(), CliError> {
    let records: Bucket<SectorRecord> = Bucket::open(nats, BucketName::Sectors).await.context("open SECTORS")?;
    let chain: Bucket<ChainHead> = Bucket::open(nats, BucketName::Chain).await.context("open CHAIN")?;
    let head = chain.get("head").await.context("read the chain's head")?.context("the follower wrote no head")?.value;
    let policy = chain::policy::NetworkPolicy::for_network(&head.network).context("the devnet's policy row")?;
    println!("\nwhere the time went, in seconds:");
    let mut splits = Vec::new();
    for id in sectors {
        let record = records.get(&id.key()).await.context("read a sector")?.context("a sector's record is gone")?.value;
        let Some(split) = split::split(&record, policy.pre_commit_challenge_delay, head.block_delay_secs, snarks)
        else {
            continue;
        };
        split::print(id, &split);
        splits.push((*id, split));
    }
    split::write(&dir.join("split.json"), &splits).map_err(Into::into)
}
