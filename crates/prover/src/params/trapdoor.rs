//! The secret values of a parameter set, drawn from a seed in the order the library draws them.

use bellperson::groth16::VerifyingKey;
use blstrs::{Bls12, G1Projective, G2Projective, Scalar};
use ff::Field as _;
use group::{Curve as _, Group as _};
use rand::{RngCore, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::{Circuit, DEVNET_SEED};

/// Whoever knows these can forge proofs.
pub(super) struct Trapdoor {
    pub(super) g1: G1Projective,
    pub(super) g2: G2Projective,
    pub(super) alpha: Scalar,
    pub(super) beta: Scalar,
    pub(super) gamma: Scalar,
    pub(super) delta: Scalar,
    pub(super) tau: Scalar,
}

impl Trapdoor {
    /// Draws as `bellperson::groth16::generate_random_parameters` does.
    pub(super) fn draw(rng: &mut impl RngCore) -> Self {
        Self {
            g1: G1Projective::random(&mut *rng),
            g2: G2Projective::random(&mut *rng),
            alpha: Scalar::random(&mut *rng),
            beta: Scalar::random(&mut *rng),
            gamma: Scalar::random(&mut *rng),
            delta: Scalar::random(&mut *rng),
            tau: Scalar::random(&mut *rng),
        }
    }

    /// The devnet's for a kind of circuit: the same for every sector size.
    pub(super) fn devnet(circuit: Circuit) -> Self {
        Self::draw(&mut seeded(DEVNET_SEED, circuit))
    }

    /// A verifying key without its inputs.
    pub(super) fn key_without_inputs(&self) -> VerifyingKey<Bls12> {
        let g1 = |s: &Scalar| (self.g1 * s).to_affine();
        let g2 = |s: &Scalar| (self.g2 * s).to_affine();
        VerifyingKey {
            alpha_g1: g1(&self.alpha),
            beta_g1: g1(&self.beta),
            beta_g2: g2(&self.beta),
            gamma_g2: g2(&self.gamma),
            delta_g1: g1(&self.delta),
            delta_g2: g2(&self.delta),
            ic: Vec::new(),
        }
    }
}

/// The generator of one circuit's randomness.
pub(super) fn seeded(seed: u64, circuit: Circuit) -> ChaCha20Rng {
    let mut bytes = [0; 32];
    let (number, label) = bytes.split_at_mut(8);
    number.copy_from_slice(&seed.to_le_bytes());
    if let Some(first) = label.first_mut() {
        *first = circuit.label();
    }
    ChaCha20Rng::from_seed(bytes)
}

/// Bytes of a verifying key that depend on the trapdoor alone: three points of G1 and three of G2, uncompressed.
pub(super) const KEY_HEADER_LEN: usize = 3 * 96 + 3 * 192;

/// How every verifying key begins that was made from the devnet seed, whatever its sector size.
pub(super) fn devnet_key_headers() -> Vec<Vec<u8>> {
    Circuit::ALL
        .into_iter()
        .map(|circuit| {
            let mut bytes = Vec::new();
            // Writing into memory cannot fail; a short header would match nothing.
            if Trapdoor::devnet(circuit).key_without_inputs().write(&mut bytes).is_err() {
                bytes.clear();
            }
            bytes.truncate(KEY_HEADER_LEN);
            bytes
        })
        .collect()
}
