//! Drops what proving does not need: layers, tree-c, tree-d. What remains is p_aux, t_aux and tree-r-last.

use std::path::Path;

use filecoin_proofs_api::seal::clear_cache;

use super::file;
use crate::{
    cache_tag::{self, TreeDTag},
    failure::StageFailure,
    job::Output,
    library::catch,
    progress::{HowFar, Progress},
};

pub(super) fn run(cache: &Path, progress: &dyn Progress) -> Result<Output, StageFailure> {
    file::require_folder("cache", cache)?;
    if !cache.join("p_aux").is_file() || file::files_with_prefix(cache, "sc-02-data-tree-r-last")?.is_empty() {
        let lacks = format!("cache {} lacks p_aux or tree-r-last: it is not a sealed sector's", cache.display());
        return Err(StageFailure::bad_input(lacks));
    }
    progress.tell("clearing the cache", HowFar::Unknown);
    cache_tag::remove::<TreeDTag>(cache)?;
    catch(|| clear_cache(cache))??;
    // The library searches by pattern: in a folder whose name is one itself it would find nothing.
    for prefix in ["sc-02-data-layer-", "sc-02-data-tree-c"] {
        for left in file::files_with_prefix(cache, prefix)? {
            host::durable::remove_file(&left)?;
        }
    }
    host::durable::sync_dir(cache)?;
    Ok(Output::Finalize {})
}
