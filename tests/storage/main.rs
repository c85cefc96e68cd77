//! The block tree on disk: what is written is what is read after a crash, what is damaged is said,
//! and what cannot be opened says why.

mod chain;
mod smoke;
mod speed;
