//! The command line of `prover`.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use host::{
    exit::{CliError, Exit},
    telemetry::LogFormat,
};
use prover::{
    bench,
    job::JobResult,
    params::{self, Circuit, Event},
    run_job,
};
use streams::proof::SealProof;

/// Runs one stage of sealing or proving: reads request.json in a job directory, writes progress.json while it works
/// and result.json when it ends.
#[derive(Debug, Parser)]
#[command(name = "prover", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    /// The job directory.
    job: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate Groth16 parameters for a devnet, offline. They are insecure: anyone can forge proofs against them.
    Params(ParamsArgs),
    /// Call every stage directly for one sector and print the seconds each took.
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
struct ParamsArgs {
    /// Sector size: 2KiB, 8MiB, 512MiB.
    #[arg(long, default_value = "2KiB")]
    sector_size: SealProof,
    /// Circuits, separated by commas: porep, window, winning, update.
    #[arg(long, value_delimiter = ',', default_values = ["porep", "window"])]
    what: Vec<Circuit>,
    /// Where to put them [default: the devnet folder in your cache].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only the verifying keys: seconds, and enough to verify.
    #[arg(long)]
    verifying_keys: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Sector size: 2KiB, 8MiB, 512MiB.
    #[arg(long, default_value = "2KiB")]
    sector_size: SealProof,
    /// `json`: one object, seconds by stage. `text`: a line for each.
    #[arg(long, short, value_enum, default_value_t = BenchFormat::Text)]
    output: BenchFormat,
    /// Where to seal [default: the system's temporary folder].
    #[arg(long)]
    work_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BenchFormat {
    Text,
    Json,
}

pub(crate) fn run() -> Result<(), CliError> {
    let cli = Cli::parse();
    match (cli.command, cli.job) {
        (Some(Command::Params(args)), _) => make_params(&args),
        (Some(Command::Bench(args)), _) => print_bench(&args),
        (None, Some(job)) => run_one(&job),
        (None, None) => Err(CliError::new(Exit::Usage, "no job directory")),
    }
}

fn run_one(job: &Path) -> Result<(), CliError> {
    host::telemetry::init(LogFormat::Text, prover::LOG_FILTER)?;
    let result = run_job(job).map_err(|error| CliError::new(Exit::Io, "run the job").because(error))?;
    match result {
        JobResult::Done { .. } => Ok(()),
        JobResult::Refused { code, message, .. } => Err(CliError::new(Exit::Failure, format!("{code}: {message}"))),
    }
}

fn make_params(args: &ParamsArgs) -> Result<(), CliError> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => params::devnet_folder().map_err(anyhow::Error::from)?,
    };
    let size = args.sector_size;
    if args.verifying_keys {
        params::ensure_verifying_keys(size, &args.what, &folder).map_err(anyhow::Error::from)?;
    } else {
        params::ensure(size, &args.what, &folder, |event| tell(size, &event)).map_err(anyhow::Error::from)?;
    }
    eprintln!("devnet parameters are in {}", folder.display());
    Ok(())
}

fn print_bench(args: &BenchArgs) -> Result<(), CliError> {
    let work_dir = args.work_dir.clone().unwrap_or_else(std::env::temp_dir);
    let stages = bench::run(args.sector_size, &work_dir)?;
    match args.output {
        BenchFormat::Text => {
            stages.iter().for_each(|(stage, took)| println!("{stage:<13}{:>10.3} s", took.as_secs_f64()))
        }
        BenchFormat::Json => {
            let seconds: serde_json::Map<_, _> =
                stages.iter().map(|(stage, took)| ((*stage).to_owned(), took.as_secs_f64().into())).collect();
            println!("{}", serde_json::Value::Object(seconds));
        }
    }
    Ok(())
}

fn tell(size: SealProof, event: &Event) {
    match event {
        Event::Waiting => eprintln!("{size}: waiting for another process that generates into the same folder"),
        Event::Present(circuit) => eprintln!("{size} {circuit}: present"),
        Event::Working(circuit, step) => eprintln!("{size} {circuit}: {step}"),
        Event::Written { circuit, took } => eprintln!("{size} {circuit}: written after {:.1} s", took.as_secs_f64()),
    }
}
