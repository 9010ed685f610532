//! The circuits of a sector size: how each is built, and the file names the library looks for.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use bellperson::Circuit as Bellperson;
use blstrs::Scalar;
use filecoin_proofs::{
    PoStType, SectorSize,
    constants::{
        DefaultPieceHasher, SectorShape2KiB, SectorShape8MiB, SectorShape512MiB, WINDOW_POST_CHALLENGE_COUNT,
        WINDOW_POST_SECTOR_COUNT, WINNING_POST_CHALLENGE_COUNT, WINNING_POST_SECTOR_COUNT,
    },
    parameters::{public_params, window_post_public_params, winning_post_public_params},
    types::PoStConfig,
};
use storage_proofs_core::{
    api_version::ApiVersion,
    compound_proof::CompoundProof,
    merkle::MerkleTreeTrait,
    parameter_cache::{CacheableParameters, parameter_id, verifying_key_id},
};
use storage_proofs_porep::stacked::{StackedCircuit, StackedCompound, StackedDrg};
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};
use storage_proofs_update::{
    EmptySectorUpdate, PublicParams as UpdateParams, circuit::EmptySectorUpdateCircuit,
    compound::EmptySectorUpdateCompound, constants::TreeRHasher,
};
use streams::proof::SealProof;

use super::{
    ParamsError,
    generator::{self, Made, Step},
    trapdoor::Trapdoor,
};
use crate::library::{registered_seal, registered_window_post, registered_winning_post};

/// Calls a function with the tree type of a sector size. Only for sizes whose parameters can be made on one machine.
macro_rules! for_tree {
    ($proof:expr, $function:ident::<_ $(, $visitor:ty)?>($($argument:expr),*)) => {
        match $proof {
            SealProof::Drg2KiBV1_1 => $function::<SectorShape2KiB $(, $visitor)?>($($argument),*),
            SealProof::Drg8MiBV1_1 => $function::<SectorShape8MiB $(, $visitor)?>($($argument),*),
            SealProof::Drg512MiBV1_1 => $function::<SectorShape512MiB $(, $visitor)?>($($argument),*),
            SealProof::Drg32GiBV1_1 | SealProof::Drg64GiBV1_1 => {
                Err(anyhow::anyhow!("its parameters take a terabyte of memory: only published ones exist"))
            }
        }
    };
}

/// A kind of circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// Proof of replication: C2.
    Porep,
    /// Winning PoSt, at block production.
    WinningPost,
    /// Window PoSt, at every deadline.
    WindowPost,
    /// Empty sector update (snap deals).
    Update,
}

/// The files of one circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) params: PathBuf,
    pub(super) verifying_key: PathBuf,
}

impl Circuit {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Porep, Self::WinningPost, Self::WindowPost, Self::Update];

    /// What sealing and proving need; winning PoSt is for block producers.
    pub const SEALING: [Self; 2] = [Self::Porep, Self::WindowPost];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Porep => "porep",
            Self::WinningPost => "winning",
            Self::WindowPost => "window",
            Self::Update => "update",
        }
    }

    /// What tells its randomness from that of the other circuits of a seed.
    pub(super) const fn label(self) -> u8 {
        match self {
            Self::Porep => 1,
            Self::WinningPost => 2,
            Self::WindowPost => 3,
            Self::Update => 4,
        }
    }

    pub(super) fn files(self, proof: SealProof, folder: &Path) -> Result<Files, ParamsError> {
        let id = self.id(proof).map_err(|error| self.unbuildable(proof, &error))?;
        Ok(Files { params: folder.join(parameter_id(&id)), verifying_key: folder.join(verifying_key_id(&id)) })
    }

    /// What names this circuit in the library's file names.
    fn id(self, proof: SealProof) -> anyhow::Result<String> {
        match self {
            Self::Porep => registered_seal(proof).circuit_identifier(),
            Self::WinningPost => registered_winning_post(proof).circuit_identifier(),
            Self::WindowPost => registered_window_post(proof).circuit_identifier(),
            // The library's own answer for an update is the PoRep's name.
            Self::Update => for_tree!(proof, update_id::<_>(proof)),
        }
    }

    fn unbuildable(self, proof: SealProof, error: &anyhow::Error) -> ParamsError {
        ParamsError::Circuit { circuit: self, proof, reason: format!("{error:#}") }
    }

    pub(super) fn generate(
        self,
        proof: SealProof,
        with_params: bool,
        on_step: &mut dyn FnMut(Step),
    ) -> Result<Made, ParamsError> {
        self.visit(proof, Generate { trapdoor: Trapdoor::devnet(self), with_params, on_step })
    }

    /// Builds the circuit for a sector size and hands it over. Each has a type of its own.
    pub(super) fn visit<V: Visitor>(self, proof: SealProof, visitor: V) -> Result<V::Output, ParamsError> {
        let visited = match self {
            Self::Porep => for_tree!(proof, porep::<_, V>(proof, visitor)),
            Self::WinningPost => for_tree!(proof, post::<_, V>(post_config(proof, PoStType::Winning), visitor)),
            Self::WindowPost => for_tree!(proof, post::<_, V>(post_config(proof, PoStType::Window), visitor)),
            Self::Update => for_tree!(proof, update::<_, V>(proof, visitor)),
        };
        visited.map_err(|error| self.unbuildable(proof, &error))
    }
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Circuit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| format!("unknown circuit \"{text}\": the circuits are porep, winning, window, update"))
    }
}

/// What to do with a circuit of whatever type.
pub(super) trait Visitor {
    type Output;
    /// The circuit has no witness.
    fn circuit<C: Bellperson<Scalar>>(self, circuit: C) -> anyhow::Result<Self::Output>;
}

struct Generate<'a> {
    trapdoor: Trapdoor,
    with_params: bool,
    on_step: &'a mut dyn FnMut(Step),
}

impl Visitor for Generate<'_> {
    type Output = Made;
    fn circuit<C: Bellperson<Scalar>>(self, circuit: C) -> anyhow::Result<Made> {
        generator::generate(circuit, &self.trapdoor, self.with_params, self.on_step)
    }
}

fn porep<Tree: 'static + MerkleTreeTrait, V: Visitor>(proof: SealProof, visitor: V) -> anyhow::Result<V::Output> {
    type Compound<T> = StackedCompound<T, DefaultPieceHasher>;
    type Blank<T> = StackedCircuit<T, DefaultPieceHasher>;
    let public = public_params::<Tree>(&registered_seal(proof).as_v1_config())?;
    let circuit =
        <Compound<Tree> as CompoundProof<StackedDrg<'static, Tree, DefaultPieceHasher>, Blank<Tree>>>::blank_circuit(
            &public,
        );
    visitor.circuit(circuit)
}

fn post_config(proof: SealProof, typ: PoStType) -> anyhow::Result<PoStConfig> {
    let size = proof.sector_size();
    let (challenge_count, sector_count) = match typ {
        PoStType::Winning => (WINNING_POST_CHALLENGE_COUNT, WINNING_POST_SECTOR_COUNT),
        PoStType::Window => {
            let counts = WINDOW_POST_SECTOR_COUNT.read().map_err(|_| anyhow::anyhow!("sector counts are poisoned"))?;
            (WINDOW_POST_CHALLENGE_COUNT, counts.get(&size).copied().context("unknown sector size")?)
        }
    };
    Ok(PoStConfig {
        sector_size: SectorSize(size),
        challenge_count,
        sector_count,
        typ,
        priority: true,
        api_version: ApiVersion::V1_2_0,
    })
}

fn post<Tree: 'static + MerkleTreeTrait, V: Visitor>(
    config: anyhow::Result<PoStConfig>,
    visitor: V,
) -> anyhow::Result<V::Output> {
    let config = config?;
    let public = match config.typ {
        PoStType::Winning => winning_post_public_params::<Tree>(&config)?,
        PoStType::Window => window_post_public_params::<Tree>(&config)?,
    };
    let circuit: FallbackPoStCircuit<Tree> = <FallbackPoStCompound<Tree> as CompoundProof<
        FallbackPoSt<'_, Tree>,
        FallbackPoStCircuit<Tree>,
    >>::blank_circuit(&public);
    visitor.circuit(circuit)
}

fn update<Tree: 'static + MerkleTreeTrait<Hasher = TreeRHasher>, V: Visitor>(
    proof: SealProof,
    visitor: V,
) -> anyhow::Result<V::Output> {
    let public = UpdateParams::from_sector_size(proof.sector_size());
    let circuit = <EmptySectorUpdateCompound<Tree> as CompoundProof<
        EmptySectorUpdate<Tree>,
        EmptySectorUpdateCircuit<Tree>,
    >>::blank_circuit(&public);
    visitor.circuit(circuit)
}

fn update_id<Tree: 'static + MerkleTreeTrait<Hasher = TreeRHasher>>(proof: SealProof) -> anyhow::Result<String> {
    type Compound<T> = EmptySectorUpdateCompound<T>;
    let public = UpdateParams::from_sector_size(proof.sector_size());
    Ok(<Compound<Tree> as CacheableParameters<EmptySectorUpdateCircuit<Tree>, UpdateParams>>::cache_identifier(&public))
}
