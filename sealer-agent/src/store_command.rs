//! The `store` commands: they work on this host's list and disks, and need neither queue nor agent.

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use clap::{Args, Subcommand};
use host::exit::{CliError, Exit};
use streams::id::{MinerId, Place, SectorId};

use crate::{
    attach,
    cli::{OutputArgs, RunArgs},
    config::Config,
    footprint,
    now::now,
    sources,
    store::{
        StoreError,
        check::{self, Problem},
        choice::{self, Candidate, Wanted},
        condition::Condition,
        holdings, identity,
        local::LocalStore,
        look,
        manifest::Manifest,
        paths,
        persistent::PersistentStore,
        registered::{self, Entry},
    },
    view::stores::{self, Shown},
};

/// How long a command waits for a disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make folders stores of this host
    Init {
        /// New or empty folders, each on the disk it is to use
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Keep finished replicas there, instead of sealing there
        #[arg(long)]
        persistent: bool,
    },
    /// Take over a folder of sealed sectors of lotus or damocles, where it is: each is proven, then the cluster's own
    Attach(AttachArgs),
    /// List this host's stores: ok, missing, read-only, full, hanging, failing or retired
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one store with what is in it
    Show {
        /// UUID or path
        store: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Say what a store takes: agents take it up with their next heartbeat
    Set {
        /// UUID or path
        store: String,
        /// Free bytes times this is what stores are chosen by; 0 is the last resort
        #[arg(long)]
        weight: Option<u32>,
        /// Whether it is only read from
        #[arg(long, value_name = "true|false")]
        read_only: Option<bool>,
        /// The only miners it takes (comma-separated; "all" for all)
        #[arg(long, value_name = "MINERS")]
        allow_miners: Option<Miners>,
        /// Miners it does not take (comma-separated; "none" for none)
        #[arg(long, value_name = "MINERS")]
        deny_miners: Option<Miners>,
    },
    /// Compare stores with their manifests; exit code 65 when something is wrong
    Check {
        /// UUIDs or paths [default: all]
        stores: Vec<String>,
        /// Read every replica, and compare its digest
        #[arg(long)]
        deep: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put no new sectors in a store; what is in it stays, and is proven from there
    Retire {
        /// UUID or path
        store: String,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
    /// Say which persistent store a replica goes to, and why not to the others
    Why {
        /// A sector (f01000/17) or a miner (f01000)
        subject: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The folder with sealed/ and cache/; beside them an identity and manifests are written, and nothing else
    pub(crate) path: PathBuf,
    /// Put no new replicas there
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Only sectors of this miner (repeat for several) [default: all]
    #[arg(long = "miner")]
    pub(crate) miners: Vec<MinerId>,
    /// Look, ask and prove, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Place whose agents open the store [default: as configured, else the host's name]
    #[arg(long)]
    pub(crate) place: Option<Place>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Miners on a command line.
#[derive(Debug, Clone)]
pub(crate) struct Miners(Vec<MinerId>);

impl std::str::FromStr for Miners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, "all" | "none" | "") {
            return Ok(Self(Vec::new()));
        }
        let miners = text.split(',').map(|miner| MinerId::from_str(miner.trim()).map_err(|e| e.to_string()));
        miners.collect::<Result<_, _>>().map(Self)
    }
}

/// Does one of them.
pub(crate) fn run(home: &Path, config: Option<PathBuf>, command: StoreCommand) -> Result<(), CliError> {
    let keep_free = || {
        host::config::load::<Config>(&sources(home, config.clone(), &RunArgs::default()))
            .map(|config| config.keep_free_bytes)
    };
    match command {
        StoreCommand::Init { paths, persistent } => init(home, &paths, persistent),
        StoreCommand::Attach(args) => {
            let run = RunArgs { place: args.place.clone(), ..RunArgs::default() };
            let config = host::config::load::<Config>(&sources(home, config, &run))?;
            let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
            runtime.block_on(attach::run(home, &config, &args))
        }
        StoreCommand::List { output } => stores::list(&shown(registered::read(home)?, keep_free()?), output.output),
        StoreCommand::Show { store, output } => {
            let shown = one(shown(vec![named(home, &store)?], keep_free()?), &store)?;
            stores::show(&shown, &held(&shown)?, output.output)
        }
        StoreCommand::Set { store, weight, read_only, allow_miners, deny_miners } => {
            let entry = named(home, &store)?;
            let edited = registered::edit(home, &entry.path, |entry| {
                entry.weight = weight.unwrap_or(entry.weight);
                entry.read_only = read_only.unwrap_or(entry.read_only);
                entry.allow_miners = allow_miners.map_or_else(|| entry.allow_miners.clone(), |miners| miners.0);
                entry.deny_miners = deny_miners.map_or_else(|| entry.deny_miners.clone(), |miners| miners.0);
            })?;
            told_changed(edited.as_ref(), "is noted; agents take it up with their next heartbeat");
            Ok(())
        }
        StoreCommand::Check { stores: names, deep, output } => check_stores(home, &names, deep, &output),
        StoreCommand::Retire { store, undo } => retire(home, &store, undo, keep_free()?),
        StoreCommand::Why { subject, output } => why(home, &subject, keep_free()?, &output),
    }
}

fn init(home: &Path, paths: &[PathBuf], persistent: bool) -> Result<(), CliError> {
    for path in paths {
        let path = std::path::absolute(path).map_err(StoreError::io("find", path))?;
        let identity = identity::init(&path, persistent, now())?;
        let store = Some(identity.store);
        registered::add(home, Entry { path: path.clone(), persistent, store, ..Entry::default() })?;
        let kind = if persistent { "persistent" } else { "local" };
        eprintln!("{} is now {kind} store {}", path.display(), identity.store);
    }
    Ok(())
}

/// The entry that a person names by UUID or path.
fn named(home: &Path, name: &str) -> Result<Entry, CliError> {
    let path = std::path::absolute(name).map_err(StoreError::io("find", Path::new(name)))?;
    let is_it = |entry: &Entry| entry.path == path || entry.store.is_some_and(|store| store.to_string() == name);
    registered::read(home)?.into_iter().find(is_it).ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("this host lists no store {name}"))
            .hint("`sealer-agent store list` shows those it has")
    })
}

fn shown(entries: Vec<Entry>, keep_free: u64) -> Vec<Shown> {
    let found = look::survey(&entries, keep_free, ANSWER_WITHIN);
    entries.into_iter().zip(found).map(|(entry, found)| Shown { entry, found }).collect()
}

fn one(shown: Vec<Shown>, name: &str) -> Result<Shown, CliError> {
    let missing = || CliError::new(Exit::NotFound, format!("this host lists no store {name}"));
    shown.into_iter().next().ok_or_else(missing)
}

/// The sectors in a store that can be read, as people write them.
fn held(shown: &Shown) -> Result<Vec<String>, StoreError> {
    let readable = shown.found.as_ref().is_some_and(|(_, look)| look.condition.can_be_read());
    if !readable {
        return Ok(Vec::new());
    }
    let path = &shown.entry.path;
    let folder = if shown.entry.persistent { paths::manifests(path) } else { paths::sectors(path) };
    let mut sectors: Vec<SectorId> = holdings::sectors_in(&folder)?.into_iter().map(|(sector, _)| sector).collect();
    sectors.sort();
    Ok(sectors.into_iter().map(|sector| sector.to_string()).collect())
}

fn told_changed(entry: Option<&Entry>, what: &str) {
    if let Some(entry) = entry {
        eprintln!("{} {what}", entry.path.display());
    }
}

fn retire(home: &Path, name: &str, undo: bool, keep_free: u64) -> Result<(), CliError> {
    let entry = named(home, name)?;
    let edited = registered::edit(home, &entry.path, |entry| entry.retired_at = (!undo).then(now))?;
    if undo {
        told_changed(edited.as_ref(), "takes new sectors again");
        return Ok(());
    }
    told_changed(edited.as_ref(), "is retired: it takes no new sectors");
    let shown = one(shown(vec![entry], keep_free), name)?;
    let sectors = held(&shown)?;
    match (&shown.found, sectors.as_slice()) {
        (Some((_, look)), _) if !look.condition.can_be_read() => {
            eprintln!("what is still on it cannot be told: {}", look.condition);
        }
        (None, _) => eprintln!("what is still on it cannot be told: no store is there"),
        (Some(_), []) => eprintln!("nothing is on it: its disk can go"),
        (Some(_), sectors) => {
            eprintln!("{} sectors are still on it, and need it:", sectors.len());
            for sector in sectors {
                println!("{sector}");
            }
        }
    }
    Ok(())
}

fn check_stores(home: &Path, names: &[String], deep: bool, output: &OutputArgs) -> Result<(), CliError> {
    let entries = if names.is_empty() {
        registered::read(home)?
    } else {
        names.iter().map(|name| named(home, name)).collect::<Result<_, _>>()?
    };
    let (mut problems, mut sectors, mut without_digest) = (Vec::new(), 0u64, 0u64);
    for Shown { entry, found } in shown(entries, 0) {
        let Some((store, look)) = found else {
            return Err(StoreError::NotInitialised { path: entry.path, persistent: entry.persistent }.into());
        };
        if let Condition::Hanging { .. } = look.condition {
            let what = look.condition.to_string();
            problems.push((store, Problem { sector: None, what, to_do: "see to its disk or its server" }));
            continue;
        }
        let mut seen = |sector: SectorId| {
            sectors += 1;
            if deep {
                eprintln!("reading {sector} in {}", entry.path.display());
            }
        };
        let found = check::check(store, &entry.path, entry.persistent, deep, &mut seen)?;
        problems.extend(found.problems.into_iter().map(|problem| (store, problem)));
        without_digest = without_digest.saturating_add(found.without_digest);
    }
    stores::problems(&problems, output.output)?;
    if without_digest > 0 {
        eprintln!(
            "{without_digest} attached sectors have no digest to compare: whether a byte changed, only proofs tell"
        );
    }
    let how = if deep { ", every replica read" } else { "" };
    if problems.is_empty() {
        eprintln!("{sectors} sectors looked at{how}: all is as the manifests say");
        return Ok(());
    }
    Err(CliError::new(Exit::Data, format!("{} problems with {sectors} sectors{how}", problems.len())))
}

fn why(home: &Path, subject: &str, keep_free: u64, output: &OutputArgs) -> Result<(), CliError> {
    let entries = registered::read(home)?;
    let sector = SectorId::from_str(subject).ok();
    let miner = sector.map(|sector| sector.miner).or_else(|| MinerId::from_str(subject).ok());
    let miner = miner.ok_or_else(|| {
        CliError::new(
            Exit::Usage,
            format!("\"{subject}\" is neither a sector such as f01000/17 nor a miner such as f01000"),
        )
    })?;
    let all = shown(entries, keep_free);
    let manifest = sector.map(|sector| find_manifest(&all, sector)).transpose()?.flatten();
    let bytes = manifest.as_ref().map(|manifest| footprint::replica_bytes(manifest.proof));
    if let (Some(sector), None) = (sector, bytes) {
        eprintln!("sector {sector} is in no store of this host: judged by its miner alone");
    }
    let candidates = all.into_iter().filter(|shown| shown.entry.persistent).filter_map(|Shown { entry, found }| {
        let (store, look) = found?;
        let kept = PersistentStore::new(store, entry.path.clone());
        let readable = look.condition.can_be_read();
        let has_it = readable && sector.is_some_and(|sector| kept.has(sector));
        let room = match sector {
            Some(sector) if readable => kept.room(sector, keep_free).ok(),
            _ => look.usage.map(|usage| usage.room.saturating_sub(keep_free)),
        };
        Some(Candidate { store, entry, condition: look.condition, has_it, room })
    });
    let ranked = choice::ranked(candidates.collect(), Wanted { miner, bytes });
    eprintln!("the most room wins, room times weight; of equals the lesser UUID");
    stores::why(&ranked, output.output)
}

fn find_manifest(stores: &[Shown], sector: SectorId) -> Result<Option<Manifest>, StoreError> {
    for Shown { entry, found } in stores {
        let Some((store, look)) = found else { continue };
        if !look.condition.can_be_read() {
            continue;
        }
        let path = if entry.persistent {
            PersistentStore::new(*store, entry.path.clone()).files(sector).manifest
        } else {
            LocalStore::new(*store, entry.path.clone()).files(sector).manifest()
        };
        if let Some(manifest) = Manifest::read(&path)? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}
