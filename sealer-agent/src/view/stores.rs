//! What the `store` commands print.

use host::{
    exit::CliError,
    output::{Column, Details, Format, Listing},
};
use serde::Serialize;
use streams::id::{MinerId, StoreId, Timestamp};

use super::size;
use crate::store::{
    check::Problem,
    choice::{Candidate, Verdict},
    look::Look,
    registered::Entry,
};

/// A store of this host as it is.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) entry: Entry,
    /// Nothing where no UUID is known.
    pub(crate) found: Option<(StoreId, Look)>,
}

/// A store as programs read it.
#[derive(Debug, Serialize)]
struct Line {
    store: Option<StoreId>,
    kind: &'static str,
    state: &'static str,
    why: String,
    path: String,
    weight: u32,
    read_only: bool,
    allow_miners: Vec<MinerId>,
    deny_miners: Vec<MinerId>,
    retired_at: Option<Timestamp>,
    sectors: Option<u64>,
    bytes_free: Option<u64>,
    bytes_reserved: Option<u64>,
    bytes_total: Option<u64>,
}

impl Shown {
    fn line(&self) -> Line {
        let Self { entry, found } = self;
        let usage = found.as_ref().and_then(|(_, look)| look.usage.as_ref());
        let (state, why) = match found {
            None => ("missing", "no store is there, and its UUID was never noted".to_owned()),
            Some((_, look)) if look.condition.is_ok() && entry.retired_at.is_some() => ("retired", String::new()),
            Some((_, look)) if look.condition.is_ok() && entry.read_only => ("read-only", "as set".to_owned()),
            Some((_, look)) if look.condition.is_ok() => ("ok", String::new()),
            Some((_, look)) => (look.condition.name(), look.condition.to_string()),
        };
        Line {
            store: found.as_ref().map(|(store, _)| *store),
            kind: if entry.persistent { "persistent" } else { "local" },
            state,
            why,
            path: entry.path.display().to_string(),
            weight: entry.weight,
            read_only: entry.read_only,
            allow_miners: entry.allow_miners.clone(),
            deny_miners: entry.deny_miners.clone(),
            retired_at: entry.retired_at,
            sectors: usage.map(|usage| usage.sectors),
            bytes_free: usage.map(|usage| usage.space.free),
            bytes_reserved: usage.map(|usage| usage.reserved),
            bytes_total: usage.map(|usage| usage.space.total),
        }
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// `store list`. A store that cannot be read is a line too: that is when a person looks.
pub(crate) fn list(stores: &[Shown], format: Format) -> Result<(), CliError> {
    let mut listing = Listing::new([
        Column::new("STORE"),
        Column::new("KIND"),
        Column::new("STATE"),
        Column::new("PATH"),
        Column::new("SECTORS").right(),
        Column::new("FREE").right(),
        Column::new("PROMISED").right(),
        Column::wide("TOTAL").right(),
        Column::new("NOTE"),
    ]);
    for shown in stores {
        let line = shown.line();
        listing.row(
            [
                or_dash(line.store.map(|store| store.to_string())),
                line.kind.to_owned(),
                line.state.to_owned(),
                line.path.clone(),
                or_dash(line.sectors.map(|sectors| sectors.to_string())),
                or_dash(line.bytes_free.map(size)),
                or_dash(line.bytes_reserved.map(size)),
                or_dash(line.bytes_total.map(size)),
                line.why.clone(),
            ],
            &line,
        )?;
    }
    listing.print(format)
}

/// `store show`: one store, with what is in it.
pub(crate) fn show(shown: &Shown, sectors: &[String], format: Format) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        store: &'a Line,
        held: &'a [String],
    }
    let line = shown.line();
    let name = line.store.map_or_else(|| line.path.clone(), |store| store.to_string());
    let mut details = Details::new(name, &Whole { store: &line, held: sectors })?;
    details.fact("path", line.path.clone());
    details.fact("kind", line.kind);
    details.fact(
        "state",
        if line.why.is_empty() { line.state.to_owned() } else { format!("{}: {}", line.state, line.why) },
    );
    details.fact("weight", line.weight.to_string());
    let miners = |miners: &[MinerId], none: &str| match miners {
        [] => none.to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    details.fact("allowed miners", miners(&line.allow_miners, "all"));
    details.fact("denied miners", miners(&line.deny_miners, "none"));
    details.fact("free", or_dash(line.bytes_free.map(size)));
    details.fact("promised", or_dash(line.bytes_reserved.map(size)));
    details.fact("total", or_dash(line.bytes_total.map(size)));
    details.fact("sectors", or_dash(line.sectors.map(|sectors| sectors.to_string())));
    if !sectors.is_empty() {
        details.fact("holds", sectors.join(" "));
    }
    details.print(format)
}

/// `store why`: each store with what is said of it, the chosen one first.
pub(crate) fn why(ranked: &[(Candidate, Verdict)], format: Format) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Row<'a> {
        store: StoreId,
        path: String,
        verdict: &'a str,
        score: String,
        because: String,
    }
    let mut listing = Listing::new([
        Column::new("VERDICT"),
        Column::new("STORE"),
        Column::new("PATH"),
        Column::new("SCORE").right(),
        Column::new("BECAUSE"),
    ]);
    for (index, (candidate, verdict)) in ranked.iter().enumerate() {
        let word = match (verdict.is_possible(), index) {
            (true, 0) => "chosen",
            (true, _) => "possible",
            (false, _) => "passed over",
        };
        let score = match verdict {
            Verdict::Fits { .. } => verdict.score().to_string(),
            Verdict::HasIt | Verdict::No(_) => "-".to_owned(),
        };
        let path = candidate.entry.path.display().to_string();
        let row = Row { store: candidate.store, path, verdict: word, score, because: verdict.to_string() };
        let cells = [word.to_owned(), row.store.to_string(), row.path.clone(), row.score.clone(), row.because.clone()];
        listing.row(cells, &row)?;
    }
    listing.print(format)
}

/// `store check`: what is wrong, and what to do about it.
pub(crate) fn problems(problems: &[(StoreId, Problem)], format: Format) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Row<'a> {
        store: StoreId,
        #[serde(flatten)]
        problem: &'a Problem,
    }
    let mut listing =
        Listing::new([Column::new("STORE"), Column::new("SECTOR"), Column::new("PROBLEM"), Column::new("TO DO")]);
    for (store, problem) in problems {
        let cells = [
            store.to_string(),
            or_dash(problem.sector.map(|sector| sector.to_string())),
            problem.what.clone(),
            problem.to_do.to_owned(),
        ];
        listing.row(cells, &Row { store: *store, problem })?;
    }
    listing.print(format)
}
