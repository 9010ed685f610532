//! What a person types: each command is a file.

mod ask;
pub(crate) mod backup;
mod fleet;
mod init;
mod keys;
mod listings;
mod miner;
pub(crate) mod rebuild;
mod store;
pub(crate) mod submit;
pub(crate) mod unseal;
mod why;

use std::path::{Path, PathBuf};

use host::{exit::CliError, telemetry::LogFormat};
use streams::{control::CreateMinerRequest, duty::Duty, id::StoreId, nats::Nats};

use crate::{
    app,
    cli::{Agents, ChosenAgents, Cli, Command, ConfigCommand, Miner, Sectors, Store},
    config, dev,
};

/// The folder of the coordinator's data within its home.
const DATA: &str = "coordinator";

/// What a command's connection is called.
const CLI_NAME: &str = "coordinator-cli";

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<(), CliError> {
    let home = host::home::resolve(cli.home);
    match cli.command {
        Command::Init => init::init(&home, cli.config),
        Command::Run { log_format } => {
            host::telemetry::init(log_format.unwrap_or_default(), prover::LOG_FILTER)?;
            app::run(config::read(&home, cli.config)?, &data(&home)).await
        }
        Command::Submit(args) => submit::submit(&connect(&home, cli.config).await?, args).await,
        Command::Miner(Miner::Create { sector_size, from, owner, worker, peer_id, output }) => {
            let nats = connect(&home, cli.config).await?;
            let request = CreateMinerRequest { proof: sector_size, from, owner, worker, peer_id };
            miner::create(&nats, &request, output.output).await
        }
        Command::Sectors(Sectors::Retry { sector, from }) => {
            ask::retry(&connect(&home, cli.config).await?, sector, from).await
        }
        Command::Sectors(Sectors::Abort { sector, reason }) => {
            ask::abort(&connect(&home, cli.config).await?, sector, reason).await
        }
        Command::Sectors(Sectors::List { state, parked, miner, output }) => {
            let choice = listings::Choice { state, parked, miner };
            listings::sectors(&connect(&home, cli.config).await?, &choice, output.output).await
        }
        Command::Sectors(Sectors::Show { sector, output }) => {
            listings::sector(&connect(&home, cli.config).await?, sector, output.output).await
        }
        Command::Unseal(args) => unseal::unseal(&connect(&home, cli.config).await?, args).await,
        Command::Tasks(crate::cli::Tasks::List { output }) => {
            listings::tasks(&connect(&home, cli.config).await?, output.output).await
        }
        Command::Tasks(crate::cli::Tasks::Why { sector, output }) => {
            let config = config::read(&home, cli.config)?;
            why::tell(&app::connect(&config, CLI_NAME).await?, &config, sector, output.output).await
        }
        Command::Store(command) => store_command(&connect(&home, cli.config).await?, command).await,
        Command::Agents(command) => agents_command(&config::read(&home, cli.config)?, command).await,
        Command::Config(ConfigCommand::Show { output }) => {
            // What cannot work is refused here as at the start.
            config::read(&home, cli.config.clone())?;
            host::config::show::<config::Config>(&config::sources(&home, cli.config), output.output)
        }
        Command::Keys(crate::cli::Keys::Generate { name, kind, output }) => {
            keys::generate(&home, &name, kind, output.output)
        }
        Command::Rebuild(args) => {
            host::telemetry::init(LogFormat::default(), prover::LOG_FILTER)?;
            let config = config::read(&home, cli.config)?;
            let report = Box::pin(rebuild::rebuild(&config, &data(&home), &args)).await?;
            report.details()?.print(args.patience.output.output)
        }
        Command::Restore(args) => {
            host::telemetry::init(LogFormat::default(), prover::LOG_FILTER)?;
            let config = config::read(&home, cli.config)?;
            let report = Box::pin(rebuild::restore(&config, &data(&home), &args)).await?;
            report.details()?.print(args.patience.output.output)
        }
        Command::Backup(crate::cli::Backup::Now { output }) => {
            backup::now(&config::read(&home, cli.config)?, &data(&home), output.output).await
        }
        Command::Backup(crate::cli::Backup::List { output }) => {
            backup::show(&config::read(&home, cli.config)?, &data(&home), output.output)
        }
        Command::Dev(args) => Box::pin(dev::run(args)).await,
    }
}

async fn store_command(nats: &Nats, command: Store) -> Result<(), CliError> {
    match command {
        Store::List { output } => store::list(nats, output.output).await,
        Store::Lost { store, because } => store::lost(nats, StoreId(store), because).await,
        Store::Found { store } => store::found(nats, StoreId(store)).await,
    }
}

async fn agents_command(config: &config::Config, command: Agents) -> Result<(), CliError> {
    let nats = app::connect(config, CLI_NAME).await?;
    let tell = async |ChosenAgents { names, place, output }: ChosenAgents, duty| {
        fleet::tell(&nats, &fleet::Chosen { names, place }, duty, output.output).await
    };
    match command {
        Agents::List { output } => listings::agents(&nats, output.output).await,
        Agents::Cordon(agents) => tell(agents, Duty::Cordoned).await,
        Agents::Pause(agents) => tell(agents, Duty::Paused).await,
        Agents::Resume(agents) => tell(agents, Duty::Serving).await,
        Agents::Drain { agents: ChosenAgents { names, place, output }, deadline, no_wait } => {
            let chosen = fleet::Chosen { names, place };
            fleet::drain(&nats, &chosen, deadline, !no_wait, &config.policy, output.output).await
        }
    }
}

fn data(home: &Path) -> PathBuf {
    home.join(DATA)
}

async fn connect(home: &Path, file: Option<PathBuf>) -> Result<Nats, CliError> {
    app::connect(&config::read(home, file)?, CLI_NAME).await
}
