//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use host::{output::Format, telemetry::LogFormat};
use streams::{
    id::{AgentId, Place},
    stage::Class,
};

use crate::machine::confine::JoinArgs;

const EXAMPLES: &str = "\
Examples:
  sealer-agent store init /mnt/nvme0 /mnt/nvme1
  sealer-agent store init --persistent /mnt/pool
  sealer-agent run --class pc1-cpu --class pc2-gpu
  sealer-agent --class c2-gpu
  sealer-agent config show
  sealer-agent config import venus-worker.toml > ~/.sealstream/agent.toml
  sealer-agent drain --deadline 6h
  sealer-agent jobs";

/// Does one machine's share of the sealing work.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Folder with configuration and data [default: $SEALSTREAM_HOME, else ~/.sealstream]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Configuration file [default: agent.toml in the home]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Form of log lines [default: text on a terminal, json otherwise]
    #[arg(long, global = true, value_enum)]
    pub(crate) log_format: Option<LogFormat>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// `run` may be left out.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take tasks and work on them until told to stop
    Run(RunArgs),
    /// Show the configuration, or take over another worker's
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make stores, and see how they are
    #[command(subcommand)]
    Store(crate::store_command::StoreCommand),
    /// Take no new sector here, and nothing that another agent could do; bound work goes on
    Cordon {
        #[command(flatten)]
        agents: AgentArgs,
    },
    /// Cordon, then finish what is bound here or leave it to another agent; list each sector with its deadline
    Drain {
        #[command(flatten)]
        agents: AgentArgs,
        /// After so long nothing more is started, whatever is left
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = humantime::parse_duration)]
        deadline: Duration,
        /// Do not wait until it is drained
        #[arg(long)]
        no_wait: bool,
    },
    /// Start nothing more; what runs goes on
    Pause {
        #[command(flatten)]
        agents: AgentArgs,
    },
    /// Take work again
    Resume {
        #[command(flatten)]
        agents: AgentArgs,
    },
    /// Become a prover that is kept to its processors and its cgroup
    #[command(hide = true)]
    Join(JoinArgs),
    /// List what the agents of this host are doing
    Jobs {
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct RunArgs {
    /// Class to serve: pc1-cpu, pc2-gpu, c2-gpu, io, post-io, post-gpu (repeat for several)
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) classes: Vec<Class>,

    /// Name of this agent, unique in the cluster [default: <place>-<first class>]
    #[arg(long)]
    pub(crate) name: Option<AgentId>,

    /// Place whose stores this agent opens [default: the host's name]
    #[arg(long)]
    pub(crate) place: Option<Place>,

    /// Store to open instead of all initialised ones (repeat for several)
    #[arg(long = "store", value_name = "PATH")]
    pub(crate) stores: Vec<PathBuf>,

    /// Where nats-server is [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,

    /// Let -gpu classes run without a GPU
    #[arg(long)]
    pub(crate) allow_cpu: bool,
}

/// Which agents of this host.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Agents, running or not [default: all that ever ran from this home]
    #[arg(value_name = "AGENT")]
    pub(crate) names: Vec<AgentId>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List every setting with its value and who said it: default, file and line, variable, flag
    Show {
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make an agent.toml of a venus-worker.toml: each key mapped, or named with what to do instead
    Import {
        /// The file of venus-worker or damocles-worker
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

impl RunArgs {
    /// What the flags say, shaped like the configuration file; what was not said is null.
    pub(crate) fn overrides(&self) -> serde_json::Value {
        let unless_empty = |empty: bool, value: serde_json::Value| if empty { serde_json::Value::Null } else { value };
        serde_json::json!({
            "name": self.name,
            "place": self.place,
            "serve": unless_empty(self.classes.is_empty(), serde_json::json!(self.classes)),
            "stores": unless_empty(self.stores.is_empty(), serde_json::json!(self.stores)),
            "nats": { "url": self.nats },
            "allow_cpu": unless_empty(!self.allow_cpu, true.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_may_be_left_out() {
        let short = Cli::try_parse_from(["sealer-agent", "--home", "/h", "--class", "pc2-gpu"]).unwrap();
        assert!(short.command.is_none());
        assert_eq!(short.run.classes, [Class::Pc2Gpu]);
        let long = Cli::try_parse_from(["sealer-agent", "run", "--home", "/h", "--class", "pc2-gpu"]).unwrap();
        let Some(Command::Run(args)) = long.command else { unreachable!() };
        assert_eq!(args, short.run);
    }

    #[test]
    fn an_unknown_class_is_told_which_there_are() {
        let error = Cli::try_parse_from(["sealer-agent", "--class", "pc2-cpu"]).unwrap_err().to_string();
        assert!(error.contains("the classes are pc1-cpu, pc2-gpu"), "{error}");
    }
}
