//! CommD and piece commitments, computed without a sector.
//!
//! A commitment is the root of a binary tree of SHA-256, truncated to 254 bits, over the Fr32-padded bytes. A sector's
//! CommD is the same tree over all of it, so it follows from the roots of its pieces; what no piece covers is zeros.

use std::io::Read;

use filecoin_proofs_api::{PieceInfo, UnpaddedBytesAmount, seal::compute_comm_d};
use streams::proof::{Commitment, SealProof};

use crate::{
    job::PieceCommitment,
    library::{catch, registered_seal},
};

/// The smallest padded piece.
pub(crate) const PIECE_BYTES_MIN: u64 = 128;
/// The largest padded piece: the largest sector.
const PIECE_BYTES_MAX: u64 = 64 << 30;

/// A commitment that cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum CommitmentError {
    /// The pieces do not fit the sector, or each other.
    #[error("{0}")]
    BadPieces(String),
    /// The payload could not be read.
    #[error("read the payload")]
    Read(#[source] std::io::Error),
    /// The library failed.
    #[error("compute the commitment: {0}")]
    Library(String),
}

/// The padded size of the piece that holds `payload_len` bytes: the next power of two over 128/127 of them.
pub fn piece_size(payload_len: u64) -> Result<u64, CommitmentError> {
    let padded = u128::from(payload_len.div_ceil(127)) * 128;
    let size = u64::try_from(padded).ok().and_then(u64::checked_next_power_of_two).unwrap_or(u64::MAX);
    if size > PIECE_BYTES_MAX {
        return Err(CommitmentError::BadPieces(format!("a payload of {payload_len} bytes does not fit any sector")));
    }
    Ok(size.max(PIECE_BYTES_MIN))
}

/// Unpadded bytes of a padded size.
pub(crate) const fn unpadded(padded: u64) -> u64 {
    padded / 128 * 127
}

/// The commitment and padded size of the piece whose payload `reader` yields: exactly `payload_len` bytes, then zeros.
/// Streams: memory does not grow with the payload.
pub fn piece_commitment(reader: impl Read, payload_len: u64) -> Result<(Commitment, u64), CommitmentError> {
    let padded_bytes = piece_size(payload_len)?;
    let mut tree = CommitmentTree::default();
    let mut payload = reader.take(payload_len);
    let mut fr32 = filecoin_proofs_api::fr32::Fr32Reader::new(
        (&mut payload).chain(std::io::repeat(0)).take(unpadded(padded_bytes)),
    );
    let mut node = [0; 32];
    for _ in 0..padded_bytes / 32 {
        fr32.read_exact(&mut node).map_err(CommitmentError::Read)?;
        tree.push(node);
    }
    if payload.limit() > 0 {
        let short = format!("it ended {} bytes before its stated length", payload.limit());
        return Err(CommitmentError::Read(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, short)));
    }
    let root = tree.root().ok_or_else(|| CommitmentError::Library("the tree is not whole".to_owned()))?;
    Ok((root, padded_bytes))
}

/// CommD of a sector with these pieces, in ascending order of offset; what lies between them is zeros.
pub fn comm_d(proof: SealProof, pieces: &[PieceCommitment]) -> Result<Commitment, CommitmentError> {
    let tiles = tile(proof, pieces)?;
    let root = catch(|| compute_comm_d(registered_seal(proof), &tiles))
        .map_err(|panicked| CommitmentError::Library(panicked.to_string()))?
        .map_err(|error| CommitmentError::Library(format!("{error:#}")))?;
    Ok(streams::proof::Bytes32(root))
}

/// The pieces as the library wants them: covering the sector without a gap.
pub(crate) fn tile(proof: SealProof, pieces: &[PieceCommitment]) -> Result<Vec<PieceInfo>, CommitmentError> {
    let end = proof.sector_size();
    let mut tiles = Vec::new();
    let mut at = 0;
    for piece in pieces {
        check_piece(proof, piece.padded_bytes, piece.offset_padded, at)?;
        fill_with_zeros(&mut tiles, &mut at, piece.offset_padded)?;
        tiles.push(piece_info(piece.commitment, piece.padded_bytes)?);
        at += piece.padded_bytes;
    }
    fill_with_zeros(&mut tiles, &mut at, end)?;
    Ok(tiles)
}

/// Whether a piece can stand where it is said to, the one before it ending at `free_from`.
pub(crate) fn check_piece(proof: SealProof, padded: u64, offset: u64, free_from: u64) -> Result<(), CommitmentError> {
    let bad =
        |why: String| Err(CommitmentError::BadPieces(format!("piece of {padded} padded bytes at {offset}: {why}")));
    if !padded.is_power_of_two() || padded < PIECE_BYTES_MIN {
        return bad(format!("its size is not a power of two of at least {PIECE_BYTES_MIN}"));
    }
    if !offset.is_multiple_of(padded) {
        return bad("its offset is not a multiple of its size".to_owned());
    }
    if offset < free_from {
        return bad(format!("it overlaps the piece before it, which ends at {free_from}"));
    }
    if offset.checked_add(padded).is_none_or(|end| end > proof.sector_size()) {
        return bad(format!("it goes beyond the sector's {} bytes", proof.sector_size()));
    }
    Ok(())
}

/// Pads with the largest zero pieces that alignment allows.
fn fill_with_zeros(tiles: &mut Vec<PieceInfo>, at: &mut u64, until: u64) -> Result<(), CommitmentError> {
    while *at < until {
        let aligned = if *at == 0 { u64::MAX } else { 1 << at.trailing_zeros() };
        let room = until - *at;
        let size = aligned.min(1 << room.ilog2());
        tiles.push(piece_info(zero_commitment(size), size)?);
        *at += size;
    }
    Ok(())
}

fn piece_info(commitment: Commitment, padded: u64) -> Result<PieceInfo, CommitmentError> {
    PieceInfo::new(commitment.0, UnpaddedBytesAmount(unpadded(padded)))
        .map_err(|_| CommitmentError::BadPieces("a piece commitment is all zeros".to_owned()))
}

/// The commitment of zeros.
fn zero_commitment(padded: u64) -> Commitment {
    let levels = (padded / 32).max(1).ilog2();
    streams::proof::Bytes32((0..levels).fold([0; 32], |node, _| hash_nodes(&node, &node)))
}

/// The parent of two nodes: SHA-256 without its top two bits.
pub(crate) fn hash_nodes(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    use sha2::Digest as _;
    let mut node: [u8; 32] = sha2::Sha256::new().chain_update(left).chain_update(right).finalize().into();
    if let Some(last) = node.last_mut() {
        *last &= 0x3f;
    }
    node
}

/// A tree of which only the right edge is kept.
#[derive(Default)]
struct CommitmentTree {
    /// The node that waits for its sibling, for each level.
    waiting: Vec<Option<[u8; 32]>>,
}

impl CommitmentTree {
    fn push(&mut self, leaf: [u8; 32]) {
        let mut node = leaf;
        for slot in &mut self.waiting {
            match slot.take() {
                Some(left) => node = hash_nodes(&left, &node),
                None => {
                    *slot = Some(node);
                    return;
                }
            }
        }
        self.waiting.push(Some(node));
    }

    /// The root, if the number of leaves was a power of two.
    fn root(self) -> Option<Commitment> {
        let mut nodes = self.waiting.into_iter().rev();
        let root = nodes.next()??;
        nodes.all(|n| n.is_none()).then_some(streams::proof::Bytes32(root))
    }
}

#[cfg(test)]
mod tests {
    use filecoin_proofs_api::seal::generate_piece_commitment;

    use super::*;

    const PROOF: SealProof = SealProof::Drg2KiBV1_1;

    fn library_commitment(data: &[u8], padded: u64) -> Commitment {
        let amount = UnpaddedBytesAmount(unpadded(padded));
        streams::proof::Bytes32(generate_piece_commitment(registered_seal(PROOF), data, amount).unwrap().commitment)
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0_u8..=250).cycle().take(count).collect()
    }

    #[test]
    fn the_library_finds_the_same_piece_commitment() {
        for length in [127, 508, 1016, 2032] {
            let data = bytes(length);
            let (commitment, padded) = piece_commitment(&*data, u64::try_from(length).unwrap()).unwrap();
            assert_eq!(commitment, library_commitment(&data, padded), "{length}");
        }
    }

    #[test]
    fn a_short_payload_is_padded_with_zeros() {
        let mut padded_by_hand = bytes(300);
        let (commitment, padded) = piece_commitment(&*padded_by_hand, 300).unwrap();
        assert_eq!(padded, 512);
        padded_by_hand.resize(508, 0);
        assert_eq!(commitment, library_commitment(&padded_by_hand, 512));
    }

    #[test]
    fn a_payload_shorter_than_stated_is_an_error() {
        assert!(matches!(piece_commitment(&[1_u8; 10][..], 11), Err(CommitmentError::Read(_))));
    }

    #[test]
    fn zeros_have_the_commitment_of_zeros() {
        assert_eq!(zero_commitment(512), library_commitment(&[0; 508], 512));
        let empty = comm_d(PROOF, &[]).unwrap();
        assert_eq!(empty, zero_commitment(2048));
        assert_eq!(empty, streams::proof::Bytes32(compute_comm_d(registered_seal(PROOF), &[]).unwrap()));
    }

    #[test]
    fn gaps_between_pieces_are_zeros() {
        let data = bytes(508);
        let piece = |offset_padded| PieceCommitment {
            commitment: library_commitment(&data, 512),
            padded_bytes: 512,
            offset_padded,
        };
        let mut whole = vec![0; 2032];
        whole.splice(508..1016, data.iter().copied());
        assert_eq!(comm_d(PROOF, &[piece(512)]).unwrap(), library_commitment(&whole, 2048));
        whole.splice(1524..2032, data.iter().copied());
        assert_eq!(comm_d(PROOF, &[piece(512), piece(1536)]).unwrap(), library_commitment(&whole, 2048));
    }

    #[test]
    fn pieces_that_cannot_stand_there_are_refused() {
        let piece = |padded_bytes, offset_padded| PieceCommitment {
            commitment: zero_commitment(128),
            padded_bytes,
            offset_padded,
        };
        for (pieces, why) in [
            (vec![piece(384, 0)], "power of two"),
            (vec![piece(64, 0)], "power of two"),
            (vec![piece(512, 256)], "multiple"),
            (vec![piece(512, 0), piece(128, 256)], "overlaps"),
            (vec![piece(4096, 0)], "beyond"),
            (vec![piece(128, u64::MAX - 127)], "beyond"),
        ] {
            let refusal = comm_d(PROOF, &pieces).unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
    }

    #[test]
    fn piece_sizes() {
        let sizes: Vec<u64> = [0, 1, 127, 128, 2032, 2033].into_iter().map(|n| piece_size(n).unwrap()).collect();
        assert_eq!(sizes, [128, 128, 128, 256, 2048, 4096]);
        assert!(piece_size(u64::MAX).is_err());
    }
}
