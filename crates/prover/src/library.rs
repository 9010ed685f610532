//! Our words in the library's, and its panics as errors.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use filecoin_proofs_api::{ChallengeSeed, ProverId, RegisteredPoStProof, RegisteredSealProof, SectorId};
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, SealProof},
};

/// Bytes of one Groth16 proof.
pub(crate) const PROOF_BYTES: usize = 192;

pub(crate) const fn registered_seal(proof: SealProof) -> RegisteredSealProof {
    match proof {
        SealProof::Drg2KiBV1_1 => RegisteredSealProof::StackedDrg2KiBV1_1,
        SealProof::Drg8MiBV1_1 => RegisteredSealProof::StackedDrg8MiBV1_1,
        SealProof::Drg512MiBV1_1 => RegisteredSealProof::StackedDrg512MiBV1_1,
        SealProof::Drg32GiBV1_1 => RegisteredSealProof::StackedDrg32GiBV1_1,
        SealProof::Drg64GiBV1_1 => RegisteredSealProof::StackedDrg64GiBV1_1,
    }
}

/// What the chain calls V1P1 the library calls `V1_2`: challenges that cannot be ground.
pub(crate) const fn registered_window_post(proof: SealProof) -> RegisteredPoStProof {
    match proof {
        SealProof::Drg2KiBV1_1 => RegisteredPoStProof::StackedDrgWindow2KiBV1_2,
        SealProof::Drg8MiBV1_1 => RegisteredPoStProof::StackedDrgWindow8MiBV1_2,
        SealProof::Drg512MiBV1_1 => RegisteredPoStProof::StackedDrgWindow512MiBV1_2,
        SealProof::Drg32GiBV1_1 => RegisteredPoStProof::StackedDrgWindow32GiBV1_2,
        SealProof::Drg64GiBV1_1 => RegisteredPoStProof::StackedDrgWindow64GiBV1_2,
    }
}

pub(crate) const fn registered_winning_post(proof: SealProof) -> RegisteredPoStProof {
    match proof {
        SealProof::Drg2KiBV1_1 => RegisteredPoStProof::StackedDrgWinning2KiBV1,
        SealProof::Drg8MiBV1_1 => RegisteredPoStProof::StackedDrgWinning8MiBV1,
        SealProof::Drg512MiBV1_1 => RegisteredPoStProof::StackedDrgWinning512MiBV1,
        SealProof::Drg32GiBV1_1 => RegisteredPoStProof::StackedDrgWinning32GiBV1,
        SealProof::Drg64GiBV1_1 => RegisteredPoStProof::StackedDrgWinning64GiBV1,
    }
}

/// The payload of the miner's ID address (LEB128), padded with zeros.
pub(crate) fn prover_id(miner: MinerId) -> ProverId {
    let mut out = ProverId::default();
    let mut rest = miner.0;
    for byte in &mut out {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        *byte = if rest == 0 { low & 0x7f } else { low | 0x80 };
        if rest == 0 {
            break;
        }
    }
    out
}

pub(crate) fn sector_id(number: SectorNumber) -> SectorId {
    SectorId::from(number.0)
}

/// PoSt randomness as a field element: bits 254 and 255 cleared.
pub(crate) fn post_randomness(randomness: Bytes32) -> ChallengeSeed {
    let mut bytes = randomness.0;
    if let Some(last) = bytes.last_mut() {
        *last &= 0x3f;
    }
    bytes
}

/// Calls the library, which panics on some bad inputs. A panic's message also goes to stderr, by the usual hook.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Panicked(message_of(payload.as_ref())))
}

/// The library panicked.
#[derive(Debug, thiserror::Error)]
#[error("the proofs library panicked: {0}")]
pub(crate) struct Panicked(pub(crate) String);

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prover_id_is_the_padded_address_payload() {
        // f01000 is LEB128 e8 07; f0127 still fits one byte, f0128 does not.
        assert_eq!(prover_id(MinerId(1000)).first_chunk(), Some(&[0xe8, 0x07, 0, 0]));
        assert_eq!(prover_id(MinerId(127)).first_chunk(), Some(&[0x7f, 0]));
        assert_eq!(prover_id(MinerId(128)).first_chunk(), Some(&[0x80, 0x01, 0]));
        assert_eq!(prover_id(MinerId(0)), [0; 32]);
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let caught = catch(|| panic!("index {} out of range", 7)).unwrap_err();
        assert_eq!(caught.0, "index 7 out of range");
    }
}
