//! The simulation: whole clusters in one thread, under a virtual clock, from one seed.
//!
//! ```text
//!   seed -> Setup -> World { n x (Algorithm, SimDisk, SimApp, Verifier), Network, Checker }
//!                      one queue, ordered by (time, sequence)
//! ```
//!
//! After every event the invariants are checked ([`invariants`]); then the faults end, and every
//! correct replica must commit more within a computed bound ([`progress`]).
//!
//! `make sim SEED=n` replays one seed and tells its story; `make sim SECONDS=s` runs new seeds.

mod actors;
mod app;
mod case;
mod changes;
mod disk;
mod faults;
mod invariants;
mod keys;
mod network;
mod progress;
mod rng;
mod scenarios;
mod scripts;
mod setup;
mod trace;
mod world;
