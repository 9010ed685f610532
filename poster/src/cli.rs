//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use host::{
    config::{Sources, load},
    exit::{CliError, Exit},
    home,
    output::Format,
    telemetry::LogFormat,
};
use serde_json::json;
use streams::id::MinerId;

use crate::config::Config;

/// Meets every proving deadline: has partitions proven by agents, verifies the proofs and sends them.
#[derive(Debug, Parser)]
#[command(name = "poster", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

const EXAMPLES: &str = "Examples:
  poster run                             prove for every miner the coordinator manages
  poster deadlines --miner f01000        the proving period, deadline by deadline
  poster deadlines -o json | jq '.[] | select(.current)'
  poster info --miner f01000             the current deadline, with what is left of it";

/// What holds for every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder with configuration and data [default: $SEALSTREAM_HOME, else ~/.sealstream]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Configuration file [default: poster.toml in the home folder]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of nats-server
    #[arg(long, global = true, value_name = "URL")]
    nats: Option<String>,
    /// Address of the chain node
    #[arg(long, global = true, value_name = "URL")]
    chain: Option<String>,
    /// Form of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch deadlines and prove them until told to stop
    Run,
    /// List a miner's deadlines: when they open, what they hold, what is proven
    Deadlines(Asked),
    /// Show a miner's current deadline
    Info(Asked),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `poster config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List every setting with its value and who said it: default, file and line, variable, flag
    Show {
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// What a question is about.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// The miner; needed when more than one is known
    #[arg(long)]
    pub(crate) miner: Option<MinerId>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Leave out the line of titles
    #[arg(long)]
    pub(crate) no_headers: bool,
}

impl Global {
    /// The home folder.
    pub(crate) fn home(&self) -> PathBuf {
        home::resolve(self.home.clone())
    }

    /// The whole configuration; nothing is opened before it is known to be good.
    pub(crate) fn load(&self) -> Result<Config, CliError> {
        let config: Config = load(&self.sources())?;
        check(&config)?;
        Ok(config)
    }

    /// Where it is said.
    pub(crate) fn sources(&self) -> Sources {
        Sources {
            file: Some(self.config.clone().unwrap_or_else(|| self.home().join("poster.toml"))),
            file_required: self.config.is_some(),
            env_prefix: "SEALSTREAM_POSTER_",
            overrides: json!({ "nats": { "url": self.nats }, "chain": { "api": self.chain } }),
        }
    }
}

fn check(config: &Config) -> Result<(), CliError> {
    let per_message = config.post.partitions_per_message;
    if !(1..=crate::group::PARTITIONS_PER_MESSAGE_MAX).contains(&per_message) {
        let message =
            format!("post.partitions_per_message = {per_message}, but the actor takes 1 to 3 partitions in a message");
        return Err(CliError::new(Exit::Config, message));
    }
    if config.post.start_confidence < 0 || config.post.submit_confidence < 0 {
        return Err(CliError::new(Exit::Config, "post.start_confidence and post.submit_confidence cannot be negative"));
    }
    if config.post.lease_ttl.is_zero() || config.post.check_interval.is_zero() {
        return Err(CliError::new(Exit::Config, "post.lease_ttl and post.check_interval cannot be zero"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli =
            Cli::try_parse_from(["poster", "deadlines", "--miner", "t01000", "-o", "json", "--no-headers"]).unwrap();
        let Command::Deadlines(asked) = cli.command else { panic!("{cli:?}") };
        assert_eq!((asked.miner, asked.output), (Some(MinerId(1000)), Format::Json));
        assert!(Cli::try_parse_from(["poster", "deadlines", "--miner", "1000"]).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_anything_is_opened() {
        assert!(check(&Config::default()).is_ok());
        let spoilt: [fn(&mut Config); 4] = [
            |config| config.post.partitions_per_message = 4,
            |config| config.post.partitions_per_message = 0,
            |config| config.post.start_confidence = -1,
            |config| config.post.lease_ttl = std::time::Duration::ZERO,
        ];
        for spoil in spoilt {
            let mut config = Config::default();
            spoil(&mut config);
            assert!(check(&config).is_err(), "{config:?}");
        }
    }
}
