//! What each key of venus-worker, and of damocles-worker after it, becomes.

use streams::stage::Class;

use super::{draft::Draft, source::Setting};

/// Makes of one setting what becomes of it.
pub(super) fn apply(draft: &mut Draft, setting: &Setting) {
    match setting.key().as_slice() {
        ["sealer_rpc" | "sector_manager", ..] => draft.say(
            setting,
            "agents do not call the coordinator: both speak to nats-server alone, so set nats.url to its address",
        ),
        ["sealing", key] | ["sealing_thread" | "sealing_threads" | "store" | "stores", "sealing", key] => {
            sealing(draft, setting, key);
        }
        ["store" | "stores" | "sealing_thread" | "sealing_threads", "location"] => store(draft, setting, false),
        ["remote" | "attached", "path" | "location"] => store(draft, setting, true),
        ["store" | "stores" | "sealing_thread" | "sealing_threads", key] => of_store(draft, setting, key),
        ["remote" | "attached", key] => of_persistent(draft, setting, key),
        ["limit", stage] | ["processors", "limitation", "concurrent", stage] => limit(draft, setting, stage),
        ["processors", "limitation", "staggered", stage] => stagger(draft, setting, stage),
        ["processors", "ext_locks", lock] => match setting.count() {
            Some(holders) if holders > 0 => draft.key(setting, "machine.locks", &key(lock), holders.into()),
            _ => draft.say(setting, "at least one job may hold a lock: leave it out of the stages to do without"),
        },
        ["processors", "static_tree_d", ..] => {
            draft.say(setting, "tree-d of empty sectors is built with each sector; no file of it is kept between them");
        }
        ["processors", stage, rest @ ..] => processor(draft, setting, stage, rest),
        ["worker", "name"] => match setting.text() {
            Some(name) if name.parse::<streams::id::AgentId>().is_ok() => draft.name(setting, name),
            _ => draft.say(setting, "an agent's name has the letters a-z, 0-9 and -, at most 32: choose `name` so"),
        },
        ["worker", "rpc_server" | "rpc", ..] => {
            draft.say(setting, "an agent opens no port: `sealer-agent jobs` here, `coordinator agents list` elsewhere");
        }
        ["worker", "local_pieces_dir" | "local_pieces_dirs"] | ["local_pieces_dir"] => {
            draft.say(setting, "pieces come from the coordinator, or from the URL they were submitted with");
        }
        ["metrics", ..] => draft.say(setting, "the coordinator serves /metrics for the whole cluster"),
        _ => draft.say(setting, "no key that venus-worker has: nothing is made of it"),
    }
}

fn store(draft: &mut Draft, setting: &Setting, persistent: bool) {
    match setting.text() {
        Some(path) => draft.store(setting, path, persistent),
        None => draft.say(setting, "not a path: make the store with `sealer-agent store init PATH`"),
    }
}

fn sealing(draft: &mut Draft, setting: &Setting, key: &str) {
    match (key, setting.flag(), setting.count()) {
        ("enable_deals", Some(false), _) => draft.say(
            setting,
            "what a sector holds is decided when it is submitted: only `coordinator submit --count` makes empty ones",
        ),
        ("enable_deals" | "disable_cc", ..) => draft.say(
            setting,
            "what a sector holds is decided when it is submitted: `coordinator submit --count N`, or with files",
        ),
        ("max_retries", _, Some(retries)) => draft.say(
            setting,
            format!(
                "the coordinator counts tries: sector.attempts_max = {} in coordinator.toml (the first try counts)",
                retries.saturating_add(1)
            ),
        ),
        ("max_retries", ..) => {
            draft.say(setting, "the coordinator counts tries: sector.attempts_max in coordinator.toml");
        }
        ("allowed_miners" | "allowed_sizes", ..) => draft.say(
            setting,
            "an agent seals for every miner of its coordinator ([[miners]] in coordinator.toml), and in every size that \
             a store has room for",
        ),
        ("seal_interval" | "recover_interval" | "rpc_polling_interval", ..) => {
            draft.say(setting, "nothing is polled: a task comes the moment that it is published");
        }
        ("max_deals" | "min_deal_space", ..) => {
            draft.say(setting, "the coordinator packs the pieces of a submission into as few sectors as they fit in");
        }
        ("ignore_proof_check", ..) => draft.say(setting, "every proof is verified; nothing turns that off"),
        _ => draft.say(setting, "no key that venus-worker has under `sealing`: nothing is made of it"),
    }
}

fn of_store(draft: &mut Draft, setting: &Setting, key: &str) {
    match key {
        "plan" => draft.say(setting, "an agent has no plan: which stages run here follows from `serve`"),
        "inner_instances" => {
            draft.say(setting, "a store takes as many sectors as it has room for; slots say how many run at once");
        }
        "hdd" | "reserved_capacity" => {
            draft.say(setting, "room is counted by `keep_free_bytes`, for every store alike")
        }
        _ => draft.say(setting, OF_ONE_STORE),
    }
}

fn of_persistent(draft: &mut Draft, setting: &Setting, key: &str) {
    match key {
        "name" | "instance" => draft.say(setting, "a store is known by the UUID that `store init` gives it"),
        _ => draft.say(setting, OF_ONE_STORE),
    }
}

const OF_ONE_STORE: &str = "what holds for one store is said on this host: `sealer-agent store set` (weight, read-only, miners), or nothing is made of it";

/// The table in `[stages]` of a stage of venus-worker.
fn stage_of(stage: &str) -> Option<&'static str> {
    match stage {
        "add_pieces" | "add_piece" => Some("add-piece"),
        "tree_d" => Some("tree-d"),
        "pc1" => Some("pc1"),
        "pc2" => Some("pc2"),
        "c1" => Some("c1"),
        "c2" => Some("c2"),
        "transfer" => Some("persist"),
        "unseal" => Some("unseal"),
        "wdpost" | "window_post" => Some("window-post"),
        _ => None,
    }
}

/// The class that a stage of venus-worker belongs to.
fn class_of(stage: &str) -> Option<Class> {
    match stage {
        "pc1" => Some(Class::Pc1Cpu),
        "pc2" => Some(Class::Pc2Gpu),
        "c2" => Some(Class::C2Gpu),
        "add_pieces" | "add_piece" | "tree_d" | "c1" | "transfer" | "unseal" => Some(Class::Io),
        "wdpost" | "window_post" => Some(Class::PostGpu),
        _ => None,
    }
}

fn limit(draft: &mut Draft, setting: &Setting, stage: &str) {
    match (class_of(stage), setting.count()) {
        (Some(class), Some(slots)) if slots > 0 => {
            draft.slots(setting, class, slots);
            // The other classes are one stage each.
            if let Some(stage) = stage_of(stage).filter(|_| class == Class::Io) {
                draft.key(setting, &table_of(stage), "at_once", slots.into());
            }
        }
        (Some(class), _) => draft.say(
            setting,
            format!("a class that is served has at least one slot: to do none of it, leave {class} out of `serve`"),
        ),
        (None, _) => draft.say(setting, "no stage that an agent runs"),
    }
}

fn stagger(draft: &mut Draft, setting: &Setting, stage: &str) {
    let is_time = |text: &&str| humantime::parse_duration(text).is_ok();
    match (stage_of(stage), setting.text().filter(is_time)) {
        (Some(stage), Some(time)) => draft.key(setting, &table_of(stage), "stagger", time.into()),
        (None, _) => draft.say(setting, "no stage that an agent runs"),
        (_, None) => draft.say(setting, "not a time from one start to the next, such as 5m"),
    }
}

fn table_of(stage: &str) -> String {
    format!("stages.{stage}")
}

/// As a key of a TOML table is written.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

fn processor(draft: &mut Draft, setting: &Setting, stage: &str, rest: &[&str]) {
    let Some(ours) = stage_of(stage) else {
        return draft.say(setting, format!("no stage that an agent runs is called {stage}"));
    };
    let table = table_of(ours);
    match rest {
        ["external"] => draft.say(setting, "every stage runs in a child process of its own, always"),
        ["bin" | "args"] => draft.say(setting, "one program does every stage: `prover = \"PATH\"` names another one"),
        ["concurrent"] => draft.say(
            setting,
            "each task has a child of its own: the class's slots say how many run at once, stages.….at_once how many of one",
        ),
        ["weight"] => draft.say(setting, "children are alike: the next task goes to any free slot"),
        ["auto_restart" | "stable_wait" | "inherit_envs" | "check_interval" | "work_dir"] => {
            draft.say(setting, "a child does one task, in a folder of its own and with the agent's environment");
        }
        ["cgroup", "cpuset"] => match setting.text() {
            Some(cpus) => draft.list(setting, &table, "cpus", vec![cpus.into()]),
            None => draft.say(setting, format!("not a set of processors, such as {ours}.cpus = [\"0-7\"]")),
        },
        ["cgroup", ..] => draft.say(
            setting,
            format!(
                "each child has a cgroup of its own in the one that deploy/create-cgroup.sh makes (machine.cgroup): set \
                 {table}.cpus and {table}.memory_max_bytes"
            ),
        ),
        ["numa_preferred"] => match setting.count() {
            Some(node) => draft.key(setting, &table, "numa", node.into()),
            None => draft.say(setting, "not the number of a NUMA node"),
        },
        ["envs", "CUDA_VISIBLE_DEVICES"] => {
            draft.say(setting, "each job at work has a GPU of its own, and is shown no other: machine.gpus says how many");
        }
        ["envs", name] => match setting.text() {
            Some(value) => draft.key(setting, &table, &format!("env.{}", key(name)), value.into()),
            None => draft.say(setting, "a variable is a text: put its value in quotes"),
        },
        ["locks"] => match setting.texts() {
            Some(locks) => draft.key(setting, &table, "locks", locks.into()),
            None => draft.say(setting, "not a list of locks, such as [\"gpu\"]"),
        },
        _ => draft.say(setting, "no key that venus-worker has for a processor: nothing is made of it"),
    }
}
