//! The checker sees: a good run has no violation, and each thing that must never happen, put into it, is named.

mod good;
mod sample;
mod seeded;
