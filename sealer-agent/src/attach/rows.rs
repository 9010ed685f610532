//! What became of each sector, for a person and for programs.

use std::collections::BTreeMap;

use host::{
    exit::{CliError, Exit},
    output::{Column, Format, Listing},
};
use serde::Serialize;
use streams::{
    attach::Verdict,
    id::{Epoch, SectorId},
};

/// What became of one sector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Fate {
    /// Nothing yet: the command was cut off.
    #[default]
    Open,
    /// It is the cluster's from now on.
    Attached,
    /// It was before.
    Before,
    /// It was proven, and a dry run goes no further.
    CouldBe,
    /// This cluster sealed it and keeps it here.
    Ours,
    /// A person should look.
    LeftOut(String),
}

impl Fate {
    const fn word(&self) -> &'static str {
        match self {
            Self::Open => "not looked at",
            Self::Attached => "attached",
            Self::Before => "attached before",
            Self::CouldBe => "can be attached",
            Self::Ours => "ours",
            Self::LeftOut(_) => "left out",
        }
    }
}

#[derive(Debug, Default)]
struct Row {
    fate: Fate,
    /// Deadline, partition and expiration, once the chain was asked.
    on_chain: Option<(u64, u64, Epoch)>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Rows {
    rows: BTreeMap<SectorId, Row>,
}

/// One as programs read it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    sector: SectorId,
    verdict: &'static str,
    deadline: Option<u64>,
    partition: Option<u64>,
    expiration: Option<Epoch>,
    because: &'a str,
}

impl Rows {
    pub(super) fn new<T>(sectors: &BTreeMap<SectorId, T>) -> Self {
        Self { rows: sectors.keys().map(|sector| (*sector, Row::default())).collect() }
    }

    /// What the chain has of a sector.
    pub(super) fn looked(&mut self, sector: SectorId, verdict: &Verdict) {
        if let Verdict::Proving { deadline, partition, expiration, .. } = verdict {
            self.rows.entry(sector).or_default().on_chain = Some((*deadline, *partition, *expiration));
        }
    }

    /// What became of it.
    pub(super) fn set(&mut self, sector: SectorId, fate: Fate) {
        self.rows.entry(sector).or_default().fate = fate;
    }

    /// Whether anything became of any.
    pub(super) fn is_begun(&self) -> bool {
        self.rows.values().any(|row| row.fate != Fate::Open)
    }

    /// The table, and a line that counts.
    pub(super) fn print(&self, format: Format) -> Result<(), CliError> {
        let mut listing = Listing::new([
            Column::new("SECTOR"),
            Column::new("VERDICT"),
            Column::new("DEADLINE").right(),
            Column::new("PARTITION").right(),
            Column::new("EXPIRES").right(),
            Column::new("BECAUSE"),
        ]);
        for (sector, row) in &self.rows {
            let because = if let Fate::LeftOut(why) = &row.fate { why } else { "" };
            let (deadline, partition, expiration) = match row.on_chain {
                Some((deadline, partition, expiration)) => (Some(deadline), Some(partition), Some(expiration)),
                None => (None, None, None),
            };
            let line = Line { sector: *sector, verdict: row.fate.word(), deadline, partition, expiration, because };
            let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
            let cells = [
                sector.to_string(),
                line.verdict.to_owned(),
                or_dash(deadline.map(|n| n.to_string())),
                or_dash(partition.map(|n| n.to_string())),
                or_dash(expiration.map(|n| n.to_string())),
                because.to_owned(),
            ];
            listing.row(cells, &line)?;
        }
        listing.print(format)?;
        eprintln!("{}", self.counted());
        Ok(())
    }

    fn counted(&self) -> String {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for row in self.rows.values() {
            let count = counts.entry(row.fate.word()).or_default();
            *count = count.saturating_add(1);
        }
        let parts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        format!("{} sectors: {}", self.rows.len(), parts.join(", "))
    }

    /// An error when a person should look at any of them.
    pub(super) fn verdict(&self, dry_run: bool) -> Result<(), CliError> {
        let count = |is: fn(&Fate) -> bool| self.rows.values().filter(|row| is(&row.fate)).count();
        let attached = count(|fate| matches!(fate, Fate::Attached));
        if dry_run {
            eprintln!("dry run: nothing was changed");
        } else if attached > 0 {
            eprintln!(
                "agents of this host open the store when they are started again, and then it is proven from there"
            );
        }
        match count(|fate| matches!(fate, Fate::LeftOut(_))) {
            0 => Ok(()),
            left_out => {
                Err(CliError::new(Exit::Data, format!("{left_out} of {} sectors were left out", self.rows.len()))
                    .hint("each says why; what is mended is attached when the command is given again"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(fates: Vec<Fate>) -> Rows {
        let sectors: BTreeMap<SectorId, ()> =
            (0..fates.len()).map(|number| (SectorId::from_key(&format!("f01000.{number}")).unwrap(), ())).collect();
        let mut rows = Rows::new(&sectors);
        for (sector, fate) in sectors.keys().zip(fates) {
            rows.set(*sector, fate);
        }
        rows
    }

    #[test]
    fn what_a_person_should_look_at_is_an_error() {
        let good = rows(vec![Fate::Attached, Fate::Before, Fate::Ours, Fate::CouldBe]);
        assert!(good.verdict(false).is_ok());
        assert_eq!(good.counted(), "4 sectors: 1 attached, 1 attached before, 1 can be attached, 1 ours");
        let bad = rows(vec![Fate::Attached, Fate::LeftOut("it is gone".to_owned())]);
        let error = bad.verdict(true).unwrap_err();
        assert_eq!((error.exit, error.to_string().as_str()), (Exit::Data, "1 of 2 sectors were left out"));
        assert!(bad.is_begun() && !rows(vec![Fate::Open]).is_begun());
    }
}
