//! Groth16 parameters from a trapdoor: the bytes that bellperson's own generator makes, in a tenth of its time.
//!
//! bellperson evaluates the QAP through an inverse FFT and multiplies points by wNAF. Since the trapdoor is known,
//! the Lagrange coefficients follow from a closed form, and every multiple is of one of two fixed points.
//! `the_library_makes_the_same_bytes` compares the two.

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use bellperson::{
    Circuit, ConstraintSystem as _, Index, Variable,
    groth16::{Parameters, VerifyingKey},
};
use blstrs::{Bls12, Scalar};
use ff::{Field as _, PrimeField as _};
use rayon::prelude::*;

use super::{
    assembly::{Assembly, Column, Matrices},
    fixed_base::FixedBase,
    trapdoor::Trapdoor,
};

/// Scalars computed in one run by one thread.
const CHUNK: usize = 1 << 14;
/// Window widths: 17 tables of 65,535 points of G1, 17 of 32,767 of G2. A small circuit takes smaller ones.
const WINDOW_BITS_G1: usize = 16;
const WINDOW_BITS_G2: usize = 15;
const WINDOW_BITS_SMALL: usize = 10;
/// Below this many rows a table of full width costs more than it saves.
const SMALL_ROWS: usize = 1 << 16;

/// What the generator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Building the circuit.
    Synthesis,
    /// Evaluating its polynomials at the secret point.
    Evaluation,
    /// Building tables of multiples.
    Tables,
    /// The H query.
    H,
    /// The L query.
    L,
    /// The A query.
    A,
    /// The B queries in both groups.
    B,
    /// Writing the file.
    Writing,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synthesis => "synthesis",
            Self::Evaluation => "evaluation",
            Self::Tables => "tables",
            Self::H => "h query",
            Self::L => "l query",
            Self::A => "a query",
            Self::B => "b queries",
            Self::Writing => "writing",
        })
    }
}

/// What came of it.
pub(super) struct Made {
    pub(super) verifying_key: VerifyingKey<Bls12>,
    pub(super) params: Option<Parameters<Bls12>>,
}

/// One variable's polynomials at the secret point.
struct AtTau {
    a: Scalar,
    b: Scalar,
    /// `(beta a + alpha b + c) / gamma` for an input, `… / delta` for an auxiliary.
    combined: Scalar,
}

/// Makes the verifying key of `circuit` and, if wanted, its parameters.
pub(super) fn generate<C: Circuit<Scalar>>(
    circuit: C,
    trapdoor: &Trapdoor,
    with_params: bool,
    on_step: &mut dyn FnMut(Step),
) -> anyhow::Result<Made> {
    on_step(Step::Synthesis);
    let assembly = synthesize(circuit)?;
    on_step(Step::Evaluation);
    let domain = assembly.rows.next_power_of_two();
    let lagrange = lagrange_at(trapdoor.tau, assembly.rows, domain)?;
    let gamma_inverse = invert(trapdoor.gamma)?;
    let delta_inverse = invert(trapdoor.delta)?;
    let inputs = evaluate(&assembly.inputs, &lagrange, trapdoor, gamma_inverse);
    let auxiliaries =
        if with_params { evaluate(&assembly.auxiliaries, &lagrange, trapdoor, delta_inverse) } else { Vec::new() };
    drop((assembly, lagrange));

    let small = domain <= SMALL_ROWS;
    on_step(Step::Tables);
    let bits = |wide| if small || !with_params { WINDOW_BITS_SMALL } else { wide };
    let g1 = FixedBase::new(trapdoor.g1, bits(WINDOW_BITS_G1));
    let combined = |values: &[AtTau]| values.iter().map(|v| v.combined).collect::<Vec<_>>();
    let mut verifying_key = trapdoor.key_without_inputs();
    verifying_key.ic = g1.multiply_all(&combined(&inputs));
    if !with_params {
        return Ok(Made { verifying_key, params: None });
    }
    let g2 = FixedBase::new(trapdoor.g2, bits(WINDOW_BITS_G2));

    on_step(Step::H);
    let h = g1.multiply_all(&h_scalars(trapdoor.tau, domain, delta_inverse)?);
    on_step(Step::L);
    let l = combined(&auxiliaries);
    anyhow::ensure!(!l.iter().any(|s| bool::from(s.is_zero())), "a variable of the circuit is not constrained");
    let l = g1.multiply_all(&l);
    // Points at infinity are left out of the A and B queries.
    let dense = |of: fn(&AtTau) -> Scalar| -> Vec<Scalar> {
        inputs.iter().chain(&auxiliaries).map(of).filter(|s| !bool::from(s.is_zero())).collect()
    };
    on_step(Step::A);
    let a = g1.multiply_all(&dense(|v| v.a));
    on_step(Step::B);
    let b = dense(|v| v.b);
    let b_g1 = g1.multiply_all(&b);
    let b_g2 = g2.multiply_all(&b);
    on_step(Step::Writing);
    let params = Parameters {
        vk: verifying_key.clone(),
        h: Arc::new(h),
        l: Arc::new(l),
        a: Arc::new(a),
        b_g1: Arc::new(b_g1),
        b_g2: Arc::new(b_g2),
    };
    Ok(Made { verifying_key, params: Some(params) })
}

fn synthesize<C: Circuit<Scalar>>(circuit: C) -> anyhow::Result<Assembly> {
    let mut assembly = Assembly::new();
    assembly.alloc_input(|| "", || Ok(Scalar::ONE))?;
    circuit.synthesize(&mut assembly)?;
    // x * 0 = 0 for every input, so that each stands in the key with full density.
    for i in 0..assembly.input_count() {
        assembly.enforce(|| "", |lc| lc + Variable::new_unchecked(Index::Input(i)), |lc| lc, |lc| lc);
    }
    Ok(assembly)
}

fn invert(scalar: Scalar) -> anyhow::Result<Scalar> {
    Option::from(scalar.invert()).context("the secret point is zero")
}

fn power(base: Scalar, exponent: usize) -> anyhow::Result<Scalar> {
    Ok(base.pow_vartime([u64::try_from(exponent)?]))
}

/// `tau^n - 1`, the vanishing polynomial of the domain at tau.
fn vanishing_at(tau: Scalar, domain: usize) -> anyhow::Result<Scalar> {
    Ok(power(tau, domain)? - Scalar::ONE)
}

/// The first `rows` Lagrange polynomials of the domain at tau: `(tau^n - 1) / n * w^i / (tau - w^i)`.
fn lagrange_at(tau: Scalar, rows: usize, domain: usize) -> anyhow::Result<Vec<Scalar>> {
    let mut omega = Scalar::ROOT_OF_UNITY;
    for _ in domain.trailing_zeros()..Scalar::S {
        omega = omega.square();
    }
    let scale = vanishing_at(tau, domain)? * invert(Scalar::from(u64::try_from(domain)?))?;
    let mut out = vec![Scalar::ZERO; rows];
    out.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, out)| -> anyhow::Result<()> {
        let mut numerators = Vec::with_capacity(out.len());
        let mut root = power(omega, chunk * CHUNK)?;
        for slot in out.iter_mut() {
            numerators.push(root);
            *slot = tau - root;
            root *= omega;
        }
        invert_all(out)?;
        for (slot, numerator) in out.iter_mut().zip(numerators) {
            *slot *= scale * numerator;
        }
        Ok(())
    })?;
    Ok(out)
}

/// Replaces each by its inverse, with one inversion for all.
fn invert_all(values: &mut [Scalar]) -> anyhow::Result<()> {
    let mut product = Scalar::ONE;
    let mut prefixes = Vec::with_capacity(values.len());
    for value in &*values {
        prefixes.push(product);
        product *= value;
    }
    let mut inverse = invert(product)?;
    for (value, prefix) in values.iter_mut().zip(prefixes).rev() {
        let inverted = inverse * prefix;
        inverse *= *value;
        *value = inverted;
    }
    Ok(())
}

fn evaluate(matrices: &Matrices, lagrange: &[Scalar], trapdoor: &Trapdoor, inverse: Scalar) -> Vec<AtTau> {
    let at_tau = |column: &Column| {
        column.iter().fold(Scalar::ZERO, |sum, (coefficient, row)| {
            lagrange.get(*row).map_or(sum, |value| sum + *value * coefficient)
        })
    };
    let [a, b, c] = matrices;
    a.par_iter()
        .zip(b)
        .zip(c)
        .map(|((a, b), c)| {
            let (a, b, c) = (at_tau(a), at_tau(b), at_tau(c));
            AtTau { a, b, combined: (a * trapdoor.beta + b * trapdoor.alpha + c) * inverse }
        })
        .collect()
}

/// `tau^i (tau^n - 1) / delta` for all but the last i.
fn h_scalars(tau: Scalar, domain: usize, delta_inverse: Scalar) -> anyhow::Result<Vec<Scalar>> {
    let coefficient = vanishing_at(tau, domain)? * delta_inverse;
    let mut out = vec![Scalar::ZERO; domain.saturating_sub(1)];
    out.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, out)| -> anyhow::Result<()> {
        let mut current = power(tau, chunk * CHUNK)? * coefficient;
        for slot in out {
            *slot = current;
            current *= tau;
        }
        Ok(())
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use bellperson::{ConstraintSystem, SynthesisError, groth16::generate_random_parameters};
    use streams::proof::SealProof;

    use super::*;
    use crate::params::{
        circuit::{Circuit as Kind, Visitor},
        trapdoor::seeded,
    };

    /// x^3 + x + 5 = out, with a variable that stands only in A and one that stands only in B.
    struct Cubic;

    impl Circuit<Scalar> for Cubic {
        fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
            let missing = || Err(SynthesisError::AssignmentMissing);
            let out = cs.alloc_input(|| "out", missing)?;
            let x = cs.alloc(|| "x", missing)?;
            let square = cs.alloc(|| "square", missing)?;
            let cube = cs.alloc(|| "cube", missing)?;
            cs.enforce(|| "square", |lc| lc + x, |lc| lc + x, |lc| lc + square);
            cs.enforce(|| "cube", |lc| lc + square, |lc| lc + x, |lc| lc + cube);
            cs.enforce(|| "out", |lc| lc + cube + x + (Scalar::from(5), CS::one()), |lc| lc + CS::one(), |lc| lc + out);
            Ok(())
        }
    }

    fn bytes(parameters: &Parameters<Bls12>) -> Vec<u8> {
        let mut out = Vec::new();
        parameters.write(&mut out).unwrap();
        out
    }

    #[test]
    fn the_library_makes_the_same_bytes() {
        let theirs = generate_random_parameters::<Bls12, _, _>(Cubic, &mut seeded(7, Kind::Porep)).unwrap();
        let trapdoor = Trapdoor::draw(&mut seeded(7, Kind::Porep));
        let ours = generate(Cubic, &trapdoor, true, &mut |_| ()).unwrap();
        assert_eq!(bytes(&ours.params.unwrap()), bytes(&theirs));

        let key_alone = generate(Cubic, &trapdoor, false, &mut |_| ()).unwrap();
        let (mut ours, mut library) = (Vec::new(), Vec::new());
        key_alone.verifying_key.write(&mut ours).unwrap();
        theirs.vk.write(&mut library).unwrap();
        assert_eq!(ours, library);
    }

    struct Compare;

    impl Visitor for Compare {
        type Output = ();
        fn circuit<C: Circuit<Scalar>>(self, circuit: C) -> anyhow::Result<()> {
            let mut rng = seeded(super::super::DEVNET_SEED, Kind::WindowPost);
            let theirs = generate_random_parameters::<Bls12, _, _>(circuit, &mut rng)?;
            let made = Kind::WindowPost.generate(SealProof::Drg2KiBV1_1, true, &mut |_| ())?;
            anyhow::ensure!(bytes(&made.params.unwrap()) == bytes(&theirs), "parameters differ");
            Ok(())
        }
    }

    /// The same for a real circuit of 21,889 constraints: 10 CPU-seconds of the library's generator.
    #[test]
    #[ignore = "10 CPU-seconds: run with --ignored after changing the generator"]
    fn the_library_makes_the_same_window_post_parameters() {
        Kind::WindowPost.visit(SealProof::Drg2KiBV1_1, Compare).unwrap();
    }
}
