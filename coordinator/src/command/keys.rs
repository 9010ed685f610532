//! `coordinator keys generate`.

use std::path::Path;

use chain::key::LocalKey;
use host::{
    exit::{CliError, Exit},
    output::{Details, Format},
};
use serde::Serialize;

use crate::cli::KeyKindArg;

#[derive(Serialize)]
struct Made {
    address: String,
    file: String,
}

/// Makes a key, readable by its owner alone, and prints its address.
pub(super) fn generate(home: &Path, name: &str, kind: KeyKindArg, format: Format) -> Result<(), CliError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(
            CliError::new(Exit::Usage, format!("\"{name}\" is no name for a key")).hint("use letters, digits, - and _")
        );
    }
    let dir = home.join("keys");
    let file = dir.join(format!("{name}.json"));
    let shown = file.display().to_string();
    if file.exists() {
        return Err(
            CliError::new(Exit::Refused, format!("{shown} exists already")).hint("give the new key another name")
        );
    }
    host::durable::create_dir_all(&dir)
        .map_err(|e| CliError::new(Exit::Io, format!("create {}", dir.display())).because(e))?;
    let failed = |e| CliError::new(Exit::Io, format!("make {shown}")).because(e);
    let key = LocalKey::generate(kind.into()).map_err(failed)?;
    key.save_new(&file).map_err(failed)?;
    let made = Made { address: chain::address::print(&key.address()), file: shown.clone() };
    let mut details = Details::new(made.address.clone(), &made)?;
    details.fact("address", made.address.clone());
    details.fact("file", made.file.clone());
    details.print(format)?;
    eprintln!("keep {shown} safe, and name it as sender.key_file in coordinator.toml");
    Ok(())
}
