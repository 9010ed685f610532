//! Data back out of a replica.
//!
//! With a wrong ticket or another sector's replica the library yields garbage without a word. Since it decodes the
//! whole sector anyway, all of it is checked against CommD before a byte is delivered.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::Context as _;
use filecoin_proofs_api::{UnpaddedByteIndex, UnpaddedBytesAmount, seal::get_unsealed_range};
use streams::{
    id::SectorId,
    proof::{Bytes32, Commitment, SealProof},
};

use super::file;
use crate::{
    commitment::piece_commitment,
    failure::StageFailure,
    job::Output,
    library::{catch, prover_id, registered_seal, sector_id},
    parent_cache,
    progress::{HowFar, Progress},
};

pub(super) struct Unseal<'a> {
    pub(super) proof: SealProof,
    pub(super) sector: SectorId,
    pub(super) ticket: Bytes32,
    pub(super) comm_d: Commitment,
    pub(super) sealed: &'a Path,
    pub(super) scratch: &'a Path,
    pub(super) output: &'a Path,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Unseal<'_> {
    pub(super) fn run(&self, progress: &dyn Progress) -> Result<Output, StageFailure> {
        self.check()?;
        parent_cache::warm(self.proof, progress)?;
        host::durable::remove_dir_all(self.scratch)?;
        host::durable::create_dir_all(self.scratch)?;
        let whole = self.scratch.join("unsealed");
        progress.tell("unsealing", HowFar::Unknown);
        self.unseal_whole(&whole)?;
        progress.tell("checking CommD", HowFar::Unknown);
        self.check_comm_d(&whole)?;
        progress.tell("writing", HowFar::Unknown);
        self.deliver(&whole)?;
        host::durable::remove_dir_all(self.scratch)?;
        Ok(Output::Unseal {})
    }

    fn check(&self) -> Result<(), StageFailure> {
        let bad = |why: String| Err(StageFailure::bad_input(why));
        let (offset, length, size) = (self.offset, self.length, self.proof.unpadded_size());
        if length == 0 || offset.checked_add(length).is_none_or(|end| end > size) {
            return bad(format!("{length} bytes at {offset} are not within the sector's {size}"));
        }
        if self.scratch.join("p_aux").exists() || self.scratch.join("t_aux").exists() {
            return bad(format!("scratch folder {} is a sector's cache", self.scratch.display()));
        }
        file::require_length("replica", self.sealed, self.proof.sector_size())
    }

    fn unseal_whole(&self, to: &Path) -> Result<(), StageFailure> {
        catch(|| {
            get_unsealed_range(
                registered_seal(self.proof),
                self.scratch,
                self.sealed,
                to,
                prover_id(self.sector.miner),
                sector_id(self.sector.number),
                self.comm_d.0,
                self.ticket.0,
                UnpaddedByteIndex(0),
                UnpaddedBytesAmount(self.proof.unpadded_size()),
            )
        })?
        .map_err(|error| error.context("unseal"))?;
        Ok(())
    }

    fn check_comm_d(&self, whole: &Path) -> Result<(), StageFailure> {
        let reader = File::open(whole).with_context(|| format!("open {}", whole.display()))?;
        let reader = BufReader::with_capacity(file::BUFFER_BYTES, reader);
        let (found, _) =
            piece_commitment(reader, self.proof.unpadded_size()).context("compute CommD of the unsealed data")?;
        if found == self.comm_d {
            return Ok(());
        }
        Err(StageFailure::bad_input(format!(
            "the unsealed data has CommD {found}, want {}: the replica is damaged, or the ticket or the sector is another",
            self.comm_d
        )))
    }

    fn deliver(&self, whole: &Path) -> Result<(), StageFailure> {
        let temporary = self.scratch.join("range");
        let mut from = File::open(whole).with_context(|| format!("open {}", whole.display()))?;
        from.seek(SeekFrom::Start(self.offset)).context("seek in the unsealed data")?;
        let mut to = File::create(&temporary).with_context(|| format!("create {}", temporary.display()))?;
        io::copy(&mut from.take(self.length), &mut to)
            .and_then(|_| to.sync_all())
            .with_context(|| format!("write {}", temporary.display()))?;
        if let Some(folder) = self.output.parent() {
            host::durable::create_dir_all(folder)?;
        }
        // Scratch may be on another file system.
        let _digest = host::durable::copy_with_sha256(&temporary, self.output)?;
        Ok(())
    }
}
