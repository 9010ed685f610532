//! Randomness as the chain draws it.
//!
//! A draw binds a base (a ticket or a beacon entry, hashed) to a purpose (the tag), an epoch and, for most purposes,
//! to the miner (the entropy). The same function serves the client's checks and the devnet's answers.

use multihash_codetable::{Code, MultihashDigest as _};
use streams::{
    id::{Epoch, MinerId},
    proof::Bytes32,
};

/// What a draw is for (`DomainSeparationTag`).
pub mod tag {
    /// Block tickets.
    pub const TICKET_PRODUCTION: i64 = 1;
    /// Elections.
    pub const ELECTION_PROOF_PRODUCTION: i64 = 2;
    /// Winning PoSt challenges.
    pub const WINNING_POST_CHALLENGE_SEED: i64 = 3;
    /// Window PoSt challenges, from the beacon.
    pub const WINDOWED_POST_CHALLENGE_SEED: i64 = 4;
    /// Seal tickets, from tickets.
    pub const SEAL_RANDOMNESS: i64 = 5;
    /// PoRep seeds, from the beacon.
    pub const INTERACTIVE_SEAL_CHALLENGE_SEED: i64 = 6;
    /// Assignment of deadlines.
    pub const WINDOWED_POST_DEADLINE_ASSIGNMENT: i64 = 7;
    /// The market's cron.
    pub const MARKET_DEAL_CRON_SEED: i64 = 8;
    /// `ChainCommitRand` of a window PoSt, from tickets, without entropy.
    pub const POST_CHAIN_COMMIT: i64 = 9;
}

/// blake2b-256.
#[must_use]
pub fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    let hash = Code::Blake2b256.digest(bytes);
    let mut out = [0; 32];
    for (slot, byte) in out.iter_mut().zip(hash.digest()) {
        *slot = *byte;
    }
    out
}

/// `blake2b256(BE_i64(tag) ‖ base ‖ BE_i64(epoch) ‖ entropy)`; `base` is blake2b-256 of the ticket's VRF proof or of
/// the beacon entry's data. On a young chain the epoch is negative, and is drawn as it is.
#[must_use]
pub fn draw(base: &[u8; 32], tag: i64, epoch: Epoch, entropy: &[u8]) -> Bytes32 {
    let mut input = Vec::with_capacity(48 + entropy.len());
    input.extend_from_slice(&tag.to_be_bytes());
    input.extend_from_slice(base);
    input.extend_from_slice(&epoch.to_be_bytes());
    input.extend_from_slice(entropy);
    Bytes32(blake2b_256(&input))
}

/// The miner's entropy: CBOR of its ID address.
#[must_use]
pub fn entropy(miner: MinerId) -> Vec<u8> {
    crate::address::entropy(miner)
}

/// Makes drawn randomness a field element: PoSt challenges have their top two bits cleared before they are used, as
/// the actor does.
#[must_use]
pub const fn clear_top_bits(randomness: Bytes32) -> Bytes32 {
    let mut bytes = randomness.0;
    let [.., last] = &mut bytes;
    *last &= 0x3f;
    Bytes32(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_draw_counts() {
        let base = blake2b_256(b"ticket");
        let entropy = entropy(MinerId(1000));
        let drawn = draw(&base, tag::SEAL_RANDOMNESS, 77, &entropy);
        assert_eq!(drawn, draw(&base, tag::SEAL_RANDOMNESS, 77, &entropy));
        for other in [
            draw(&base, tag::INTERACTIVE_SEAL_CHALLENGE_SEED, 77, &entropy),
            draw(&base, tag::SEAL_RANDOMNESS, -77, &entropy),
            draw(&base, tag::SEAL_RANDOMNESS, 77, b""),
            draw(&blake2b_256(b"other"), tag::SEAL_RANDOMNESS, 77, &entropy),
        ] {
            assert_ne!(drawn, other);
        }
    }

    #[test]
    fn only_the_top_two_bits_are_cleared() {
        let mut expected = [0xff; 32];
        expected[31] = 0x3f;
        assert_eq!(clear_top_bits(Bytes32([0xff; 32])), Bytes32(expected));
    }
}
