//! `simulator`: plays seeds of the simulated cluster, and says which of them go wrong.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::{Parser, Subcommand};
use host::exit::{CliError, Exit, main_with};
use trial::sim::{Outcome, play, without::Without};

/// Plays seeds of the simulated cluster.
#[derive(Debug, Parser)]
#[command(name = "simulator")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Take a mechanism away: fence, journal, lock, reconciler or drain.
    #[arg(long, global = true, env = "SEALSTREAM_SIM_WITHOUT")]
    without: Option<Without>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play many seeds.
    Run {
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Only the seeds of one shard, as `2/4`.
        #[arg(long)]
        shard: Option<String>,
        /// Threads; each plays its own seeds.
        #[arg(long)]
        threads: Option<usize>,
        /// Skips the seeds this file lists, and adds those that were played.
        #[arg(long)]
        resume: Option<PathBuf>,
        /// Adds each seed that goes wrong to this list of regressions, behind a `#` until its cause is gone.
        #[arg(long)]
        keep: Option<PathBuf>,
        /// Stop at the first violation.
        #[arg(long)]
        first: bool,
    },
    /// Play one seed and print everything that happens.
    Replay {
        /// The seed.
        seed: u64,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    main_with(|| run(&cli))
}

fn run(cli: &Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Replay { seed } => {
            let outcome = play(*seed, cli.without, true).map_err(CliError::from)?;
            println!("digest {:016x}", outcome.digest);
            verdict(1, u64::from(!outcome.violations.is_empty()))
        }
        Command::Run { seeds, from, shard, threads, resume, keep, first } => {
            let done = resume.as_ref().map(played).transpose()?.unwrap_or_default();
            let (index, of) = shard.as_deref().map(read_shard).transpose()?.unwrap_or((0, 1));
            let wanted: Vec<u64> = (*from..from.saturating_add(*seeds))
                .filter(|seed| seed % of == index && !done.contains(seed))
                .collect();
            let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
            let lists = Lists { played: List::open(resume.as_ref())?, wrong: List::open(keep.as_ref())? };
            run_all(&wanted, threads, cli.without, lists, *first)
        }
    }
}

/// Plays seeds on several threads; each thread has its own clock, queue and chain.
fn run_all(seeds: &[u64], threads: usize, without: Option<Without>, lists: Lists, first: bool) -> Result<(), CliError> {
    let next = AtomicU64::new(0);
    let bad = AtomicU64::new(0);
    let (errors, lists) = (Mutex::new(Vec::new()), Mutex::new(lists));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !(first && bad.load(Ordering::Relaxed) > 0) {
                    let turn = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
                    let Some(seed) = seeds.get(turn) else { return };
                    let played = play(*seed, without, false);
                    let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
                    match played {
                        Ok(outcome) => {
                            if let Some(worst) = outcome.violations.first() {
                                bad.fetch_add(1, Ordering::Relaxed);
                                tell(&outcome, without);
                                lists.wrong.add(&format!("# {seed}: {worst}"));
                            }
                        }
                        Err(error) => errors.lock().unwrap_or_else(PoisonError::into_inner).push((*seed, error)),
                    }
                    lists.played.add(&seed.to_string());
                }
            });
        }
    });
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((seed, error)) = errors.into_iter().next() {
        return Err(CliError::new(Exit::Failure, format!("play seed {seed}")).because(std::io::Error::other(error)));
    }
    verdict(u64::try_from(seeds.len()).unwrap_or(0), bad.into_inner())
}

/// The last line, and the exit code that follows from it.
fn verdict(seeds: u64, violations: u64) -> Result<(), CliError> {
    println!("simulator: {seeds} seeds, {violations} violations");
    if violations == 0 { Ok(()) } else { Err(CliError::new(Exit::Failure, "some seeds went wrong")) }
}

fn tell(outcome: &Outcome, without: Option<Without>) {
    let without = without.map(|without| format!(" --without {without}")).unwrap_or_default();
    let mut words = format!("seed {} went wrong:\n", outcome.seed);
    for violation in &outcome.violations {
        words.push_str(&format!("  {violation}\n"));
    }
    for line in &outcome.tail {
        words.push_str(&format!("    {line}\n"));
    }
    println!(
        "{words}  replay it: cargo run --workspace --features sim --bin simulator -- replay {}{without}",
        outcome.seed
    );
}

fn read_shard(text: &str) -> Result<(u64, u64), CliError> {
    let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((index, of)) if (1..=of).contains(&index) => Ok((index - 1, of)),
        _ => Err(CliError::new(Exit::Usage, format!("shard \"{text}\" is not like 2/4"))),
    }
}

fn played(file: &PathBuf) -> Result<BTreeSet<u64>, CliError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(CliError::new(Exit::Io, format!("read {}", file.display())).because(error)),
    }
}

/// What is remembered of a run.
struct Lists {
    played: List,
    wrong: List,
}

/// A file that grows by lines; one that loses its last lines only has their seeds played again.
struct List(Option<std::fs::File>);

impl List {
    fn open(file: Option<&PathBuf>) -> Result<Self, CliError> {
        let open = |path: &PathBuf| std::fs::OpenOptions::new().create(true).append(true).open(path);
        let opened = file.map(|path| {
            open(path).map_err(|error| CliError::new(Exit::Io, format!("write {}", path.display())).because(error))
        });
        opened.transpose().map(Self)
    }

    fn add(&mut self, line: &str) {
        use std::io::Write as _;
        if let Some(file) = &mut self.0
            && let Err(error) = writeln!(file, "{line}")
        {
            eprintln!("list \"{line}\": {error}");
        }
    }
}
