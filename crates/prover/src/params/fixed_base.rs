//! Many multiples of one point, by tables: no doublings, where the library's wNAF does 255 a multiple.

use blstrs::Scalar;
use ff::PrimeField as _;
use group::{prime::PrimeCurve, prime::PrimeCurveAffine as _};
use rayon::prelude::*;

/// Bits of a scalar.
const SCALAR_BITS: usize = 255;
/// Points normalised together.
const BATCH: usize = 2048;

/// All multiples of a point by one window of scalar bits, for each window.
pub(super) struct FixedBase<G: PrimeCurve> {
    window_bits: usize,
    windows: Vec<Vec<G::Affine>>,
}

impl<G: PrimeCurve<Scalar = Scalar>> FixedBase<G> {
    /// Tables for `base`. A wider window is faster to use and takes `2^window_bits` points for each of
    /// `255 / window_bits` windows. At most 24 bits.
    pub(super) fn new(base: G, window_bits: usize) -> Self {
        let bases: Vec<G> = std::iter::successors(Some(base), |b| {
            let mut next = *b;
            for _ in 0..window_bits {
                next = next.double();
            }
            Some(next)
        })
        .take(SCALAR_BITS.div_ceil(window_bits))
        .collect();
        let count = (1_usize << window_bits) - 1;
        let windows = bases
            .into_par_iter()
            .map(|b| {
                let multiples: Vec<G> = std::iter::successors(Some(b), |m| Some(*m + b)).take(count).collect();
                let mut affine = vec![G::Affine::identity(); count];
                G::batch_normalize(&multiples, &mut affine);
                affine
            })
            .collect();
        Self { window_bits, windows }
    }

    fn multiply(&self, scalar: &Scalar) -> G {
        // Four bytes beyond the end let every window be read as one little-endian word.
        let mut bytes = [0_u8; 36];
        for (to, from) in bytes.iter_mut().zip(scalar.to_repr()) {
            *to = from;
        }
        let mask = (1_usize << self.window_bits) - 1;
        let mut sum = G::identity();
        for (index, window) in self.windows.iter().enumerate() {
            let bit = index * self.window_bits;
            let word = bytes.iter().skip(bit / 8).take(4).rev().fold(0_usize, |w, byte| (w << 8) | usize::from(*byte));
            let digit = (word >> (bit % 8)) & mask;
            // Digit zero adds nothing, so the table begins at one.
            if let Some(multiple) = digit.checked_sub(1).and_then(|i| window.get(i)) {
                sum += multiple;
            }
        }
        sum
    }

    /// Each scalar's multiple of the base, in order.
    pub(super) fn multiply_all(&self, scalars: &[Scalar]) -> Vec<G::Affine> {
        let mut out = vec![G::Affine::identity(); scalars.len()];
        out.par_chunks_mut(BATCH).zip(scalars.par_chunks(BATCH)).for_each(|(out, scalars)| {
            let points: Vec<G> = scalars.iter().map(|s| self.multiply(s)).collect();
            G::batch_normalize(&points, out);
        });
        out
    }
}
