//! What a command says on stdout: data, in the form that was asked for. Talk goes to stderr.

use serde::Serialize;

use crate::exit::CliError;

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

/// A column of a [`Listing`].
#[derive(Debug, Clone)]
pub struct Column {}

impl Column {
    /// A column that is always shown.
    #[must_use]
    pub fn new(_title: &str) -> Self {
        todo!()
    }

    /// A column shown in `wide` and `csv` only.
    #[must_use]
    pub fn wide(_title: &str) -> Self {
        todo!()
    }

    /// Numbers, aligned to the right.
    #[must_use]
    pub fn right(self) -> Self {
        todo!()
    }
}

/// Rows of the same kind. The first column is the name.
#[derive(Debug, Clone)]
pub struct Listing {}

impl Listing {
    /// No rows yet.
    #[must_use]
    pub fn new(_columns: impl IntoIterator<Item = Column>) -> Self {
        todo!()
    }

    /// Leaves out the line of titles.
    #[must_use]
    pub fn without_headers(self) -> Self {
        todo!()
    }

    /// Adds a row: what a person sees, a cell a column, and what a program reads.
    ///
    /// # Errors
    ///
    /// The value is not representable in JSON.
    pub fn row(
        &mut self,
        _cells: impl IntoIterator<Item = impl Into<String>>,
        _value: &impl Serialize,
    ) -> Result<(), CliError> {
        todo!()
    }

    /// The text in this form.
    #[must_use]
    pub fn render(&self, _format: Format) -> String {
        todo!()
    }

    /// Prints it. A reader that went away (`| head`) is no error.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written.
    pub fn print(&self, _format: Format) -> Result<(), CliError> {
        todo!()
    }
}

/// One thing with its facts, a line each; as JSON, the value itself.
#[derive(Debug, Clone)]
pub struct Details {}

impl Details {
    /// The facts of `name`; programs read `value`.
    ///
    /// # Errors
    ///
    /// The value is not representable in JSON.
    pub fn new(_name: impl Into<String>, _value: &impl Serialize) -> Result<Self, CliError> {
        todo!()
    }

    /// Adds a fact.
    pub fn fact(&mut self, _label: &str, _value: impl Into<String>) {
        todo!()
    }

    /// The text in this form.
    #[must_use]
    pub fn render(&self, _format: Format) -> String {
        todo!()
    }

    /// Prints it.
    ///
    /// # Errors
    ///
    /// Stdout cannot be written.
    pub fn print(&self, _format: Format) -> Result<(), CliError> {
        todo!()
    }
}
