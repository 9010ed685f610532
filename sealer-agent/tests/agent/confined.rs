//! Provers that are kept to processors and memory, by affinity and by a cgroup.

use std::{fs, path::PathBuf, time::Duration};

use streams::{
    message::{FailureClass, Outcome},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, wait_for},
    ends::{PC1, waiting_for_tree_d},
    host_files::{Host, processes_with},
};

/// A delegated cgroup, as `deploy/create-cgroup.sh` makes one; removed when dropped.
struct Delegated(String);

impl Delegated {
    /// None where this user cannot make one: then whoever asks must say so.
    fn make(name: &str) -> Option<Self> {
        let name = format!("sealstream-test-{name}-{}", std::process::id());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/create-cgroup.sh");
        let output = std::process::Command::new(script).arg(&name).output().unwrap();
        if output.status.success() {
            return Some(Self(name));
        }
        eprintln!("SKIPPED: no cgroup can be made here: {}", String::from_utf8_lossy(&output.stderr).trim());
        None
    }

    fn folders(&self) -> Vec<PathBuf> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let all = ["", "cpuset", "memory"].map(|hierarchy| root.join(hierarchy).join(&self.0));
        all.into_iter().filter(|folder| folder.is_dir()).collect()
    }

    /// Cgroups of jobs in it.
    fn jobs(&self) -> Vec<PathBuf> {
        let entries = self.folders().into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir() && !path.ends_with("agent")).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for folder in self.folders() {
            let _none = fs::remove_dir(folder.join("agent"));
            let _in_use = fs::remove_dir(folder);
        }
    }
}

#[tokio::test]
async fn without_a_cgroup_a_prover_stays_on_its_processors() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(600)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    let text = "grep Cpus_allowed_list /proc/self/status > \"$0.cpus\"; exec \"$PROVER\" \"$1\"";
    let prover = host.script("looking-prover", text);
    host.configure(&format!("prover = \"{}\"\nstages.tree-d.cpus = [\"0\"]", prover.display()));
    let agent = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(sector.id, Stage::TreeD, None).await;
    let result = cluster.result().await;
    assert!(matches!(result.outcome, Outcome::Done { .. }), "{result:?}");
    let cpus = fs::read_to_string(host.path("looking-prover.cpus")).unwrap();
    assert_eq!(cpus.split_ascii_whitespace().last(), Some("0"), "{cpus}");
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn in_a_cgroup_who_eats_memory_is_killed_by_the_kernel_and_named() {
    let Some(delegated) = Delegated::make("memory") else { return };
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(600)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    // The daemon is in the same cgroup, whatever its session and its environment are.
    let text = "env -i setsid sleep 4242 < /dev/null > /dev/null 2>&1 &
        cat /proc/self/cgroup > \"$0.cgroup\"
        grep Cpus_allowed_list /proc/self/status > \"$0.cpus\"
        exec tail -n 1 /dev/zero";
    let prover = host.script("eating-prover", text);
    host.configure(&format!(
        "prover = \"{}\"\nmachine.cgroup = \"{}\"\nstages.tree-d = {{ cpus = [\"0\"], memory_max_bytes = {} }}",
        prover.display(),
        delegated.0,
        64 << 20
    ));
    let agent = host.agent(cluster.server.url(), "first", PC1);
    cluster.order(sector.id, Stage::TreeD, None).await;
    let result = cluster.result().await;
    let Outcome::Failed { failure } = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!((failure.code.as_str(), failure.class), ("out-of-memory", FailureClass::RetryElsewhere), "{failure:?}");
    let joined = fs::read_to_string(host.path("eating-prover.cgroup")).unwrap();
    assert!(joined.contains(&delegated.0), "it ran elsewhere: {joined}");
    let cpus = fs::read_to_string(host.path("eating-prover.cpus")).unwrap();
    assert_eq!(cpus.split_ascii_whitespace().last(), Some("0"), "{cpus}");
    wait_for(async || match (delegated.jobs(), processes_with("sleep\u{0}4242")) {
        (jobs, 0) if jobs.is_empty() => Ok(()),
        left => Err(format!("left behind: {left:?}")),
    })
    .await;
    assert!(agent.terminate().success());
}

#[test]
fn an_agent_whose_cgroup_is_not_there_does_not_start_and_says_what_to_run() {
    let host = Host::with_stores();
    host.configure("machine.cgroup = \"sealstream-nowhere\"");
    let (code, words) = host.fails(&["run", "--class", "pc1-cpu", "--place", "here"]);
    assert_eq!(code, 78, "{words}");
    assert!(words.contains("deploy/create-cgroup.sh sealstream-nowhere"), "{words}");
}

#[tokio::test]
async fn a_prover_that_cannot_be_confined_does_not_run() {
    let Some(delegated) = Delegated::make("gone") else { return };
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(600)).await;
    let sector = waiting_for_tree_d(&cluster, &host, 1).await;
    let prover = host.script("running-prover", "echo ran > \"$0.ran\"; exec \"$PROVER\" \"$1\"");
    host.configure(&format!("prover = \"{}\"\nmachine.cgroup = \"{}\"", prover.display(), delegated.0));
    let agent = host.agent(cluster.server.url(), "first", PC1);
    wait_for(async || match cluster.agents.get("first").await.unwrap() {
        Some(_) => Ok(()),
        None => Err("the agent is not there".to_owned()),
    })
    .await;
    drop(delegated);
    cluster.order(sector.id, Stage::TreeD, None).await;
    let result = cluster.result().await;
    let Outcome::Failed { failure } = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!((failure.code.as_str(), failure.class), ("not-confined", FailureClass::RetryElsewhere), "{failure:?}");
    assert!(failure.message.contains("deploy/create-cgroup.sh"), "{}", failure.message);
    assert!(!host.path("running-prover.ran").exists(), "it ran");
    assert!(agent.terminate().success());
}
