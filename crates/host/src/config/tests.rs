#![expect(clippy::disallowed_methods, reason = "tests play the writers that are not durable")]

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::exit::Exit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Agent {
    name: String,
    place: Option<String>,
    slots: Slots,
    queue: Queue,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Slots {
    gpu: u32,
    cpu: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Queue {
    #[serde(with = "crate::duration")]
    ack_wait: Duration,
    #[serde(with = "crate::duration::option")]
    give_up: Option<Duration>,
    classes: Vec<String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self { name: "agent".into(), place: None, slots: Slots { gpu: 1, cpu: 4 }, queue: Queue::default() }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { ack_wait: Duration::from_secs(60), give_up: None, classes: vec!["io".into()] }
    }
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("agent.toml");
    fs::write(&path, text).unwrap();
    path
}

fn from(file: Option<&Path>, variables: &[(&str, &str)], overrides: serde_json::Value) -> Result<Merged, CliError> {
    let sources =
        Sources { file: file.map(Path::to_owned), file_required: true, env_prefix: "SEALSTREAM_AGENT_", overrides };
    merge::<Agent>(&sources, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn read(file: Option<&Path>, variables: &[(&str, &str)], overrides: serde_json::Value) -> Result<Agent, CliError> {
    from(file, variables, overrides)?.extract()
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(read(None, &[("SEALSTREAM_HOME", "/x"), ("PATH", "/bin")], json!(null)).unwrap(), Agent::default());
}

#[test]
fn the_later_source_wins_key_by_key() {
    let dir = tempdir().unwrap();
    let path =
        file(&dir, "name = 'file'\n[slots]\ngpu = 2\ncpu = 8\n[queue]\nack_wait = '90s'\nclasses = ['pc2-gpu']\n");
    let variables = [("SEALSTREAM_AGENT_SLOTS__CPU", "16"), ("SEALSTREAM_AGENT_QUEUE__GIVE_UP", "2h")];
    let agent = read(Some(&path), &variables, json!({"slots": {"gpu": 3, "cpu": null}, "name": null})).unwrap();
    assert_eq!(agent.name, "file");
    assert_eq!(agent.slots, Slots { gpu: 3, cpu: 16 });
    assert_eq!(agent.queue.ack_wait, Duration::from_secs(90));
    assert_eq!(agent.queue.give_up, Some(Duration::from_secs(7200)));
    assert_eq!(agent.queue.classes, ["pc2-gpu"]);
}

#[test]
fn a_variable_is_text_where_text_is_wanted() {
    let agent = read(None, &[("SEALSTREAM_AGENT_NAME", "17")], json!(null)).unwrap();
    assert_eq!(agent.name, "17");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "[slts]\ngpu = 2\n");
    let error = read(Some(&path), &[], json!(null)).unwrap_err();
    assert_eq!(error.exit, Exit::Config);
    let want = format!("unknown key `slts.gpu` in {}:2: did you mean `slots.gpu`?", path.display());
    assert_eq!(error.to_string(), want);
    assert_eq!(error.hint.as_deref(), Some("known here: name, place, slots, queue"));

    let path = file(&dir, "[queue]\nackwait = '2m'\n");
    let error = read(Some(&path), &[], json!(null)).unwrap_err();
    assert!(error.to_string().ends_with("did you mean `queue.ack_wait`?"), "{error}");
}

#[test]
fn a_key_in_the_wrong_table_is_shown_its_place() {
    let error = read(None, &[("SEALSTREAM_AGENT_GPU", "2")], json!(null)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown key `gpu` in environment variable SEALSTREAM_AGENT_GPU: did you mean `slots.gpu`?"
    );
}

#[test]
fn a_strange_key_is_not_guessed_at() {
    let error = read(None, &[], json!({"slots": {"quantum_annealers": 2}})).unwrap_err();
    assert_eq!(error.to_string(), "unknown key `slots.quantum_annealers` in command line: `slots` has no such key");
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "[slots]\ngpu = 'two'\n");
    let error = read(Some(&path), &[], json!(null)).unwrap_err();
    let want = format!("{}:2: slots.gpu: invalid type: found string \"two\", expected u32", path.display());
    assert_eq!(error.to_string(), want);

    let error = read(None, &[("SEALSTREAM_AGENT_QUEUE__ACK_WAIT", "60")], json!(null)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("environment variable SEALSTREAM_AGENT_QUEUE__ACK_WAIT: queue.ack_wait: "), "{text}");
    assert!(text.contains("duration \"60\""), "{text}");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "name = 'x'\n[slots\n");
    let text = read(Some(&path), &[], json!(null)).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}, line 2: ", path.display())), "{text}");
}

#[test]
fn a_missing_file_counts_only_when_it_was_named() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("none.toml");
    let error = read(Some(&path), &[], json!(null)).unwrap_err();
    assert!(error.render().starts_with(&format!("error: read {}: No such file", path.display())), "{}", error.render());

    let sources = Sources { file: Some(path), file_required: false, env_prefix: "NO_", overrides: json!(null) };
    assert_eq!(load::<Agent>(&sources).unwrap(), Agent::default());
}

#[test]
fn every_setting_knows_its_origin() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "[slots]\ngpu = 2\n");
    let merged = from(Some(&path), &[("SEALSTREAM_AGENT_NAME", "a7")], json!({"queue": {"ack_wait": "5s"}})).unwrap();
    let lines: Vec<_> = merged
        .settings()
        .iter()
        .map(|setting| format!("{} = {} ({})", setting.key, setting.value, setting.origin))
        .collect();
    let file_line = format!("slots.gpu = 2 ({}:2)", path.display());
    assert_eq!(
        lines,
        [
            "name = \"a7\" (environment variable SEALSTREAM_AGENT_NAME)",
            "place = null (default)",
            "queue.ack_wait = \"5s\" (command line)",
            "queue.classes = [\"io\"] (default)",
            "queue.give_up = null (default)",
            "slots.cpu = 4 (default)",
            file_line.as_str(),
        ]
    );
}

#[test]
fn an_unknown_table_is_an_error_even_when_it_is_empty() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "[slots]\ngpu = 2\n\n[quuee]\n");
    let error = read(Some(&path), &[], json!(null)).unwrap_err();
    let want = format!("unknown key `quuee` in {}:4: did you mean `queue`?", path.display());
    assert_eq!(error.to_string(), want);
}

#[test]
fn no_complaint_and_no_setting_shows_a_password() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "name = 'nats://a:CANARY@host'\n[queue]\nack_wait = 'nats://a:CANARY@host'\n");
    let merged = from(Some(&path), &[], json!(null)).unwrap();
    assert!(!format!("{:?}", merged.settings()).contains("CANARY"));
    let error = merged.extract::<Agent>().unwrap_err();
    assert!(error.to_string().contains("queue.ack_wait") && !error.render().contains("CANARY"), "{}", error.render());
}

#[test]
fn what_changed_is_named_and_what_makes_no_sense_changes_nothing() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "name = 'nats://a:CANARY@host'\n[slots]\ngpu = 2\n");
    let sources = Sources { file: Some(path), file_required: true, env_prefix: "NO_", overrides: json!(null) };
    let (agent, live) = Live::<Agent>::load(sources).unwrap();
    assert_eq!(agent.slots.gpu, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut live = live.listen().unwrap();
        file(&dir, "name = 'nats://a:CANARY2@host'\n[slots]\ngpu = 'many'\n");
        assert!(live.next().await.is_err());
        file(&dir, "name = 'nats://a:CANARY2@host'\n[slots]\ngpu = 33\n[queue]\nack_wait = '5s'\n");
        let change = live.next().await.unwrap();
        assert_eq!(change.config.slots.gpu, 33);
        let keys: Vec<_> = change.keys.iter().map(|changed| changed.key.as_str()).collect();
        assert_eq!(keys, ["name", "queue.ack_wait", "slots.gpu"]);
        assert_eq!((&change.keys[2].from, &change.keys[2].to), (&json!(2), &json!(33)));
        assert!(!format!("{:?}", change.keys).contains("CANARY"), "{:?}", change.keys);
    });
}
