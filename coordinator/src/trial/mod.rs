//! The coordinator whole, against a real nats-server and the embedded chain, with agents that only pretend to seal.
//!
//! A pretended proof is a digest over exactly what a real one is bound to, checked by the coordinator and again by the
//! chain with its own ticket and seed.

mod agent;
mod bucket;
mod forks;
mod lost;
mod node;
mod queue_of_three;
mod rebuild;
mod restore;
mod road;
mod stores;
mod world;
