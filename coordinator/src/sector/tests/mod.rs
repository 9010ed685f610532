mod lost;
mod road;
pub(crate) mod sample;
mod shuffle;
mod table;
