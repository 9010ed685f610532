//! The command line.

use std::{path::PathBuf, time::Duration};

use chain::key::KeyKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use host::{output::Format, telemetry::LogFormat};
use streams::{
    id::{AgentId, MinerId, Place, SectorId},
    proof::SealProof,
    stage::Stage,
};

use crate::dev;

/// Seals Filecoin sectors: decides what happens next to each, and speaks to the chain about it.
#[derive(Debug, Parser)]
#[command(name = "coordinator", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The folder of configuration and data [default: ~/.sealstream].
    #[arg(long, global = true, env = "SEALSTREAM_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The configuration file [default: coordinator.toml in the home folder].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  coordinator dev                                    the whole system on this machine, on its own chain
  coordinator submit --miner f01000 --count 2        seal two empty sectors
  coordinator submit --miner f01000 photos.car       seal a file
  coordinator sectors show f01000/1                  a sector's whole story
  coordinator unseal f01000/1 --piece 0 --out FILE   read a file back from its replica";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented configuration and make the data folder.
    Init,
    /// Run the coordinator.
    Run {
        /// The form of log lines.
        #[arg(long, value_enum)]
        log_format: Option<LogFormat>,
    },
    /// Seal sectors: empty ones by count, or files and URLs as pieces.
    Submit(Submit),
    /// Storage miners.
    #[command(subcommand)]
    Miner(Miner),
    /// Sectors.
    #[command(subcommand)]
    Sectors(Sectors),
    /// Read data back from a sealed sector.
    Unseal(Unseal),
    /// Tasks in the queue.
    #[command(subcommand)]
    Tasks(Tasks),
    /// Stores of the agents' hosts.
    #[command(subcommand)]
    Store(Store),
    /// Agents of the cluster.
    #[command(subcommand)]
    Agents(Agents),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Local keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Bring a lost queue back from what stores hold and the chain says. No coordinator may lead meanwhile.
    Rebuild(Rebuild),
    /// Copies of the queue's state.
    #[command(subcommand)]
    Backup(Backup),
    /// Put a backup in the place of a lost queue, then rebuild what was done since. No coordinator may lead meanwhile.
    Restore(Restore),
    /// Run the whole system on this machine, on an embedded chain.
    Dev(dev::Args),
}

/// `coordinator rebuild`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Rebuild {
    /// Say what would be done, and write nothing but empty streams where they are missing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// Whom a rebuild waits for, and how it answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Patience {
    /// Go on without this agent, whatever its stores hold; may be given several times.
    #[arg(long, value_name = "AGENT")]
    pub(crate) without: Vec<AgentId>,
    /// How long agents may take to be heard.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
    /// How long messages that were sent before may wait in the node's pool.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) pool_wait: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `coordinator restore`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Restore {
    /// The backup's folder: see `coordinator backup list`.
    pub(crate) dir: PathBuf,
    /// Remove what the queue holds now.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// `coordinator backup …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Take one now.
    Now {
        #[command(flatten)]
        output: Output,
    },
    /// Those there are, oldest first.
    List {
        #[command(flatten)]
        output: Output,
    },
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// `coordinator submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The miner.
    #[arg(long)]
    pub(crate) miner: MinerId,
    /// So many empty sectors.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), required_unless_present = "pieces", conflicts_with = "pieces")]
    pub(crate) count: Option<u64>,
    /// Files, http(s) URLs, and objects of the coordinator's bucket (s3://BUCKET/KEY), each a piece.
    #[arg(value_name = "FILE or URL")]
    pub(crate) pieces: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `coordinator miner …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Miner {
    /// Create a storage miner on chain and seal for it.
    Create {
        /// The size of its sectors.
        #[arg(long)]
        sector_size: SealProof,
        /// The address that pays [default: the configured sender].
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// Its owner [default: the address that pays].
        #[arg(long, value_name = "ADDRESS")]
        owner: Option<String>,
        /// Its worker, of a BLS key [default: the address that pays].
        #[arg(long, value_name = "ADDRESS")]
        worker: Option<String>,
        /// Its peer id, hexadecimal.
        #[arg(long, default_value = "", value_name = "HEX")]
        peer_id: String,
        #[command(flatten)]
        output: Output,
    },
}

/// `coordinator sectors …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sectors {
    /// Sectors, one a line.
    List {
        /// Only those in this state.
        #[arg(long)]
        state: Option<String>,
        /// Only those that wait for a person, with the reason.
        #[arg(long, conflicts_with = "state")]
        parked: bool,
        /// Only those of this miner.
        #[arg(long)]
        miner: Option<MinerId>,
        #[command(flatten)]
        output: Output,
    },
    /// One sector's whole story.
    Show {
        /// The sector, for example f01000/1.
        sector: SectorId,
        #[command(flatten)]
        output: Output,
    },
    /// Go on with a parked sector.
    Retry {
        /// The sector, for example f01000/1.
        sector: SectorId,
        /// Begin with this stage: place, add-piece, tree-d, pc1, pc2, persist, c1 or c2 [default: where it was parked].
        #[arg(long, value_name = "STAGE")]
        from: Option<Stage>,
    },
    /// Give up a sector that is not on chain.
    Abort {
        /// The sector, for example f01000/1.
        sector: SectorId,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

/// `coordinator unseal`.
#[derive(Debug, Args)]
pub(crate) struct Unseal {
    /// The sector, for example f01000/1.
    pub(crate) sector: SectorId,
    /// Which piece, from 0; all of the sector when absent.
    #[arg(long)]
    pub(crate) piece: Option<usize>,
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE", required_unless_present = "to")]
    pub(crate) out: Option<PathBuf>,
    /// The object to write, in the coordinator's bucket; it must not exist.
    #[arg(long, value_name = "s3://BUCKET/KEY", conflicts_with = "out")]
    pub(crate) to: Option<String>,
    /// Give up after this time.
    #[arg(long, default_value = "6h", value_parser = humantime::parse_duration)]
    pub(crate) limit: Duration,
}

/// `coordinator tasks …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Tasks {
    /// Tasks that wait or run, one a line.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Why a sector is where it is: a reason for each thing it waits for.
    Why {
        /// The sector, for example f01000/1.
        sector: SectorId,
        #[command(flatten)]
        output: Output,
    },
}

/// `coordinator store …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Stores as their agents last saw them, one a line.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Give a store up: what was being sealed in it is sealed anew elsewhere, with the same ticket where the chain has it.
    Lost {
        /// The store, as `store list` shows it.
        store: uuid::Uuid,
        /// Why, for the audit.
        #[arg(long, default_value = "a person says so")]
        because: String,
    },
    /// Take a store back that was given up.
    Found {
        /// The store, as `store list` shows it.
        store: uuid::Uuid,
    },
}

/// `coordinator agents …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// Agents with their slots and their work, one a line.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Take no new sector there, and nothing that another agent could do; bound work goes on.
    Cordon(ChosenAgents),
    /// Cordon, then finish what is bound there or leave it to another agent; list each sector with its deadline.
    Drain {
        #[command(flatten)]
        agents: ChosenAgents,
        /// After so long nothing more is started, whatever is left.
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = humantime::parse_duration)]
        deadline: Duration,
        /// Do not wait until they are drained.
        #[arg(long)]
        no_wait: bool,
    },
    /// Start nothing more; what runs goes on.
    Pause(ChosenAgents),
    /// Take work again.
    Resume(ChosenAgents),
}

/// Agents by name, or all of a place.
#[derive(Debug, Args)]
pub(crate) struct ChosenAgents {
    /// Agents, as `agents list` shows them.
    #[arg(value_name = "AGENT", required_unless_present = "place", conflicts_with = "place")]
    pub(crate) names: Vec<AgentId>,
    /// All agents of this place.
    #[arg(long)]
    pub(crate) place: Option<Place>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `coordinator config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting with its value and who said it: default, file and line, variable.
    Show {
        #[command(flatten)]
        output: Output,
    },
}

/// `coordinator keys …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key in the home's keys folder and print its address.
    Generate {
        /// The file's name, without its ending.
        #[arg(default_value = "default")]
        name: String,
        /// The kind of key; a miner's worker, which `miner create` makes of its sender, has to be BLS.
        #[arg(long, value_enum, default_value_t = KeyKindArg::Bls)]
        kind: KeyKindArg,
        #[command(flatten)]
        output: Output,
    },
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyKindArg {
    /// f1…
    Secp256k1,
    /// f3…
    Bls,
}

impl From<KeyKindArg> for KeyKind {
    fn from(kind: KeyKindArg) -> Self {
        match kind {
            KeyKindArg::Secp256k1 => Self::Secp256k1,
            KeyKindArg::Bls => Self::Bls,
        }
    }
}
