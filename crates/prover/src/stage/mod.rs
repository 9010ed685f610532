//! What each stage does, with the library's traps closed.
//!
//! A stage reads its inputs, writes its outputs, and syncs them before it answers: when it says that it is done, the
//! files are there after a power failure. Every stage can be killed at any moment and run again from the start.

mod add_piece;
mod c1;
mod c2;
mod file;
mod finalize;
mod pc1;
mod pc2;
mod replica;
mod tree_d;
mod unseal;
mod vanilla_post;
mod window_post;

use crate::{
    failure::StageFailure,
    job::{Output, Request, Work},
    progress::Progress,
};

/// Runs one stage in this process.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Output, StageFailure> {
    let proof = request.proof;
    match &request.work {
        Work::AddPiece { pieces, staged } => add_piece::run(proof, pieces, staged, progress),
        Work::TreeD { staged, cache } => tree_d::run(proof, staged.as_deref(), cache, progress),
        Work::Pc1 { sector, ticket, pieces, staged, cache, sealed, pc1_output } => {
            let work = pc1::Pc1 {
                proof,
                sector: *sector,
                ticket: ticket.value,
                pieces,
                staged: staged.as_deref(),
                cache,
                sealed,
                output: pc1_output,
            };
            work.run(progress)
        }
        Work::Pc2 { sector, pc1_output, staged, cache, sealed } => {
            let work = pc2::Pc2 { proof, sector: *sector, input: pc1_output, staged: staged.as_deref(), cache, sealed };
            work.run(progress)
        }
        Work::C1 { sector, ticket, seed, pieces, comm_d, comm_r, cache, sealed, c1_output } => {
            let work = c1::C1 {
                proof,
                sector: *sector,
                ticket: ticket.value,
                seed: seed.value,
                pieces,
                comm_d: *comm_d,
                comm_r: *comm_r,
                cache,
                sealed,
                output: c1_output,
            };
            work.run(progress)
        }
        Work::C2 { sector, comm_d, comm_r, ticket, seed, c1_output } => {
            let statement = crate::SealStatement {
                proof,
                miner: sector.miner,
                number: sector.number,
                comm_r: *comm_r,
                comm_d: *comm_d,
                ticket: *ticket,
                seed: *seed,
            };
            c2::run(&statement, c1_output, progress)
        }
        Work::Finalize { cache } => finalize::run(cache, progress),
        Work::VanillaPost { miner, randomness, order, sectors, output } => {
            vanilla_post::run(proof, *miner, *randomness, order, sectors, output, progress)
        }
        Work::WindowPost { miner, randomness, sectors, vanilla } => {
            let statement =
                crate::WindowPostStatement { proof, miner: *miner, randomness: *randomness, sectors: sectors.clone() };
            window_post::run(&statement, vanilla, progress)
        }
        Work::Unseal { sector, ticket, comm_d, sealed, scratch, output, offset_unpadded, length_unpadded } => {
            let work = unseal::Unseal {
                proof,
                sector: *sector,
                ticket: ticket.value,
                comm_d: *comm_d,
                sealed,
                scratch,
                output,
                offset: *offset_unpadded,
                length: *length_unpadded,
            };
            work.run(progress)
        }
    }
}
