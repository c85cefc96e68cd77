//! A validator set by its powers alone: for tests and measurements of who leads.

use hotstuff::types::{Validator, ValidatorAddress, ValidatorSet};

/// Validators of these powers, whose addresses sort like their places.
pub fn set(powers: &[u64]) -> ValidatorSet {
    let member = |(index, power): (usize, &u64)| {
        let mut address = [0; 32];
        address[..8].copy_from_slice(&(index as u64).to_be_bytes());
        Validator {
            address: ValidatorAddress(address),
            power: *power,
        }
    };
    ValidatorSet::new(powers.iter().enumerate().map(member)).expect("valid powers")
}
