//! `checker DIR`: judges the evidence in a folder and names every violated invariant.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use host::{
    exit::{CliError, Exit, main_with},
    output::{Column, Format, Listing},
};
use trial::checker::{Evidence, judge, lost_sectors};

/// Judges what a run left behind: exits with 77 when an invariant was violated.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Folder with queue.jsonl, chain.jsonl, stores.jsonl and run.jsonl.
    dir: PathBuf,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    main_with(move || check(&cli))
}

fn check(cli: &Cli) -> Result<(), CliError> {
    let evidence = Evidence::load(&cli.dir).map_err(|e| CliError::new(Exit::Data, "read the evidence").because(e))?;
    let violations = judge(&evidence);
    let columns = [Column::new("ID"), Column::new("SUBJECT"), Column::new("WHAT"), Column::new("LINES")];
    let mut listing = Listing::new(columns);
    for violation in &violations {
        let lines: Vec<_> = violation.lines.iter().map(ToString::to_string).collect();
        let cells = [violation.id, &violation.subject, &violation.words, &lines.join(" ")];
        listing.row(cells, violation)?;
    }
    let is_for_people = matches!(cli.output, Format::Table | Format::Wide);
    if !violations.is_empty() || !is_for_people {
        listing.print(cli.output)?;
    }
    let summary = format!(
        "checker: {} records, {} violations, {} sectors lost",
        evidence.records(),
        violations.len(),
        lost_sectors(&evidence).len()
    );
    // For programs stdout is one document, so the summary is talk there.
    let told = if is_for_people { writeln!(io::stdout(), "{summary}") } else { writeln!(io::stderr(), "{summary}") };
    told.map_err(|e| CliError::new(Exit::Io, "print the summary").because(e))?;
    if violations.is_empty() {
        return Ok(());
    }
    Err(CliError::new(Exit::Refused, format!("{} invariants were violated", violations.len())))
}
