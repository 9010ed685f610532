//! Many runs: one seed is one shard, and a shard that is done is not done again.

use std::path::Path;

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use serde::{Deserialize, Serialize};

use super::{RunArgs, SoakArgs, run};

/// What a shard came to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shard {
    seed: u64,
    injected: usize,
    clean: bool,
    table: String,
}

/// Runs seeds until there are enough faults; every shard's result stays in the folder.
pub(super) async fn soak(args: SoakArgs) -> Result<(), CliError> {
    let shards = args.dir.join("shards");
    host::durable::create_dir_all(&shards).with_context(|| format!("create {}", shards.display()))?;
    let mut all = Vec::new();
    let mut injected = 0_usize;
    for seed in 1_u64.. {
        if injected >= args.faults {
            break;
        }
        let path = shards.join(format!("{seed}.json"));
        let shard = match read(&path)? {
            Some(shard) => shard,
            None => {
                let shard = Box::pin(one(seed)).await?;
                let text = serde_json::to_vec_pretty(&shard).context("write a shard")?;
                host::durable::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
                shard
            }
        };
        // A shard that injects nothing would make this endless.
        if shard.injected == 0 {
            return Err(CliError::new(Exit::Failure, format!("seed {seed} injected nothing")));
        }
        injected = injected.saturating_add(shard.injected);
        println!("seed {seed}: {} faults, {injected} of {} in all", shard.injected, args.faults);
        all.push(shard);
    }
    report(&args.dir, &all, injected)?;
    let dirty: Vec<String> = all.iter().filter(|shard| !shard.clean).map(|shard| shard.seed.to_string()).collect();
    if dirty.is_empty() {
        return Ok(());
    }
    Err(CliError::new(Exit::Failure, format!("seeds with violations: {}", dirty.join(", ")))
        .hint("target/debug/faults run --seed SEED"))
}

fn read(path: &Path) -> anyhow::Result<Option<Shard>> {
    let bytes = host::durable::read(path).with_context(|| format!("read {}", path.display()))?;
    let shard = bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    shard.with_context(|| format!("read {}", path.display()))
}

async fn one(seed: u64) -> Result<Shard, CliError> {
    let args = RunArgs { seed, real: if seed % 10 == 1 { 3 } else { 0 }, ..RunArgs::standard()? };
    let tally = Box::pin(run::tally(&args)).await?;
    let table = tally.render();
    println!("{table}");
    Ok(Shard { seed, injected: tally.injected(), clean: tally.is_clean(), table })
}

fn report(dir: &Path, shards: &[Shard], injected: usize) -> anyhow::Result<()> {
    let clean = shards.iter().filter(|shard| shard.clean).count();
    let mut text =
        format!("# Soak\n\n{injected} faults in {} shards, {clean} of them without a violation.\n", shards.len());
    for shard in shards {
        text.push_str(&format!("\n## Seed {}\n\n```text\n{}\n```\n", shard.seed, shard.table));
    }
    let path = dir.join("faults.md");
    host::durable::write(&path, text.as_bytes()).with_context(|| format!("write {}", path.display()))
}
