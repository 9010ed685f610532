//! The sample of venus-cluster's README, and what each of its lines becomes.

use std::time::Duration;

use streams::stage::Stage;

use super::*;

const SEED: &str = include_str!("venus-worker.toml");
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/import/agent.toml");

fn imported(text: &str) -> Imported {
    import(Path::new("/etc/venus-worker.toml"), text).unwrap_or_else(|error| panic!("{}", error.render()))
}

#[test]
fn the_sample_becomes_this() {
    let Imported { text, .. } = imported(SEED);
    if std::env::var_os("SEALSTREAM_WRITE_GOLDEN").is_some() {
        host::durable::write(Path::new(GOLDEN), text.as_bytes()).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(GOLDEN).unwrap());
}

#[test]
fn the_result_is_a_configuration_with_the_stores_and_the_slots() {
    let config: Config = config::parse(Path::new("agent.toml"), &imported(SEED).text).unwrap();
    let paths: Vec<_> = config.stores.iter().map(|path| path.display().to_string()).collect();
    let want = ["path/to/local/store1", "path/to/local/store2", "path/to/local/store3", "path/to/remote/store"];
    assert_eq!(paths, want);
    let slots: Vec<_> = config.configured_slots().iter().map(|(class, slots)| format!("{class}:{slots}")).collect();
    assert_eq!(slots, ["pc2-gpu:1", "c2-gpu:1"]);
    assert_eq!(config.serve.len(), 3);
}

#[test]
fn the_misspelt_table_is_named_with_its_line_and_read_as_what_it_means() {
    let Imported { text, notes } = imported(SEED);
    let line = SEED.lines().position(|line| line == "[cessors.c2]").unwrap() + 1;
    let want = format!("line {line}: there is no table [cessors]");
    assert!(notes.iter().any(|note| note.starts_with(&want) && note.ends_with("read as [processors]")), "{notes:?}");
    assert!(text.contains(&want), "{text}");
    let external = format!("line {}: cessors.c2.external = true: every stage runs in a child", line + 3);
    assert!(notes.iter().any(|note| note.starts_with(&external)), "{notes:?}");
}

#[test]
fn no_line_is_dropped() {
    let everything = format!(
        "{SEED}\n[processors.limitation.staggered]\npc1 = '5min'\n[processors.ext_locks]\ngpu = 1\n\
         [[processors.pc1]]\nnuma_preferred = 0\ncgroup.cpuset = '0-7'\nenvs = {{ RUST_LOG = 'debug' }}\nlocks = ['gpu']\n\
         [[attached]]\nname = 'a'\nlocation = '/mnt/pool'\nreadonly = false\n[worker]\nname = 'w1'\nport = 17890\n\
         [metrics]\nenable = true\n[wholly]\nunknown = 1\n"
    );
    for text in [SEED, &everything] {
        let out = imported(text).text;
        let all = settings(Path::new("x"), text).unwrap();
        assert!(all.len() >= 11, "{all:?}");
        for setting in all {
            assert!(out.contains(&setting.quoted()), "{setting:?} is not in\n{out}");
        }
    }
}

#[test]
fn limits_become_slots_and_none_becomes_a_word() {
    let text = "[limit]\npc1 = 4\nc1 = 2\ntree_d = 3\nc2 = 0\n";
    let Imported { text, notes } = imported(text);
    let config: Config = config::parse(Path::new("agent.toml"), &text).unwrap();
    let slots: Vec<_> = config.configured_slots().iter().map(|(class, slots)| format!("{class}:{slots}")).collect();
    assert_eq!(slots, ["pc1-cpu:4", "io:3"]);
    assert!(notes.iter().any(|note| note.contains("leave c2-gpu out of `serve`")), "{notes:?}");
}

#[test]
fn what_holds_for_one_stage_becomes_its_table() {
    let text = "[processors.limitation.staggered]\npc1 = '5min'\npc2 = 'soon'\n[processors.ext_locks]\ngpu = 1\n\
                [[processors.pc1]]\nnuma_preferred = 0\ncgroup.cpuset = '0-7'\nenvs = { A = '1', B = '2' }\n\
                [[processors.pc1]]\nnuma_preferred = 1\ncgroup.cpuset = '8-15'\nenvs = { A = '1', B = '3' }\n\
                [processors.pc2]\nlocks = ['gpu']\nenvs = { CUDA_VISIBLE_DEVICES = '0' }\n[limit]\nc1 = 2\ntree_d = 3\n";
    let Imported { text, notes } = imported(text);
    let config: Config = config::parse(Path::new("agent.toml"), &text).unwrap();
    let pc1 = &config.stages[&Stage::Pc1.into()];
    assert_eq!(pc1.stagger, Some(Duration::from_mins(5)));
    assert_eq!((pc1.cpus.clone(), pc1.numa), (vec!["0-7".to_owned(), "8-15".to_owned()], Some(0)));
    assert_eq!(pc1.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1", "B=2"]);
    let pc2 = &config.stages[&Stage::Pc2.into()];
    assert_eq!((pc2.locks.contains("gpu"), pc2.stagger, pc2.env.is_empty()), (true, None, true));
    assert_eq!(config.machine.locks["gpu"], 1);
    assert_eq!(config.stages[&Stage::TreeD.into()].at_once, Some(3));
    assert_eq!(config.stages[&Stage::C1.into()].at_once, Some(2));
    let told = |words: &str| assert!(notes.iter().any(|note| note.contains(words)), "{words} is not in {notes:#?}");
    told("numa_preferred = 1: stages.pc1.numa has one value, and holds 0 from before");
    told("envs.B = \"3\": stages.pc1.env.B has one value");
    told("staggered.pc2 = \"soon\"");
    told("CUDA_VISIBLE_DEVICES = \"0\": each job at work has a GPU of its own");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let error = import(Path::new("w.toml"), "[limit]\npc1 = \n").unwrap_err();
    assert!(error.to_string().starts_with("w.toml, line 2: "), "{error}");
}
