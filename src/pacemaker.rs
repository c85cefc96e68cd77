//! The pacemaker (floor 2): how long a view lasts, and who leads it. Pure functions.

use std::time::Duration;

use crate::types::{ValidatorAddress, ValidatorSet, ViewNumber};

/// How long a view lasts, and who leads it. Both functions are pure, and `view_leader` is the same
/// on all replicas.
pub trait Pacemaker: Send + Sync {
    /// How long to wait in `cur_view` before it is timed out.
    fn wait_timeout(
        &self,
        validator_set: &ValidatorSet,
        highest_qc_view: ViewNumber,
        highest_commit_view: ViewNumber,
        cur_view: ViewNumber,
    ) -> Duration;

    /// The one validator that may propose in `cur_view`, of those who may lead: by the chain's
    /// [`LeaderRule`](crate::types::LeaderRule) those who have signed lately, or all.
    fn view_leader(&self, validator_set: &ValidatorSet, cur_view: ViewNumber) -> ValidatorAddress;

    /// Why its answers are none, once one of them was not: the replica says nothing that depends on
    /// them, and halts. A pacemaker that is a function has no reason to.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// The pacemaker that comes with the library: exponential back-off, round robin.
#[derive(Clone, Copy, Debug)]
pub struct DefaultPacemaker {
    /// The wait without back-off, in milliseconds; at least 1.
    pub base_ms: u32,
    /// The longest wait, in milliseconds. It must exceed four real message delays.
    pub max_ms: u32,
}

impl Default for DefaultPacemaker {
    fn default() -> Self {
        DefaultPacemaker {
            base_ms: 1_000,
            max_ms: 60_000,
        }
    }
}

impl Pacemaker for DefaultPacemaker {
    /// base * 2^k, capped, where k counts the views since a certificate, and the rotations since a
    /// commit: a back-off that fell back at every QC would never see consecutive QCs where the base
    /// is too short for the network.
    fn wait_timeout(
        &self,
        validator_set: &ValidatorSet,
        highest_qc_view: ViewNumber,
        highest_commit_view: ViewNumber,
        cur_view: ViewNumber,
    ) -> Duration {
        let rotation = validator_set.len() as u64 + 3;
        let without_qc = cur_view
            .0
            .saturating_sub(highest_qc_view.0)
            .saturating_sub(1);
        let without_commit = cur_view.0.saturating_sub(highest_commit_view.0) / rotation;
        let doublings = without_qc.max(without_commit).min(32);
        let wait = u64::from(self.base_ms.max(1)) << doublings;
        Duration::from_millis(wait.min(u64::from(self.max_ms.max(self.base_ms))))
    }

    /// Round robin between equals. Otherwise a low-discrepancy draw: the point cur_view * phi
    /// (mod 1) on the line of powers. A smooth interleaving would put a dead validator of just
    /// under a third into every third view, and three QCs in a row would almost never come.
    fn view_leader(&self, validator_set: &ValidatorSet, cur_view: ViewNumber) -> ValidatorAddress {
        if validator_set.is_equal_power() {
            let index = cur_view.0 % validator_set.len() as u64;
            return validator_set.members()[index as usize].address;
        }
        const PHI: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio
        let draw = u128::from(cur_view.0.wrapping_mul(PHI));
        let point = (draw * u128::from(validator_set.total_power())) >> 64;
        validator_set.member_at_power(point as u64).address
    }
}
