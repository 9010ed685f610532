mod lost;
mod reorg;
mod road;
pub(crate) mod sample;
mod shuffle;
mod table;
