//! The words (floor 0): numbers, blocks, certificates, validator sets, updates, keys and codec.
pub mod crypto;
mod numbers;

pub use crypto::{KeyPair, Signature};
pub use numbers::*;
