//! `config show`: every setting with its origin, the same in every program.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Sources, explain};
use crate::{
    exit::CliError,
    output::{Column, Format, Listing},
};

/// Prints every setting with its value and who said it. Secrets are not shown.
///
/// # Errors
///
/// As [`super::load`], and stdout cannot be written.
pub fn show<T>(sources: &Sources, format: Format) -> Result<(), CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut listing = Listing::new([Column::new("key"), Column::new("value"), Column::new("origin")]);
    for setting in explain::<T>(sources)? {
        let value = if setting.value == Value::Null { "unset".to_owned() } else { setting.value.to_string() };
        listing.row([setting.key.clone(), value, setting.origin.to_string()], &setting)?;
    }
    listing.print(format)
}
