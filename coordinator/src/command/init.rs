//! `coordinator init`.

use std::path::{Path, PathBuf};

use host::exit::{CliError, Exit};

use crate::config::{FILE, TEMPLATE};

/// Writes the commented configuration and makes the folders; an existing configuration is left alone.
pub(super) fn init(home: &Path, file: Option<PathBuf>) -> Result<(), CliError> {
    let file = file.unwrap_or_else(|| home.join(FILE));
    let shown = file.display();
    if file.exists() {
        return Err(CliError::new(Exit::Refused, format!("{shown} exists already")).hint("edit it, or remove it first"));
    }
    for dir in [home.to_path_buf(), super::data(home), home.join("keys")] {
        host::durable::create_dir_all(&dir)
            .map_err(|e| CliError::new(Exit::Io, format!("create {}", dir.display())).because(e))?;
    }
    host::durable::write_new(&file, TEMPLATE.as_bytes())
        .map_err(|e| CliError::new(Exit::Io, format!("write {shown}")).because(e))?;
    println!("{shown}");
    eprintln!(
        "next: set chain.api and nats.url there, make a key with `coordinator keys generate`, then `coordinator run`"
    );
    Ok(())
}
