//! Counters of a replica.

use super::table::{self, Growing};
use crate::replica::Metrics;

/// Counters since the replica was opened. They only rise, but for the view, which begins
/// anew in each epoch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_metrics {
    /// Set by hotstuff_metrics_init().
    pub struct_size: usize,
    /// The epoch it is in: the reign of a validator set.
    pub epoch: u64,
    /// The view of the epoch that it is in.
    pub current_view: u64,
    /// The height of the last committed block.
    pub committed_height: u64,
    /// Blocks proposed.
    pub proposals: u64,
    /// Votes cast.
    pub votes: u64,
    /// Views that have run out.
    pub view_timeouts: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent; a broadcast counts once for each other validator.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent; a broadcast counts once for each other validator.
    pub bytes_out: u64,
    /// Messages received that were refused or dropped.
    pub messages_rejected: u64,
    /// Events that were lost because on_event was slow.
    pub events_dropped: u64,
    /// Transactions on the database: one for each step that writes.
    pub transactions: u64,
    /// Questions that the app did not answer, because it had too many or the state to answer from
    /// was gone.
    pub app_failures: u64,
    /// Validators that were newly caught contradicting themselves: each once for each epoch and
    /// kind.
    pub evidence_found: u64,
}

// SAFETY: repr(C), struct_size first, and zero is a value of each member.
unsafe impl Growing for hotstuff_metrics {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_metrics>();
    const NAME: &'static str = "hotstuff_metrics";
}

impl From<Metrics> for hotstuff_metrics {
    fn from(metrics: Metrics) -> Self {
        hotstuff_metrics {
            struct_size: std::mem::size_of::<Self>(),
            epoch: metrics.epoch,
            current_view: metrics.current_view,
            committed_height: metrics.committed_height,
            proposals: metrics.proposals,
            votes: metrics.votes,
            view_timeouts: metrics.view_timeouts,
            messages_in: metrics.messages_in,
            messages_out: metrics.messages_out,
            bytes_in: metrics.bytes_in,
            bytes_out: metrics.bytes_out,
            messages_rejected: metrics.messages_rejected,
            events_dropped: metrics.events_dropped,
            transactions: metrics.transactions,
            app_failures: metrics.app_failures,
            evidence_found: metrics.evidence_found,
        }
    }
}

/// Zeroes a struct and notes its size. Call it before the struct is filled. [any]
///
/// @param metrics      the struct
/// @param struct_size  `sizeof *metrics`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_metrics_init(metrics: *mut hotstuff_metrics, struct_size: usize) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(metrics, struct_size) }
}
