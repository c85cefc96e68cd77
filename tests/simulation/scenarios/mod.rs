//! The tests: directed ones, each a short story, and random ones by the seed.

mod budget;
mod directed;
mod evidence;
mod random;
