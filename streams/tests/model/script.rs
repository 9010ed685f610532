//! What is done, drawn from a seed.

use std::time::Duration;

use streams::model::Random;

/// How long a task may be silent in the slow scripts.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(5);
/// Longer than that, and than every time to live of a script, with room for a server that is late.
pub(crate) const LONG_PAUSE: Duration = Duration::from_millis(7_500);
/// Longer than a delayed return, shorter than [`ACK_WAIT`].
pub(crate) const SHORT_PAUSE: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing happens by itself.
    Quick,
    /// Messages expire and come back.
    Slow,
}

/// One operation. Numbers that name a delivery or a revision count from the newest and may name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Publish { task: u64 },
    PublishPost { task: u64 },
    Pull,
    PullPost,
    Ack { back: usize },
    Nak { back: usize, delayed: bool },
    Term { back: usize },
    Progress { back: usize },
    Create { key: u64, value: u32 },
    Update { key: u64, value: u32, back: usize },
    Put { key: u64, value: u32 },
    Delete { key: u64 },
    DeleteIf { key: u64, back: usize },
    Get { key: u64 },
    Entries,
    Keys,
    Watch,
    Watched,
    TakeLease { holder: u64 },
    Renew { holder: u64 },
    Release { holder: u64 },
    LeaseKeys,
    Counts,
    Pointers,
    PauseShort,
    PauseLong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) ops: Vec<Op>,
}

impl Script {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ops = match kind {
            Kind::Quick => (0..random.between(10, 45)).map(|_| draw(&mut random)).collect(),
            Kind::Slow => slow(&mut random),
        };
        Self { seed, ops }
    }
}

/// A few operations, a pause, a few more: what is out comes back in between. Between two long pauses all that is done
/// takes less time than anything lives, so that no answer depends on a moment.
fn slow(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    let pauses = match random.below(3) {
        0 => [Op::PauseShort, Op::PauseLong],
        1 => [Op::PauseLong, Op::PauseShort],
        _ => [Op::PauseLong, Op::PauseLong],
    };
    let mut pauses = pauses.into_iter();
    loop {
        for _ in 0..random.between(3, 7) {
            ops.push(draw_slow(random));
        }
        match pauses.next() {
            Some(pause) => ops.push(pause),
            None => return ops,
        }
    }
}

fn draw_slow(random: &mut Random) -> Op {
    let back = usize::try_from(random.below(3)).unwrap();
    match random.below(12) {
        0 => Op::PublishPost { task: random.below(2) },
        1 => Op::PullPost,
        2 | 3 => Op::Publish { task: random.below(3) },
        4 | 5 => Op::Pull,
        6 => Op::Nak { back, delayed: true },
        7 => Op::Progress { back },
        8 => Op::TakeLease { holder: random.below(2) },
        9 => Op::Renew { holder: random.below(2) },
        10 => Op::LeaseKeys,
        _ => draw(random),
    }
}

fn draw(random: &mut Random) -> Op {
    let back = usize::try_from(random.below(3)).unwrap();
    let (key, holder, value) = (random.below(3), random.below(2), u32::try_from(random.below(100)).unwrap());
    match random.below(44) {
        0..6 => Op::Publish { task: random.below(4) },
        6..11 => Op::Pull,
        11..14 => Op::Ack { back },
        14..16 => Op::Nak { back, delayed: false },
        16 => Op::Term { back },
        17 => Op::Progress { back },
        18..21 => Op::Create { key, value },
        21..24 => Op::Update { key, value, back },
        24..26 => Op::Put { key, value },
        26 => Op::Delete { key },
        27 => Op::DeleteIf { key, back },
        28..30 => Op::Get { key },
        30 => Op::Entries,
        31 => Op::Keys,
        32 => Op::Watch,
        33..35 => Op::Watched,
        35..37 => Op::TakeLease { holder },
        37 => Op::Renew { holder },
        38 => Op::Release { holder },
        39 => Op::LeaseKeys,
        40 => Op::PublishPost { task: random.below(2) },
        41 => Op::PullPost,
        42 => Op::Counts,
        _ => Op::Pointers,
    }
}
