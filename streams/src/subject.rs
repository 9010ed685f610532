//! Subjects, built and parsed in this one file.
//!
//! ```text
//! seal.<class>.<place or any>.<miner>.<sector>.<stage>          TASKS
//! post.<class>.<place or any>.<miner>.<open>.<partition>.<try>  POST_TASKS
//! res.<agent>.<miner>.<sector>                                  RESULTS
//! pres.<agent>.<miner>.<open>.<partition>                       POST_RESULTS
//! ev.<miner>.<sector>.<what>                                    EVENTS
//! ctl.coordinator.<verb>  ctl.agent.<agent>.<verb>  ctl.poster.<verb>   core request-reply
//! ```

use std::{fmt, str::FromStr};

use crate::{
    id::{AgentId, Epoch, MinerId, Place, SectorId, SectorNumber},
    stage::{Class, Stage},
};

/// A subject that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subject \"{subject}\" is not a {what} subject: {reason}")]
pub struct BadSubject {
    what: &'static str,
    subject: String,
    reason: String,
}

/// Where a task may run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whither {
    /// Any agent of the class.
    Any,
    /// Agents of one place.
    At(Place),
}

impl fmt::Display for Whither {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::At(place) => place.fmt(f),
        }
    }
}

impl FromStr for Whither {
    type Err = crate::id::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" { Ok(Self::Any) } else { text.parse().map(Self::At) }
    }
}

/// The subject of a sealing task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskSubject {
    /// Where it may run.
    pub whither: Whither,
    /// The sector.
    pub sector: SectorId,
    /// The stage; the class follows from it.
    pub stage: Stage,
}

impl fmt::Display for TaskSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seal.{}.{}.{}.{}", self.stage.class(), self.whither, self.sector.key(), self.stage)
    }
}

/// The subject of a PoSt task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PostSubject {
    /// `post-io` or `post-gpu`.
    pub class: Class,
    /// Where it may run.
    pub whither: Whither,
    /// The miner.
    pub miner: MinerId,
    /// The epoch its deadline opens at.
    pub open: Epoch,
    /// The partition.
    pub partition: u64,
    /// Which try, from 1.
    pub attempt: u32,
}

impl fmt::Display for PostSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, whither, miner, open, partition, attempt } = self;
        write!(f, "post.{class}.{whither}.{miner}.{open}.{partition}.{attempt}")
    }
}

/// The subject of a sealing result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResultSubject {
    /// Who reports.
    pub agent: AgentId,
    /// About which sector.
    pub sector: SectorId,
}

impl fmt::Display for ResultSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "res.{}.{}", self.agent, self.sector.key())
    }
}

/// The subject of a PoSt result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PostResultSubject {
    /// Who reports.
    pub agent: AgentId,
    /// The miner.
    pub miner: MinerId,
    /// The epoch its deadline opens at.
    pub open: Epoch,
    /// The partition.
    pub partition: u64,
}

impl fmt::Display for PostResultSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pres.{}.{}.{}.{}", self.agent, self.miner, self.open, self.partition)
    }
}

/// The subject of a sector event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventSubject {
    /// The sector.
    pub sector: SectorId,
    /// The state it entered, as [`crate::sector::SectorState::name`] writes it.
    pub what: String,
}

impl fmt::Display for EventSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ev.{}.{}", self.sector.key(), self.what)
    }
}

/// A command to a daemon, by core request-reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ControlSubject {
    /// To the leading coordinator.
    Coordinator(String),
    /// To one agent.
    Agent(AgentId, String),
    /// To the poster.
    Poster(String),
}

impl fmt::Display for ControlSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(verb) => write!(f, "ctl.coordinator.{verb}"),
            Self::Agent(agent, verb) => write!(f, "ctl.agent.{agent}.{verb}"),
            Self::Poster(verb) => write!(f, "ctl.poster.{verb}"),
        }
    }
}

struct Tokens<'a> {
    what: &'static str,
    subject: &'a str,
    rest: std::str::Split<'a, char>,
}

impl<'a> Tokens<'a> {
    fn new(what: &'static str, head: &str, subject: &'a str) -> Result<Self, BadSubject> {
        let mut tokens = Self { what, subject, rest: subject.split('.') };
        if tokens.rest.next() == Some(head) {
            Ok(tokens)
        } else {
            Err(tokens.bad(format!("it must begin with \"{head}.\"")))
        }
    }

    fn bad(&self, reason: impl fmt::Display) -> BadSubject {
        BadSubject { what: self.what, subject: self.subject.to_owned(), reason: reason.to_string() }
    }

    fn word(&mut self, name: &str) -> Result<&'a str, BadSubject> {
        match self.rest.next() {
            Some(word) if !word.is_empty() => Ok(word),
            _ => Err(self.bad(format!("its {name} is missing"))),
        }
    }

    fn take<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<T, BadSubject> {
        let word = self.word(name)?;
        word.parse().map_err(|e| self.bad(format!("{name}: {e}")))
    }

    fn sector(&mut self) -> Result<SectorId, BadSubject> {
        let miner = self.take("miner")?;
        let number = self.take("sector number")?;
        Ok(SectorId { miner, number: SectorNumber(number) })
    }

    fn end(mut self) -> Result<(), BadSubject> {
        match self.rest.next() {
            None => Ok(()),
            Some(extra) => Err(self.bad(format!("\"{extra}\" is one token too many"))),
        }
    }
}

impl FromStr for TaskSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("task", "seal", text)?;
        let class: Class = t.take("class")?;
        let whither = t.take("place")?;
        let sector = t.sector()?;
        let stage: Stage = t.take("stage")?;
        if stage.class() != class {
            return Err(t.bad(format!("stage {stage} is done by class {}, not {class}", stage.class())));
        }
        t.end()?;
        Ok(Self { whither, sector, stage })
    }
}

impl FromStr for PostSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("PoSt task", "post", text)?;
        let class: Class = t.take("class")?;
        if !class.is_post() {
            return Err(t.bad(format!("class {class} does no PoSt")));
        }
        let subject = Self {
            class,
            whither: t.take("place")?,
            miner: t.take("miner")?,
            open: t.take("open epoch")?,
            partition: t.take("partition")?,
            attempt: t.take("try")?,
        };
        t.end()?;
        Ok(subject)
    }
}

impl FromStr for ResultSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("result", "res", text)?;
        let subject = Self { agent: t.take("agent")?, sector: t.sector()? };
        t.end()?;
        Ok(subject)
    }
}

impl FromStr for PostResultSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("PoSt result", "pres", text)?;
        let subject = Self {
            agent: t.take("agent")?,
            miner: t.take("miner")?,
            open: t.take("open epoch")?,
            partition: t.take("partition")?,
        };
        t.end()?;
        Ok(subject)
    }
}

impl FromStr for EventSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("event", "ev", text)?;
        let subject = Self { sector: t.sector()?, what: t.word("state")?.to_owned() };
        t.end()?;
        Ok(subject)
    }
}

impl FromStr for ControlSubject {
    type Err = BadSubject;

    fn from_str(text: &str) -> Result<Self, BadSubject> {
        let mut t = Tokens::new("control", "ctl", text)?;
        let subject = match t.word("daemon")? {
            "coordinator" => Self::Coordinator(t.word("verb")?.to_owned()),
            "agent" => Self::Agent(t.take("agent")?, t.word("verb")?.to_owned()),
            "poster" => Self::Poster(t.word("verb")?.to_owned()),
            other => return Err(t.bad(format!("there is no daemon \"{other}\""))),
        };
        t.end()?;
        Ok(subject)
    }
}
