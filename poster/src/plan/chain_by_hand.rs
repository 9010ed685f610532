//! A chain stepped by hand: six deadlines of fifteen epochs, agents that take their time, posters, messages.

use std::collections::{BTreeMap, BTreeSet};

use streams::{
    id::{MinerId, Timestamp},
    proof::{ProofBytes, SealProof},
    records::PostRecord,
    sector::MessageRef,
};

use super::{
    tests::{POLICY, part, place, store},
    *,
};
use crate::{
    deadline::{Window, tests::fast},
    facts::{Located, Target},
};

pub(super) const PERIOD: Epoch = 90;

#[derive(Clone)]
pub(super) struct Sector {
    pub(super) place: &'static str,
    pub(super) readable: bool,
    pub(super) faulty: bool,
    pub(super) recovering: bool,
}

pub(super) const GOOD: Sector = Sector { place: "east", readable: true, faulty: false, recovering: false };

/// Partitions of a deadline, each with its sectors.
pub(super) type Deadline = Vec<BTreeMap<u64, Sector>>;

pub(super) struct Message {
    open: Epoch,
    partition: u64,
    skipped: Vec<u64>,
    sent_at: Epoch,
    pub(super) executed: Option<(Epoch, u32)>,
}

pub(super) struct Task {
    window: Window,
    partition: u64,
    order: Order,
    ready_at: Epoch,
}

pub(super) struct Day {
    pub(super) head: Epoch,
    pub(super) deadlines: Vec<Deadline>,
    /// Executed well: window and partition, with the epoch.
    pub(super) submitted: BTreeMap<(Epoch, u64), Epoch>,
    pub(super) messages: Vec<Message>,
    pub(super) posts: BTreeMap<(Epoch, u64), PostRecord>,
    pub(super) queue: BTreeMap<(Epoch, u64, u32, Option<String>), Task>,
    /// One ledger a window, for each poster; a poster that is down has none.
    pub(super) posters: Vec<Option<BTreeMap<Epoch, Ledger>>>,
    pub(super) windows: BTreeMap<Epoch, Window>,
    pub(super) to_prove: BTreeMap<(Epoch, u64), BTreeSet<u64>>,
    /// Epochs an agent takes, vanilla and SNARK.
    pub(super) takes: (Epoch, Epoch),
    /// Messages with these indices fail whatever they say.
    pub(super) failing: BTreeSet<usize>,
    /// Whether both posters believe that they lead.
    pub(super) split: bool,
    pub(super) missed: Vec<(Epoch, u64, Reached)>,
    pub(super) finished: BTreeSet<(usize, Epoch)>,
}

impl Day {
    pub(super) fn new(deadlines: Vec<Deadline>) -> Self {
        Self {
            head: 90,
            deadlines,
            submitted: BTreeMap::new(),
            messages: Vec::new(),
            posts: BTreeMap::new(),
            queue: BTreeMap::new(),
            posters: vec![Some(BTreeMap::new())],
            windows: BTreeMap::new(),
            to_prove: BTreeMap::new(),
            takes: (1, 2),
            failing: BTreeSet::new(),
            split: false,
            missed: Vec::new(),
            finished: BTreeSet::new(),
        }
    }

    pub(super) fn run(&mut self, epochs: Epoch) {
        for _ in 0..epochs {
            self.step();
        }
    }

    /// One epoch: messages are executed, posters look, agents answer.
    fn step(&mut self) {
        self.head += 1;
        self.execute();
        self.close_deadline();
        let now = fast(1000, self.head);
        for window in [Window::current(&now), Window::following(&now)] {
            if window.phase(self.head, POLICY.timing) != Phase::Early {
                self.begin(window);
            }
        }
        for poster in 0..self.posters.len() {
            for window in self.windows.values().copied().collect::<Vec<_>>() {
                self.look(poster, window, true);
            }
        }
        self.answer();
    }

    /// What is to be proven is fixed from the challenge on: what a landed proof or the close changes is about the next
    /// time.
    fn begin(&mut self, window: Window) {
        if self.windows.insert(window.open, window).is_some() {
            return;
        }
        for (partition, sectors) in (0..).zip(&self.deadlines[usize::try_from(window.deadline).unwrap()]) {
            let healthy = |(_, sector): &(&u64, &Sector)| !sector.faulty || sector.recovering;
            let numbers = sectors.iter().filter(healthy).map(|(number, _)| *number).collect();
            self.to_prove.insert((window.open, partition), numbers);
        }
    }

    fn execute(&mut self) {
        let (head, failing) = (self.head, self.failing.clone());
        for (index, message) in self.messages.iter_mut().enumerate() {
            if message.executed.is_some() || message.sent_at >= head {
                continue;
            }
            let good = (message.open..message.open + 15).contains(&head)
                && !failing.contains(&index)
                && !self.submitted.contains_key(&(message.open, message.partition));
            message.executed = Some((head, if good { 0 } else { 16 }));
            if good {
                self.submitted.insert((message.open, message.partition), head);
                let deadline = usize::try_from(message.open % PERIOD / 15).unwrap();
                for (number, sector) in &mut self.deadlines[deadline][usize::try_from(message.partition).unwrap()] {
                    if message.skipped.contains(number) {
                        (sector.faulty, sector.recovering) = (true, false);
                    } else if sector.recovering {
                        (sector.faulty, sector.recovering) = (false, false);
                    }
                }
            }
        }
    }

    /// What was not proven in the window that just closed is faulty.
    fn close_deadline(&mut self) {
        if self.head % 15 != 0 {
            return;
        }
        let open = self.head - 15;
        for (partition, sectors) in (0..).zip(&mut self.deadlines[usize::try_from(open % PERIOD / 15).unwrap()]) {
            if !self.submitted.contains_key(&(open, partition)) {
                for sector in sectors.values_mut() {
                    (sector.faulty, sector.recovering) = (true, false);
                }
            }
        }
    }

    fn facts(&self, poster: usize, window: Window, fresh: bool) -> Facts {
        let partitions = (0..).zip(&self.deadlines[usize::try_from(window.deadline).unwrap()]);
        let partitions = partitions.map(|(index, sectors)| (index, self.partition(&window, index, sectors)));
        Facts {
            head: self.head,
            window,
            randomness: Bytes32([u8::try_from(window.open % 251).unwrap(); 32]),
            proof: SealProof::Drg2KiBV1_1,
            partition_sectors: 2,
            partitions: partitions.filter(|(_, p)| !p.to_prove.is_empty()).collect(),
            leading: self.split || self.posters.iter().position(Option::is_some) == Some(poster),
            results_drained: fresh,
        }
    }

    fn partition(&self, window: &Window, index: u64, sectors: &BTreeMap<u64, Sector>) -> PartitionFacts {
        let key = (window.open, index);
        let within = self.head.min(window.close - 1);
        let target = |(number, sector): (&u64, &Sector)| {
            let replicas = vec![Located { place: place(sector.place), store: store(1) }];
            (SectorNumber(*number), Target { comm_r: Bytes32([0; 32]), replicas })
        };
        let record = self.posts.get(&key).cloned();
        let message = record.as_ref().and_then(|record| record.message.as_ref());
        let sending = match message.map(|name| self.messages[usize::try_from(name.nonce).unwrap()].executed) {
            None => Sending::Unsent,
            Some(Some((height, exit_code))) if height < self.head => match exit_code {
                0 => Sending::Accepted { height },
                _ => Sending::Failed { exit_code: Some(exit_code) },
            },
            Some(_) => Sending::InFlight,
        };
        let to_prove = self.to_prove.get(&key).unwrap();
        PartitionFacts {
            to_prove: sectors.iter().filter(|(number, _)| to_prove.contains(number)).map(target).collect(),
            faulty: 0,
            submitted: self.submitted.get(&key).is_some_and(|executed| *executed < within),
            record,
            sending,
        }
    }

    /// One plan of one poster, carried out.
    fn look(&mut self, poster: usize, window: Window, fresh: bool) {
        if self.finished.contains(&(poster, window.open)) {
            return;
        }
        let facts = self.facts(poster, window, fresh);
        let Some(ledgers) = &mut self.posters[poster] else { return };
        let ledger = ledgers.entry(window.open).or_default();
        ledger.observe(&facts);
        for action in plan(&facts, ledger, &POLICY) {
            self.carry_out(poster, &facts, action);
        }
    }

    fn carry_out(&mut self, poster: usize, facts: &Facts, action: Action) {
        let window = facts.window;
        let ledger = self.posters[poster].as_mut().unwrap().entry(window.open).or_default();
        match action {
            Action::HandOut { partition, attempt, order } => {
                ledger.work(partition).handed_out(attempt, order.clone(), self.head);
                self.publish(window, partition, attempt, order);
            }
            Action::Reoffer { partition, attempt, order } => self.publish(window, partition, attempt, order),
            Action::Submit { partitions } => {
                for partition in partitions {
                    self.send(window, partition);
                }
            }
            Action::SendAgain { partition, exit_code } => {
                let work = ledger.work(partition);
                work.failed_sends += u32::from(exit_code.is_some());
                self.posts.get_mut(&(window.open, partition)).unwrap().message = None;
            }
            Action::Landed { partition, epoch } => {
                self.posts.get_mut(&(window.open, partition)).unwrap().landed_at = Some(epoch);
            }
            Action::Missed { partitions } => {
                for missed in partitions {
                    ledger.work(missed.partition).given_up = true;
                    self.missed.push((window.open, missed.partition, missed.reached));
                }
            }
            Action::Finish => {
                self.finished.insert((poster, window.open));
            }
        }
    }

    fn send(&mut self, window: Window, partition: u64) {
        let nonce = u64::try_from(self.messages.len()).unwrap();
        let record = self.posts.get_mut(&(window.open, partition)).unwrap();
        let skipped = record.skipped.iter().map(|(number, _)| number.0).collect();
        record.message = Some(MessageRef { sender: "f1poster".into(), nonce });
        self.messages.push(Message { open: window.open, partition, skipped, sent_at: self.head, executed: None });
    }

    fn publish(&mut self, window: Window, partition: u64, attempt: u32, order: Order) {
        let (at, takes) = match &order {
            Order::Vanilla { place, .. } => (Some(place.to_string()), self.takes.0),
            Order::Snark { .. } => (None, self.takes.1),
        };
        let task = Task { window, partition, order, ready_at: self.head + takes };
        self.queue.entry((window.open, partition, attempt, at)).or_insert(task);
    }

    /// Agents report what is ready; tasks of closed windows have vanished.
    fn answer(&mut self) {
        let head = self.head;
        self.queue.retain(|_, task| head < task.window.close);
        let ready: Vec<_> = self.queue.iter().filter(|(_, t)| t.ready_at <= head).map(|(key, _)| key.clone()).collect();
        for key in ready {
            let task = self.queue.remove(&key).unwrap();
            let leaders: Vec<_> =
                (0..self.posters.len()).filter(|p| self.facts(*p, task.window, false).leading).collect();
            for poster in leaders {
                self.take(poster, key.2, &task);
                self.look(poster, task.window, false);
            }
        }
    }

    fn take(&mut self, poster: usize, attempt: u32, task: &Task) {
        let facts = self.facts(poster, task.window, false);
        let Some(known) = facts.partitions.get(&task.partition) else { return };
        let Some(ledgers) = &mut self.posters[poster] else { return };
        let work = ledgers.entry(task.window.open).or_default().work(task.partition);
        let numbers: Vec<_> = task.order.numbers();
        match &task.order {
            Order::Vanilla { place, .. } => {
                let deadline = &self.deadlines[usize::try_from(task.window.deadline).unwrap()];
                let readable = |n: &u64| deadline[usize::try_from(task.partition).unwrap()][n].readable;
                let (good, bad): (Vec<u64>, Vec<u64>) = numbers.iter().map(|n| n.0).partition(readable);
                let bad: Vec<_> = bad.into_iter().map(|n| (SectorNumber(n), "unreadable".to_owned())).collect();
                let _ = work.vanilla_came(attempt, place, part(&good), &bad);
            }
            Order::Snark { .. } => {
                let asked = work.snark_sectors(attempt);
                let proven = asked.unwrap_or_else(|| known.to_prove.keys().copied().collect());
                if proven != numbers || known.proof_for(&facts.randomness).is_some() {
                    return;
                }
                let skipped = work.skipped(known, &proven);
                let record = PostRecord {
                    miner: MinerId(1000),
                    deadline: task.window.deadline,
                    open: task.window.open,
                    close: task.window.close,
                    partition: task.partition,
                    randomness: facts.randomness,
                    proven,
                    skipped,
                    proof: ProofBytes(vec![1]),
                    proved_at: Timestamp(0),
                    message: None,
                    landed_at: None,
                };
                self.posts.insert((task.window.open, task.partition), record);
            }
        }
    }

    pub(super) fn landed(&self) -> Vec<(Epoch, u64)> {
        self.posts.iter().filter(|(_, record)| record.landed_at.is_some()).map(|(key, _)| *key).collect()
    }
}
