//! Pieces, Fr32-padded, at their offsets in the staged file.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::Context as _;
use filecoin_proofs_api::{UnpaddedBytesAmount, seal::write_and_preprocess};
use streams::proof::{Bytes32, Commitment, SealProof};

use super::file::{self, Told};
use crate::{
    commitment::{check_piece, unpadded},
    failure::StageFailure,
    job::{Output, PieceFile},
    library::registered_seal,
    progress::{HowFar, Progress},
};

pub(super) fn run(
    proof: SealProof,
    pieces: &[PieceFile],
    staged: &Path,
    progress: &dyn Progress,
) -> Result<Output, StageFailure> {
    check(proof, pieces)?;
    let mut target = file::create_zeroed(staged, proof.sector_size())?;
    let mut commitments = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate() {
        let phase = format!("piece {} of {}", index + 1, pieces.len());
        progress.tell(&phase, HowFar::Unknown);
        commitments.push(write_piece(proof, piece, &mut target, &phase, progress)?);
    }
    file::sync(staged)?;
    Ok(Output::AddPiece { pieces: commitments })
}

/// Everything that can be refused is refused before the first byte is written.
fn check(proof: SealProof, pieces: &[PieceFile]) -> Result<(), StageFailure> {
    let mut free_from = 0;
    for piece in pieces {
        check_piece(proof, piece.padded_bytes, piece.offset_padded, free_from)
            .map_err(|error| StageFailure::bad_input(error.to_string()))?;
        free_from = piece.offset_padded + piece.padded_bytes;
        let bad = |why: String| StageFailure::bad_input(format!("payload {}: {why}", piece.path.display()));
        let metadata = piece.path.metadata().map_err(|error| bad(error.to_string()))?;
        let room = unpadded(piece.padded_bytes);
        if metadata.len() > room {
            return Err(bad(format!("its {} bytes do not fit the piece's {room}", metadata.len())));
        }
    }
    Ok(())
}

fn write_piece(
    proof: SealProof,
    piece: &PieceFile,
    target: &mut File,
    phase: &str,
    progress: &dyn Progress,
) -> Result<Commitment, StageFailure> {
    let room = unpadded(piece.padded_bytes);
    let payload = File::open(&piece.path).with_context(|| format!("open {}", piece.path.display()))?;
    let source = BufReader::with_capacity(file::BUFFER_BYTES, payload).chain(io::repeat(0)).take(room);
    let source = Told { inner: source, done: 0, total: room, phase, progress };
    target.seek(SeekFrom::Start(piece.offset_padded)).context("seek in the staged file")?;
    let (info, _) = write_and_preprocess(registered_seal(proof), source, target, UnpaddedBytesAmount(room))
        .with_context(|| format!("write {} into the staged file", piece.path.display()))?;
    Ok(Bytes32(info.commitment))
}
