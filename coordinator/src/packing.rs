//! Which pieces go into which sector.

use streams::{proof::SealProof, sector::Piece};

/// A piece that fits no sector of this size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is too large for a sector: {payload_bytes} bytes, the limit is {limit_bytes} ({proof} sectors)")]
pub(crate) struct TooLarge {
    pub(crate) name: String,
    pub(crate) payload_bytes: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) proof: SealProof,
}

/// Refuses a payload that cannot fit.
pub(crate) fn check_fits(name: &str, payload_bytes: u64, proof: SealProof) -> Result<(), TooLarge> {
    let limit_bytes = proof.unpadded_size();
    if payload_bytes <= limit_bytes {
        return Ok(());
    }
    Err(TooLarge { name: name.to_owned(), payload_bytes, limit_bytes, proof })
}

/// Packs pieces into as few sectors as first-fit by falling size finds. Sizes are powers of two, so every offset is a
/// multiple of its piece's size and no gap arises between pieces.
pub(crate) fn pack(mut pieces: Vec<Piece>, proof: SealProof) -> Result<Vec<Vec<Piece>>, TooLarge> {
    for piece in &pieces {
        check_fits(&piece.name, piece.payload_bytes, proof)?;
        if piece.padded_bytes > proof.sector_size() {
            let limit_bytes = proof.unpadded_size();
            return Err(TooLarge { name: piece.name.clone(), payload_bytes: piece.payload_bytes, limit_bytes, proof });
        }
    }
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.padded_bytes));
    let mut sectors: Vec<(u64, Vec<Piece>)> = Vec::new();
    for mut piece in pieces {
        let room = |used: u64| proof.sector_size().saturating_sub(used) >= piece.padded_bytes;
        let found = sectors.iter().position(|(used, _)| room(*used));
        if found.is_none() {
            sectors.push((0, Vec::new()));
        }
        let chosen = match found {
            Some(index) => sectors.get_mut(index),
            None => sectors.last_mut(),
        };
        if let Some((used, held)) = chosen {
            piece.offset_padded = *used;
            *used = used.saturating_add(piece.padded_bytes);
            held.push(piece);
        }
    }
    Ok(sectors.into_iter().map(|(_, held)| held).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use streams::proof::Bytes32;

    use super::*;

    const PROOF: SealProof = SealProof::Drg2KiBV1_1;

    fn piece(name: &str, padded_bytes: u64) -> Piece {
        Piece {
            name: name.to_owned(),
            url: format!("http://127.0.0.1/{name}"),
            payload_bytes: padded_bytes / 128 * 127,
            payload_sha256: Bytes32([1; 32]),
            padded_bytes,
            offset_padded: 99,
            commitment: Bytes32([2; 32]),
        }
    }

    #[test]
    fn large_ones_first_small_ones_fill_up() {
        let pieces = vec![piece("a", 256), piece("b", 1024), piece("c", 2048), piece("d", 1024), piece("e", 512)];
        let packed = pack(pieces, PROOF).unwrap();
        let names: Vec<Vec<(&str, u64)>> =
            packed.iter().map(|s| s.iter().map(|p| (p.name.as_str(), p.offset_padded)).collect()).collect();
        assert_eq!(names, [vec![("c", 0)], vec![("b", 0), ("d", 1024)], vec![("e", 0), ("a", 512)]]);
    }

    #[test]
    fn a_piece_that_is_too_large_is_named_with_size_and_limit() {
        let mut big = piece("film.car", 4096);
        big.payload_bytes = 2033;
        let error = pack(vec![piece("a", 256), big], PROOF).unwrap_err().to_string();
        assert_eq!(error, "film.car is too large for a sector: 2033 bytes, the limit is 2032 (2KiB sectors)");
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_nothing_is_lost(sizes in proptest::collection::vec(7_u32..12, 0..40)) {
            let pieces: Vec<Piece> = sizes.iter().enumerate().map(|(i, s)| piece(&i.to_string(), 1 << s)).collect();
            let packed = pack(pieces, PROOF).unwrap();
            let mut names = Vec::new();
            for sector in &packed {
                prop_assert!(!sector.is_empty());
                let mut end = 0;
                for piece in sector {
                    prop_assert_eq!(piece.offset_padded, end, "no gap");
                    prop_assert_eq!(piece.offset_padded % piece.padded_bytes, 0, "aligned");
                    end += piece.padded_bytes;
                    names.push(piece.name.parse::<usize>().unwrap());
                }
                prop_assert!(end <= PROOF.sector_size());
            }
            names.sort_unstable();
            prop_assert_eq!(names, (0..sizes.len()).collect::<Vec<_>>());
        }
    }
}
