//! The command line.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};
use fvm_shared::{address::Address, bigint::BigInt, econ::TokenAmount};
use host::telemetry::LogFormat;

use devnet::Preset;

/// The embedded chain: real actor state, real verification, Lotus' JSON-RPC, no network.
#[derive(Debug, Parser)]
#[command(name = "devnet", version)]
pub(crate) struct Cli {
    /// Numbers the chain runs under: fast or mainnet.
    #[arg(long, default_value = "fast")]
    pub(crate) preset: Preset,
    /// Where to serve; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:1234")]
    pub(crate) listen: SocketAddr,
    /// An account of genesis and its FIL, such as f3…=1000000. May be repeated.
    #[arg(long = "fund", value_name = "ADDRESS=FIL")]
    pub(crate) funds: Vec<Fund>,
    /// Folder of the saved chain. Without it nothing is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What lets epochs pass: the time, or `Devnet.Advance`.
    #[arg(long, value_enum, default_value = "timed")]
    pub(crate) clock: Clock,
    /// Written once the chain is served: JSON with its url.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Accept a window PoSt that does not verify, as a real chain does until somebody disputes it. It is recorded all
    /// the same: see `Devnet.PostVerdicts`.
    #[arg(long)]
    pub(crate) optimistic_posts: bool,
    /// Appends what the chain does to this file, a JSON line each.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Form of log lines.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// What lets epochs pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// One every block delay.
    Timed,
    /// `Devnet.Advance`.
    Manual,
}

/// Funds of an account.
#[derive(Debug, Clone)]
pub(crate) struct Fund {
    pub(crate) address: Address,
    pub(crate) amount: TokenAmount,
}

impl FromStr for Fund {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, amount) = text.split_once('=').ok_or("write it as ADDRESS=FIL, for example f3…=1000000")?;
        let address = chain::address::parse(address).map_err(|e| e.to_string())?;
        let whole: BigInt = amount.parse().map_err(|_| format!("\"{amount}\" is not a whole number of FIL"))?;
        Ok(Self { address, amount: TokenAmount::from_whole(whole) })
    }
}
