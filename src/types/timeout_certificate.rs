//! A quorum's word that a view has run out, with the highest certificate that any of it had seen.

use serde::{Deserialize, Serialize};

use super::limits::VALIDATORS_MAX;
use super::{codec, Epoch, QuorumCertificate, Rank, Signature, ViewNumber};

/// What a time-out says: "I have left `view_num`, and `qc_view` is the view of my highest QC".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeoutStatement {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    pub qc_view: ViewNumber,
}

/// A quorum of time-outs of one view (Jolteon, FC 2022, section 3). It carries the highest QC
/// itself: whoever holds a TC can propose on it, and no liar can inflate `qc_view`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutCertificate {
    pub epoch: Epoch,
    pub view_num: ViewNumber,
    pub highest_qc: QuorumCertificate,
    /// One slot per validator: the view it gave for its highest QC, and its signature.
    #[serde(deserialize_with = "codec::bounded::<_, _, VALIDATORS_MAX>")]
    pub signatures: Vec<Option<(ViewNumber, Signature)>>,
}

impl TimeoutCertificate {
    /// The view that has run out.
    pub const fn rank(&self) -> Rank {
        Rank {
            epoch: self.epoch,
            view: self.view_num,
        }
    }

    /// What the validator that gave `qc_view` has signed.
    pub const fn statement(&self, qc_view: ViewNumber) -> TimeoutStatement {
        TimeoutStatement {
            epoch: self.epoch,
            view_num: self.view_num,
            qc_view,
        }
    }
}
