//! What a command says on stdout: data, in the form that was asked for. Talk goes to stderr.
//!
//! `table` and `wide` are for people and may change; the others are for programs. `json` of a [`Listing`] is an array,
//! of [`Details`] the value itself.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::exit::{CliError, Exit};

/// The form of a command's answer: `-o json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Columns for a person.
    #[default]
    Table,
    /// All columns for a person.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// Comma-separated values with all columns.
    Csv,
    /// Names only, one a line.
    Name,
}

/// Bytes as people read them.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in units {
        let whole = bytes >> shift;
        if whole > 0 {
            let tenths = ((bytes - (whole << shift)) * 10) >> shift;
            return format!("{whole}.{tenths} {unit}");
        }
    }
    format!("{bytes} B")
}

/// A column of a [`Listing`].
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    is_wide: bool,
    is_right: bool,
}

impl Column {
    /// A column that is always shown.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), is_wide: false, is_right: false }
    }

    /// A column shown in `wide` and `csv` only.
    #[must_use]
    pub fn wide(title: &str) -> Self {
        Self { is_wide: true, ..Self::new(title) }
    }

    /// Numbers, aligned to the right.
    #[must_use]
    pub const fn right(mut self) -> Self {
        self.is_right = true;
        self
    }
}

/// Rows of the same kind. The first column is the name.
#[derive(Debug, Clone)]
pub struct Listing {
    columns: Vec<Column>,
    rows: Vec<Row>,
    has_headers: bool,
}

#[derive(Debug, Clone)]
struct Row {
    cells: Vec<String>,
    value: Value,
}

impl Listing {
    /// No rows yet.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), has_headers: true }
    }

    /// Leaves out the line of titles.
    #[must_use]
    pub const fn without_headers(mut self) -> Self {
        self.has_headers = false;
        self
    }

    /// Adds a row: what a person sees, a cell a column, and what a program reads.
    ///
    /// # Errors
    ///
    /// The value is not representable in JSON.
    pub fn row(
        &mut self,
        cells: impl IntoIterator<Item = impl Into<String>>,
        value: &impl Serialize,
    ) -> Result<(), CliError> {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell a column");
        self.rows.push(Row { cells, value: json(value)? });
        Ok(())
    }

    /// The text in this form.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(|column| !column.is_wide),
            Format::Wide => self.table(|_| true),
            Format::Json => pretty(&Value::Array(self.rows.iter().map(|row| row.value.clone()).collect())),
            Format::Jsonl => self.rows.iter().map(|row| format!("{}\n", row.value)).collect(),
            Format::Csv => self.csv(),
            Format::Name => {
                self.rows.iter().filter_map(|row| row.cells.first()).map(|name| format!("{name}\n")).collect()
            }
        }
    }

    /// Prints it. A reader that went away (`| head`) is no error.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written.
    pub fn print(&self, format: Format) -> Result<(), CliError> {
        print(&self.render(format))
    }

    fn table(&self, is_shown: impl Fn(&Column) -> bool) -> String {
        let shown: Vec<bool> = self.columns.iter().map(is_shown).collect();
        let pick = |cells: Vec<String>| -> Vec<String> {
            cells.into_iter().zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell).collect()
        };
        let mut table = plain_table();
        if self.has_headers {
            table.set_header(pick(self.columns.iter().map(|column| column.title.to_uppercase()).collect()));
        }
        table.add_rows(self.rows.iter().map(|row| pick(row.cells.clone())));
        let rights = self.columns.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(column, _)| column.is_right);
        for (column, is_right) in table.column_iter_mut().zip(rights) {
            if is_right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        lines_of(&table)
    }

    fn csv(&self) -> String {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title.clone()).collect();
        let headers = self.has_headers.then_some(&titles);
        headers.into_iter().chain(self.rows.iter().map(|row| &row.cells)).map(|cells| csv_line(cells)).collect()
    }
}

/// One thing with its facts, a line each.
#[derive(Debug, Clone)]
pub struct Details {
    name: String,
    facts: Vec<(String, String)>,
    value: Value,
}

impl Details {
    /// The facts of `name`; programs read `value`.
    ///
    /// # Errors
    ///
    /// The value is not representable in JSON.
    pub fn new(name: impl Into<String>, value: &impl Serialize) -> Result<Self, CliError> {
        Ok(Self { name: name.into(), facts: Vec::new(), value: json(value)? })
    }

    /// Adds a fact.
    pub fn fact(&mut self, label: &str, value: impl Into<String>) {
        self.facts.push((label.to_owned(), value.into()));
    }

    /// The text in this form.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table | Format::Wide => {
                let mut table = plain_table();
                table.add_rows(self.facts.iter().map(|(label, value)| [label, value]));
                lines_of(&table)
            }
            Format::Json => pretty(&self.value),
            Format::Jsonl => format!("{}\n", self.value),
            Format::Csv => {
                let (labels, values): (Vec<_>, Vec<_>) = self.facts.iter().cloned().unzip();
                csv_line(&labels) + &csv_line(&values)
            }
            Format::Name => format!("{}\n", self.name),
        }
    }

    /// Prints it. A reader that went away is no error.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written.
    pub fn print(&self, format: Format) -> Result<(), CliError> {
        print(&self.render(format))
    }
}

/// Columns parted by spaces: nothing to copy along with a cell, and nothing for `awk` to trip over. Wrapped to the
/// terminal, and not at all elsewhere.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn lines_of(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}

/// By RFC 4180, but with a plain line feed.
fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

fn json(value: &impl Serialize) -> Result<Value, CliError> {
    serde_json::to_value(value).map_err(|error| CliError::new(Exit::Failure, "write the answer as JSON").because(error))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Prints a text as it is: a file, or what has no other form.
///
/// # Errors
///
/// Stdout cannot be written.
pub fn text(text: &str) -> Result<(), CliError> {
    print(text)
}

fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Io, "write to stdout").because(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(900), "900 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((7 << 40) + (1 << 39)), "7.5 TiB");
    }

    fn listing() -> Listing {
        let mut listing = Listing::new([Column::new("sector"), Column::new("size").right(), Column::wide("where")]);
        listing.row(["f01000/1", "2048", "rack-1, \"top\""], &json!({"sector": "f01000/1", "bytes": 2048})).unwrap();
        listing.row(["f01000/22", "8", "rack-2"], &json!({"sector": "f01000/22", "bytes": 8})).unwrap();
        listing
    }

    #[test]
    fn a_table_is_columns_and_nothing_else() {
        assert_eq!(listing().render(Format::Table), "SECTOR     SIZE\nf01000/1   2048\nf01000/22     8\n");
        assert_eq!(
            listing().without_headers().render(Format::Wide),
            "f01000/1   2048  rack-1, \"top\"\nf01000/22     8  rack-2\n"
        );
    }

    #[test]
    fn programs_get_values() {
        let parsed: Value = serde_json::from_str(&listing().render(Format::Json)).unwrap();
        assert_eq!(parsed, json!([{"sector": "f01000/1", "bytes": 2048}, {"sector": "f01000/22", "bytes": 8}]));
        let lines = listing().render(Format::Jsonl);
        assert_eq!(lines.lines().count(), 2);
        assert_eq!(serde_json::from_str::<Value>(lines.lines().last().unwrap()).unwrap()["bytes"], 8);
        assert_eq!(Listing::new([]).render(Format::Json), "[]\n");
    }

    #[test]
    fn csv_has_all_columns_and_is_quoted() {
        assert_eq!(
            listing().render(Format::Csv),
            "sector,size,where\nf01000/1,2048,\"rack-1, \"\"top\"\"\"\nf01000/22,8,rack-2\n"
        );
    }

    #[test]
    fn names_are_the_first_column() {
        assert_eq!(listing().render(Format::Name), "f01000/1\nf01000/22\n");
    }

    #[test]
    fn details_are_a_fact_a_line() {
        let mut details = Details::new("f01000/1", &json!({"state": "proving"})).unwrap();
        details.fact("state", "proving");
        details.fact("sealed by", "agent-7");
        assert_eq!(details.render(Format::Table), "state      proving\nsealed by  agent-7\n");
        assert_eq!(details.render(Format::Json), "{\n  \"state\": \"proving\"\n}\n");
        assert_eq!(details.render(Format::Csv), "state,sealed by\nproving,agent-7\n");
        assert_eq!(details.render(Format::Name), "f01000/1\n");
    }
}
