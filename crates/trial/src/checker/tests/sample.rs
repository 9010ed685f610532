//! A small good run, made by hand: one sector from submission to proving, and everything that is seen of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chain::params::{self, PreCommitSector, ProveCommitSector};
use serde_json::{Value, json};
use streams::{
    id::SectorNumber,
    proof::{Bytes32, SealProof},
};

use super::super::{
    Evidence, Violation, judge,
    nonces::{Message, SignedMessage},
};
use crate::evidence::{
    Body, CHAIN, Child, FileSeen, LineLog, QUEUE, QueueLine, RUN, Role, RunLine, STORES, Settings, StoreLine, Stored,
};

pub(super) const SECTOR: &str = "f01000/1";
pub(super) const KEY: &str = "f01000.1";
pub(super) const SENDER: &str = "f3sender";
pub(super) const STORE: &str = "5b0f3d8c-0f5c-4a6f-9d6b-2f6b4c1e7a90";
pub(super) const CANARY: &str = "CANARY-7f3a";
pub(super) const SEALED: &str = "0404";
/// Heights at which the two messages landed; the ticket is of epoch 10.
const PRE_COMMIT_AT: i64 = 20;
const PROVE_COMMIT_AT: i64 = 27;

/// Evidence that is not written yet.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) queue: Vec<QueueLine>,
    pub(super) chain: Vec<Value>,
    pub(super) stores: Vec<StoreLine>,
    pub(super) run: Vec<RunLine>,
    pub(super) settings: Settings,
    sequence: u64,
}

/// When the `step`th thing happens.
pub(super) const fn ms(step: u64) -> u64 {
    1_000_000 + step * 100
}

pub(super) fn hex32(byte: u8) -> String {
    hex::encode([byte; 32])
}

fn at() -> Value {
    json!({"place": "host1", "store": STORE, "generation": 1})
}

pub(super) fn ticket() -> Value {
    json!({"epoch": 10, "value": hex32(6)})
}

fn sealed(persisted: bool) -> Value {
    let copy = json!({"store": STORE, "place": "host1", "sealed_sha256": SEALED});
    json!({
        "at": at(), "ticket": ticket(), "comm_d": hex32(1), "comm_r": hex32(2),
        "persisted": if persisted { copy } else { Value::Null },
    })
}

fn on_chain(is: &str, more: Value) -> Value {
    let mut state = json!({
        "is": is, "sealed": sealed(true),
        "pre_commit": {"message": {"sender": SENDER, "nonce": 0}, "epoch": PRE_COMMIT_AT},
        "seed": {"epoch": PRE_COMMIT_AT + 5, "value": hex32(7)},
    });
    state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    state
}

/// The states of the road, in order: the place in the list is the transition's number.
pub(super) fn road() -> Vec<Value> {
    vec![
        json!({"is": "allocated"}),
        json!({"is": "placed", "at": at()}),
        json!({"is": "pieces-added", "at": at()}),
        json!({"is": "tree-d-done", "at": at(), "comm_d": hex32(1)}),
        json!({"is": "ticketed", "at": at(), "comm_d": hex32(1), "ticket": ticket()}),
        json!({"is": "pc1-done", "at": at(), "comm_d": hex32(1), "ticket": ticket()}),
        json!({"is": "pc2-done", "sealed": sealed(false)}),
        json!({"is": "pc2-done", "sealed": sealed(true)}),
        json!({"is": "pre-commit-sent", "sealed": sealed(true), "message": {"sender": SENDER, "nonce": 0}}),
        json!({"is": "pre-committed", "sealed": sealed(true),
               "pre_commit": {"message": {"sender": SENDER, "nonce": 0}, "epoch": PRE_COMMIT_AT}}),
        on_chain("seed-ready", json!({})),
        on_chain("c1-done", json!({})),
        on_chain("c2-done", json!({})),
        on_chain("prove-commit-sent", json!({"message": {"sender": SENDER, "nonce": 1}})),
        on_chain("proving", json!({"prove_commit": {"sender": SENDER, "nonce": 1}, "finalized": false})),
        on_chain("proving", json!({"prove_commit": {"sender": SENDER, "nonce": 1}, "finalized": true})),
    ]
}

impl Sample {
    /// A good run.
    pub(super) fn good() -> Self {
        Self::of(road())
    }

    /// A run in which the sector takes another road.
    pub(super) fn of(road: Vec<Value>) -> Self {
        let settings = Settings { ack_wait_ms: 1_000, canaries: vec![CANARY.to_owned()], ..Settings::default() };
        let mut this = Self { queue: vec![], chain: vec![], stores: vec![], run: vec![], settings, sequence: 0 };
        for stream in ["KV_SECTORS", "KV_NUMBERS", "KV_CLAIMS", "KV_MESSAGES", "KV_STORES", "EVENTS"] {
            this.begins(stream);
        }
        this.put(0, "KV_NUMBERS", "$KV.NUMBERS.f01000.1", json!({"v": 1, "at": ms(0)}));
        for (seq, state) in road.into_iter().enumerate() {
            let seq = u64::try_from(seq).unwrap();
            this.record(SECTOR, seq, &state, json!({}));
        }
        this.worked();
        this.sent();
        this.landed();
        this.seen();
        this
    }

    pub(super) fn begins(&mut self, stream: &str) {
        self.queue.push(QueueLine::Begins { at: ms(0), stream: stream.to_owned(), created: "then".to_owned() });
    }

    /// A stored message at a step.
    pub(super) fn put(&mut self, step: u64, stream: &str, subject: &str, json: Value) {
        self.sequence += 1;
        self.queue.push(QueueLine::Stored(Stored {
            at: ms(step),
            stored_us: ms(step) * 1000,
            stream: stream.to_owned(),
            seq: self.sequence,
            subject: subject.to_owned(),
            headers: [].into(),
            body: Body::Json(json),
        }));
    }

    /// A transition with its event.
    pub(super) fn record(&mut self, sector: &str, seq: u64, state: &Value, more: Value) {
        let mut record = json!({
            "v": 1, "id": sector, "incarnation": 1, "submitted_at": ms(0), "state": state, "seq": seq,
            "pieces": [{}], "errors": [], "story": [], "messages": [],
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let key = sector.replace('/', ".");
        let step = seq * 10;
        self.put(step, "KV_SECTORS", &format!("$KV.SECTORS.{key}"), record);
        let is = state["is"].as_str().unwrap();
        let event = json!({"v": 1, "sector": sector, "seq": seq, "at": ms(step), "state": is, "what": "so"});
        self.put(step, "EVENTS", &format!("ev.{key}.{is}"), event);
    }

    /// PC2 was claimed, reported, and is in the record's story.
    fn worked(&mut self) {
        let claim = json!({"v": 1, "agent": "a", "run": STORE, "attempt": 1, "generation": 1, "incarnation": 1,
                           "claimed_at": ms(55), "beat_at": ms(55)});
        self.put(55, "KV_CLAIMS", &format!("$KV.CLAIMS.{KEY}.pc2"), claim);
        self.queue.push(QueueLine::Published {
            at: ms(59),
            subject: format!("res.a.{KEY}"),
            headers: [].into(),
            body: Body::Json(json!({
                "v": 1, "sector": SECTOR, "stage": "pc2", "agent": "a", "place": "host1", "ended_at": ms(58),
                "claim": {"attempt": 1, "fence": 9, "generation": 1, "incarnation": 1},
            })),
        });
        let story = json!([{"stage": "pc2", "agent": "a", "attempt": 1, "ended_at": ms(58)}]);
        for seq in 6..self.records() {
            self.edit(seq, |record| record["story"] = story.clone());
        }
    }

    /// How many transitions there are.
    pub(super) fn records(&self) -> u64 {
        let mut count = 0;
        for line in &self.queue {
            count += u64::from(matches!(line, QueueLine::Stored(stored) if stored.stream == "KV_SECTORS"));
        }
        count
    }

    /// Changes the record of a transition of the sector.
    pub(super) fn edit(&mut self, seq: u64, mut change: impl FnMut(&mut Value)) {
        for line in &mut self.queue {
            if let QueueLine::Stored(Stored { stream, body: Body::Json(json), .. }) = line
                && (stream.as_str(), json["seq"].as_u64(), json["id"].as_str())
                    == ("KV_SECTORS", Some(seq), Some(SECTOR))
            {
                change(json);
            }
        }
    }

    /// Drops stored messages.
    pub(super) fn drop_stored(&mut self, is_one: impl Fn(&str, &Value) -> bool) {
        let keep = |line: &QueueLine| match line {
            QueueLine::Stored(Stored { stream, body: Body::Json(json), .. }) => !is_one(stream, json),
            _ => true,
        };
        self.queue.retain(keep);
    }

    /// An outbox entry.
    pub(super) fn outbox(&mut self, step: u64, nonce: u64, method: &str, signed: &[Vec<u8>], fate: &Value) {
        let signed: Vec<_> = signed.iter().map(|b| json!({"cid": "bafy", "bytes": STANDARD.encode(b)})).collect();
        let entry = json!({
            "v": 1, "message": {"sender": SENDER, "nonce": nonce}, "method": method, "miner": "f01000", "sectors": [1],
            "signed": signed, "created_at": ms(step), "fate": fate,
        });
        self.put(step, "KV_MESSAGES", &format!("$KV.MESSAGES.{SENDER}.{nonce}"), entry);
    }

    fn sent(&mut self) {
        let landed = json!({"is": "landed", "exit_code": 0, "return_value": "ggGA"});
        let (pre, prove) = (signed(0, 28, pre_commit()), signed(1, 34, prove_commit()));
        self.outbox(81, 0, "PreCommitSectorBatch2", std::slice::from_ref(&pre), &json!({"is": "journaled"}));
        self.outbox(85, 0, "PreCommitSectorBatch2", &[pre], &landed);
        self.outbox(131, 1, "ProveCommitSectors3", std::slice::from_ref(&prove), &json!({"is": "journaled"}));
        self.outbox(135, 1, "ProveCommitSectors3", &[prove], &landed);
    }

    fn landed(&mut self) {
        self.chain.push(json!({"line": "started", "network": "n", "height": 0, "head": "t0", "block_delay_ms": 1000,
                               "finality": 5, "pre_commit_challenge_delay": 5}));
        self.tipset(PRE_COMMIT_AT, vec![message("m0", 0, 28, pre_commit())]);
        self.tipset(PROVE_COMMIT_AT, vec![message("m1", 1, 34, prove_commit())]);
        self.tipset(40, vec![]);
        self.chain.push(json!({"line": "post", "tipset": "t40", "miner": "f01000", "deadline": 2, "partitions": [0],
                               "epoch": 40, "valid": true}));
        self.close(45, &[], &[]);
    }

    pub(super) fn tipset(&mut self, height: i64, messages: Vec<Value>) {
        self.chain.push(json!({"line": "tipset", "height": height, "cid": format!("t{height}"), "parent": "p",
                               "beacon": 1, "messages": messages}));
    }

    pub(super) fn close(&mut self, height: i64, faulty: &[u64], missed: &[u64]) {
        self.tipset(height, vec![]);
        let partition = json!({"partition": 0, "proven": missed.is_empty(), "live": [1], "faulty": faulty,
                               "missed": missed});
        self.chain.push(json!({"line": "deadline-closed", "tipset": format!("t{height}"), "miner": "f01000",
                               "deadline": 2, "epoch": height, "partitions": [partition]}));
    }

    fn seen(&mut self) {
        let text = str::to_owned;
        self.stores.push(StoreLine::Files {
            store: text(STORE),
            persistent: true,
            sector: text(SECTOR),
            manifest: Some(json!({"v": 1, "tag": {"generation": 1, "ticket": ticket()},
                                  "done": [{"stage": "pc2", "comm_d": hex32(1), "comm_r": hex32(2)}]})),
            files: ["cache/s-t01000-1/p_aux", "sealed/s-t01000-1"]
                .map(|name| FileSeen { name: text(name), bytes: 2048, sha256: text(SEALED) })
                .into(),
        });
        self.run.push(RunLine::Started { at: ms(0), name: text("a"), role: Role::Agent, pid: 7 });
        self.run.push(RunLine::Submitted { at: ms(1), sector: text(SECTOR) });
        self.child(100, 55);
        self.run.push(RunLine::ChildGone { at: ms(58), pid: 100, start_ticks: 100 });
        self.run.push(RunLine::Over { at: ms(200), settled: true });
    }

    /// A prover of the sector is seen.
    pub(super) fn child(&mut self, pid: u32, step: u64) {
        let child = Child {
            at: ms(step),
            started_at: ms(step),
            pid,
            start_ticks: u64::from(pid),
            agent: "a".to_owned(),
            job: "/home/jobs/1".to_owned(),
            sector: Some(SECTOR.to_owned()),
            stage: "pc2".to_owned(),
            folder: Some("/store/sectors/s-t01000-1".to_owned()),
        };
        self.run.push(RunLine::Child(child));
    }

    /// Writes it and reads it as the checker does.
    pub(super) fn evidence(&self) -> Evidence {
        let dir = tempfile::tempdir().unwrap();
        let log = LineLog::open(dir.path(), RUN).unwrap();
        let began = RunLine::Began { at: 0, name: "sample".to_owned(), settings: self.settings.clone() };
        log.note_all([&began]).unwrap();
        log.note_all(&self.run).unwrap();
        LineLog::open(dir.path(), QUEUE).unwrap().note_all(&self.queue).unwrap();
        LineLog::open(dir.path(), CHAIN).unwrap().note_all(&self.chain).unwrap();
        LineLog::open(dir.path(), STORES).unwrap().note_all(&self.stores).unwrap();
        Evidence::load(dir.path()).unwrap()
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        judge(&self.evidence())
    }
}

fn pre_commit() -> Vec<u8> {
    let sector = PreCommitSector {
        number: SectorNumber(1),
        proof: SealProof::Drg2KiBV1_1,
        comm_r: Bytes32([2; 32]),
        comm_d: Some(Bytes32([1; 32])),
        ticket_epoch: 10,
        expiration: 1_000_000,
    };
    params::pre_commit(&[sector]).unwrap()
}

pub(super) fn prove_commit() -> Vec<u8> {
    let sector = ProveCommitSector { number: SectorNumber(1), pieces: vec![], proof: vec![9; 192] };
    params::prove_commit(&[sector]).unwrap()
}

pub(super) fn recovered() -> Vec<u8> {
    let recovery = params::Recovery { deadline: 2, partition: 0, sectors: vec![SectorNumber(1)] };
    params::declare_recovered(&[recovery]).unwrap()
}

/// A message as it is in a tipset.
pub(super) fn message(cid: &str, nonce: u64, method: u64, params: Vec<u8>) -> Value {
    json!({"cid": cid, "from": SENDER, "to": "f01000", "nonce": nonce, "method": method, "value": "0",
           "params": STANDARD.encode(params), "exit_code": 0, "gas_used": 1})
}

/// A message as it is signed.
pub(super) fn signed(nonce: u64, method: u64, params: Vec<u8>) -> Vec<u8> {
    let message = Message {
        version: 0,
        to: vec![0, 232, 7],
        from: vec![3],
        nonce,
        value: vec![],
        gas_limit: 1,
        gas_fee_cap: vec![],
        gas_premium: vec![],
        method,
        params,
    };
    fvm_ipld_encoding::to_vec(&SignedMessage { message, signature: vec![2] }).unwrap()
}
