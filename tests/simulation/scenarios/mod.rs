//! The tests: directed ones, each a short story, and random ones by the seed.

mod budget;
mod directed;
mod epochs;
mod evidence;
mod healing;
mod random;
