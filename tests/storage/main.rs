//! The block tree on disk: what is written is what is read after a crash, what is damaged is said,
//! and what cannot be opened says why.

mod branches;
mod chain;
mod child;
mod evidence;
mod golden;
mod limits;
mod model;
mod opening;
mod raw;
mod read_only;
mod speed;
mod voting_record;
