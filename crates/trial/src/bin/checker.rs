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
use trial::checker::{Evidence, Violation, judge, lost_sectors};

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
    let missing = evidence.missing();
    if !missing.is_empty() {
        // If stderr is gone, nobody asks.
        let _ = writeln!(io::stderr(), "without {}: what only that tells is not judged", missing.join(", "));
    }
    let summary = format!(
        "checker: {} records, {} violations, {} sectors lost",
        evidence.records(),
        violations.len(),
        lost_sectors(&evidence).len()
    );
    match cli.output {
        Format::Table | Format::Wide => tell(&violations, &summary),
        Format::Json | Format::Jsonl | Format::Csv | Format::Name => {
            // Data is one document; the summary is talk there.
            let _ = writeln!(io::stderr(), "{summary}");
            list(&violations, cli.output)
        }
    }?;
    if violations.is_empty() {
        return Ok(());
    }
    Err(CliError::new(Exit::Refused, format!("{} violations", violations.len())))
}

/// One line each, so that `grep ^I4` works.
fn tell(violations: &[Violation], summary: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let lines = violations.iter().map(ToString::to_string).chain([summary.to_owned()]);
    for line in lines {
        writeln!(out, "{line}").map_err(|e| CliError::new(Exit::Io, "print the violations").because(e))?;
    }
    Ok(())
}

fn list(violations: &[Violation], format: Format) -> Result<(), CliError> {
    let mut listing = Listing::new(["ID", "SUBJECT", "WHAT", "LINES"].map(Column::new));
    for violation in violations {
        let lines: Vec<_> = violation.lines.iter().map(ToString::to_string).collect();
        listing.row([violation.id, &violation.subject, &violation.words, &lines.join(" ")], violation)?;
    }
    listing.print(format)
}
