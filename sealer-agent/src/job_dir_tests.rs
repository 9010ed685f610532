//! Whose a job is, and who may take it.

use streams::stage::Stage;

use super::*;
use crate::sample;

fn order() -> Order {
    sample::order(Stage::C2)
}

fn owner(process: ProcessId) -> Owner {
    let order = order();
    let agent = "a".parse().unwrap();
    Owner { agent, process, what: order.shown(), attempt: order.attempt(), started_at: Timestamp(1) }
}

struct Home {
    dir: tempfile::TempDir,
    agent: AgentDir,
    _quiet: std::sync::RwLockReadGuard<'static, ()>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = AgentDir::new(dir.path(), &"a".parse().unwrap());
        agent.create().unwrap();
        Self { dir, agent, _quiet: sample::no_forks() }
    }

    /// A job of an agent that is dead: its process is gone, and with it its lock.
    fn orphan(&self, id: u128) -> Found {
        let dead = ProcessId { pid: u32::MAX, ..ProcessId::current().unwrap() };
        let path = self.agent.new_job(Uuid::from_u128(id), &owner(dead), &order()).unwrap().path().to_owned();
        find(self.dir.path()).unwrap().into_iter().find(|found| found.path == path).unwrap()
    }
}

#[test]
fn a_job_in_hand_is_neither_taken_over_nor_ended() {
    let home = Home::new();
    let me = ProcessId::current().unwrap();
    let live = home.agent.new_job(Uuid::from_u128(1), &owner(me.clone()), &order()).unwrap();
    let found = find(home.dir.path()).unwrap().remove(0);
    assert_eq!(found.order, Some(order()));
    assert!(is_in_hand(live.path()));
    assert!(home.agent.take_over(&found, &me).unwrap().is_none());
    assert!(!end(&found).unwrap());
    drop(live);
    assert!(!is_in_hand(&found.path));
}

#[test]
fn an_orphan_is_taken_over_once() {
    let home = Home::new();
    let found = home.orphan(1);
    let me = ProcessId::current().unwrap();
    let taken = home.agent.take_over(&found, &me).unwrap().expect("nobody has it");
    assert_eq!((taken.id(), taken.path()), (Uuid::from_u128(1), found.path.as_path()));
    assert!(home.agent.take_over(&found, &me).unwrap().is_none(), "two have it");
    assert!(!end(&found).unwrap());
    assert_eq!(find(home.dir.path()).unwrap()[0].owner.process, me);
}

#[test]
fn what_is_left_of_a_job_is_its_prover_or_its_result() {
    let home = Home::new();
    let me = ProcessId::current().unwrap();
    let dir = home.agent.new_job(Uuid::from_u128(1), &owner(me.clone()), &order()).unwrap();
    assert_eq!(left(dir.path()).unwrap(), Left::Nothing);
    durable::write(&dir.path().join(job::RESULT), b"{}").unwrap();
    assert_eq!(left(dir.path()).unwrap(), Left::Result);
    dir.note_child(me.pid, Timestamp(5)).unwrap();
    assert_eq!(left(dir.path()).unwrap(), Left::Running(Child { process: me.clone(), started_at: Timestamp(5) }));
    let gone = Child { process: ProcessId { started: 1, ..me }, started_at: Timestamp(5) };
    durable::write(&dir.path().join(CHILD), &encode(&gone).unwrap()).unwrap();
    assert_eq!(left(dir.path()).unwrap(), Left::Result, "an earlier process with that number");
}

#[test]
fn ended_jobs_are_gone() {
    let home = Home::new();
    let found = home.orphan(2);
    assert!(end(&found).unwrap());
    assert!(!found.path.exists());
    assert!(home.agent.take_over(&found, &ProcessId::current().unwrap()).unwrap().is_none());
}

#[test]
fn failed_jobs_are_kept_and_bounded() {
    let home = Home::new();
    let owner = owner(ProcessId::current().unwrap());
    for id in 0..20 {
        home.agent.new_job(Uuid::from_u128(id), &owner, &order()).unwrap().keep_failed().unwrap();
    }
    assert_eq!(fs::read_dir(home.agent.failed()).unwrap().count(), FAILED_MAX);
    assert_eq!(find(home.dir.path()).unwrap().len(), 0);
}
