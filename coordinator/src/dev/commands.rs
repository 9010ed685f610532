//! The commands of the demo, run and shown as a person would type them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use serde::{Deserialize, de::DeserializeOwned};
use streams::id::SectorId;

use super::cluster::Cluster;

/// Runs commands against a cluster.
pub(super) struct Commands {
    coordinator: PathBuf,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    home: PathBuf,
    nats_url: String,
    poster: String,
}

#[derive(Deserialize)]
struct Created {
    miner: String,
}

#[derive(Deserialize)]
struct Submitted {
    sectors: Vec<SectorId>,
}

impl Commands {
    pub(super) fn new(cluster: &Cluster) -> Result<Self, CliError> {
        Ok(Self {
            coordinator: cluster.bin().join("coordinator"),
            environment: cluster.environment(),
            home: cluster.home(),
            nats_url: cluster.nats_url().to_owned(),
            poster: cluster.poster_address().to_owned(),
        })
    }

    pub(super) async fn create_miner(&self) -> Result<String, CliError> {
        let created: Created =
            self.answer(&["miner", "create", "--sector-size", "2KiB", "--owner", &self.poster]).await?;
        println!("           miner {}", created.miner);
        Ok(created.miner)
    }

    pub(super) async fn submit_empty(&self, miner: &str) -> Result<Vec<SectorId>, CliError> {
        let submitted: Submitted = self.answer(&["submit", "--miner", miner, "--count", "1"]).await?;
        Ok(submitted.sectors)
    }

    pub(super) async fn submit_file(&self, miner: &str, file: &Path) -> Result<Vec<SectorId>, CliError> {
        let file = file.display().to_string();
        let submitted: Submitted = self.answer(&["submit", "--miner", miner, &file]).await?;
        Ok(submitted.sectors)
    }

    /// Reads the first piece of a sector back, from its sealed replica, and compares it with the original.
    pub(super) async fn unseal_and_compare(
        &self,
        sector: SectorId,
        original: &Path,
        out: &Path,
    ) -> Result<(), CliError> {
        let (sector_text, out_text) = (sector.to_string(), out.display().to_string());
        self.run(&["unseal", &sector_text, "--piece", "0", "--out", &out_text]).await?;
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let (before, after) = (read(original)?, read(out)?);
        if before != after {
            let message = format!("{} differs from {}", out.display(), original.display());
            return Err(CliError::new(Exit::Data, message));
        }
        println!("           {} bytes read back from the replica equal the original", after.len());
        Ok(())
    }

    /// What a person can type to see more, while it runs.
    pub(super) fn say_what_shows_more(&self, sector: SectorId) {
        println!("\nto see more, in another terminal:");
        self.say_how_to_reach();
        let shown = self.coordinator.display();
        println!("  {shown} sectors list");
        println!("  {shown} sectors show {sector}");
        println!("  {shown} tasks list");
        println!("  {shown} agents list");
        println!("and with the NATS CLI:");
        println!("  nats -s {0} stream report          # streams and what waits in them", self.nats_url);
        println!("  nats -s {0} consumer report TASKS  # per class: running, queued", self.nats_url);
        println!("  nats -s {0} kv watch AGENTS        # heartbeats and progress", self.nats_url);
        println!("  nats -s {0} sub 'ev.>'             # the live feed", self.nats_url);
        println!("  nats -s {0} micro ls               # the commands the coordinator answers\n", self.nats_url);
    }

    pub(super) fn say_how_to_reach(&self) {
        println!("  export SEALSTREAM_HOME={}", self.home.display());
    }

    async fn answer<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, CliError> {
        let mut with_format = args.to_vec();
        with_format.extend(["-o", "json"]);
        let text = self.run_quietly(args, &with_format).await?;
        let value = serde_json::from_slice(&text);
        value.with_context(|| format!("read the answer of `coordinator {}`", args.join(" "))).map_err(Into::into)
    }

    async fn run(&self, args: &[&str]) -> Result<(), CliError> {
        self.run_quietly(args, args).await.map(|_| ())
    }

    async fn run_quietly(&self, shown: &[&str], args: &[&str]) -> Result<Vec<u8>, CliError> {
        println!("         $ coordinator {}", shown.join(" "));
        let mut command = tokio::process::Command::new(&self.coordinator);
        command.args(args).envs(self.environment.iter().cloned()).kill_on_drop(true).process_group(0);
        let output = command.output().await.with_context(|| format!("run coordinator {}", args.join(" ")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let talk = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CliError::new(
            Exit::Failure,
            format!("`coordinator {}` ended with {}: {talk}", shown.join(" "), output.status),
        ))
    }
}
