//! Whether what an agent claims is true. Nothing unverified goes further, and no setting changes that.

use std::sync::Arc;

use prover::{SealStatement, Verifier, VerifyError, job::PieceCommitment};
use streams::{
    message::{Facts, Failure, FailureClass},
    proof::{Commitment, ProofBytes},
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

/// A claim that cannot be checked now; which is not the same as one that is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotVerify {
    #[error(transparent)]
    Verifier(#[from] VerifyError),
    #[error("compute CommD from the pieces")]
    CommD(#[from] prover::CommitmentError),
    #[error("the thread that verifies ended: {0}")]
    Thread(String),
}

/// Checks facts against the record.
#[derive(Clone)]
pub(crate) struct Judge {
    verifier: Arc<dyn Verifier>,
}

impl Judge {
    pub(crate) fn new(verifier: Arc<dyn Verifier>) -> Self {
        Self { verifier }
    }

    /// `Ok(Err(failure))`: it is not true, and this is who must act.
    pub(crate) async fn facts(
        &self,
        record: &SectorRecord,
        facts: &Facts,
    ) -> Result<Result<(), Failure>, CannotVerify> {
        Ok(match facts {
            Facts::AddPiece { pieces } => check_pieces(record, pieces),
            Facts::TreeD { comm_d } => check_comm_d(record, *comm_d, Stage::AddPiece).await?,
            Facts::Pc2 { comm_d, comm_r } => match check_comm_d(record, *comm_d, Stage::Pc1).await? {
                Ok(()) if comm_r.0 == [0; 32] => Err(redo(Stage::Pc1, "CommR is all zeros")),
                judged => judged,
            },
            Facts::C2 { proof } => self.check_proof(record, proof).await?,
            Facts::Place { .. }
            | Facts::Pc1 {}
            | Facts::Persist { .. }
            | Facts::C1 { .. }
            | Facts::Finalize {}
            | Facts::Unseal { .. } => Ok(()),
        })
    }

    /// The proof must hold for our ticket and our seed. In any other state there is nothing to check it against, and
    /// the record will refuse it.
    async fn check_proof(
        &self,
        record: &SectorRecord,
        proof: &ProofBytes,
    ) -> Result<Result<(), Failure>, CannotVerify> {
        let Some(statement) = statement(record) else { return Ok(Ok(())) };
        let verifier = Arc::clone(&self.verifier);
        let bytes = proof.0.clone();
        // Some milliseconds of pairing, and the first time reading the verifying key.
        let verified = tokio::task::spawn_blocking(move || verifier.seal(&statement, &bytes))
            .await
            .map_err(|e| CannotVerify::Thread(e.to_string()))??;
        Ok(if verified {
            Ok(())
        } else {
            Err(redo(Stage::C1, "the proof does not verify against our ticket and seed"))
        })
    }
}

/// What a PoRep of this sector has to prove, once its seed is known.
pub(crate) fn statement(record: &SectorRecord) -> Option<SealStatement> {
    let state = match &record.state {
        SectorState::Parked { was, .. } => was.of_chain(),
        state => state.of_chain(),
    };
    let (SectorState::SeedReady { sealed, seed, .. }
    | SectorState::C1Done { sealed, seed, .. }
    | SectorState::C2Done { sealed, seed, .. }) = state
    else {
        return None;
    };
    Some(SealStatement {
        proof: record.proof,
        miner: record.id.miner,
        number: record.id.number,
        comm_r: sealed.comm_r,
        comm_d: sealed.comm_d,
        ticket: sealed.ticket,
        seed: *seed,
    })
}

fn check_pieces(record: &SectorRecord, found: &[Commitment]) -> Result<(), Failure> {
    let wanted: Vec<Commitment> = record.pieces.iter().map(|piece| piece.commitment).collect();
    if found == wanted {
        return Ok(());
    }
    let wrong = wanted.iter().zip(found).position(|(w, f)| w != f).unwrap_or_else(|| wanted.len().min(found.len()));
    let name = record.pieces.get(wrong).map_or("(none)", |piece| piece.name.as_str());
    Err(redo(Stage::AddPiece, &format!("piece {wrong} ({name}) has another commitment than at submission")))
}

async fn check_comm_d(
    record: &SectorRecord,
    found: Commitment,
    redo_from: Stage,
) -> Result<Result<(), Failure>, CannotVerify> {
    let proof = record.proof;
    let pieces = commitments(record);
    let wanted = tokio::task::spawn_blocking(move || prover::comm_d(proof, &pieces))
        .await
        .map_err(|e| CannotVerify::Thread(e.to_string()))??;
    if found == wanted {
        return Ok(Ok(()));
    }
    Ok(Err(redo(redo_from, &format!("CommD is {found}, the pieces give {wanted}"))))
}

/// The pieces as CommD is computed from them.
pub(crate) fn commitments(record: &SectorRecord) -> Vec<PieceCommitment> {
    let piece = |p: &streams::sector::Piece| PieceCommitment {
        commitment: p.commitment,
        padded_bytes: p.padded_bytes,
        offset_padded: p.offset_padded,
    };
    record.pieces.iter().map(piece).collect()
}

/// An agent that says what cannot be so.
pub(crate) fn untrue(message: String) -> Failure {
    Failure { class: FailureClass::RetryElsewhere, code: "untrue".to_owned(), message }
}

fn redo(from: Stage, message: &str) -> Failure {
    Failure { class: FailureClass::RedoFrom(from), code: "untrue".to_owned(), message: message.to_owned() }
}
