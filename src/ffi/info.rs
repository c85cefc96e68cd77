//! Where a replica is.

use super::table::{self, Growing};
use crate::replica::Info;

/// Role: it follows the chain and serves it, and does not vote.
pub const HOTSTUFF_ROLE_LISTENER: u32 = 0;
/// Role: its key is in the validator set.
pub const HOTSTUFF_ROLE_VALIDATOR: u32 = 1;

/// Where a replica is, at one moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_replica_info {
    /// Set by hotstuff_replica_info_init().
    pub struct_size: usize,
    /// The reign of a validator set; 0 is the genesis's.
    pub epoch: u64,
    /// The view of the epoch that it is in.
    pub view: u64,
    /// The height of the last committed block; 0 while there is none.
    pub committed_height: u64,
    /// The view of the highest quorum certificate that it knows.
    pub highest_qc_view: u64,
    /// The height it is catching up to; 0 when it is not.
    pub sync_target_height: u64,
    /// One of the HOTSTUFF_ROLE_ numbers.
    pub role: u32,
    /// 1 if it has stopped itself, else 0.
    pub halted: u32,
    /// 1 if it has seen signatures of its own key that it does not remember (a second replica runs
    /// with its key, or its disk is an old one), else 0. Until it starts again it only listens.
    pub silenced: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: repr(C), struct_size first, and zero is a value of each member.
unsafe impl Growing for hotstuff_replica_info {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_replica_info>();
    const NAME: &'static str = "hotstuff_replica_info";
}

impl From<Info> for hotstuff_replica_info {
    fn from(info: Info) -> Self {
        hotstuff_replica_info {
            struct_size: std::mem::size_of::<Self>(),
            epoch: info.epoch.0,
            view: info.view.0,
            committed_height: info.committed_height.0,
            highest_qc_view: info.highest_qc_view.0,
            sync_target_height: info.sync_target_height.0,
            role: u32::from(info.is_validator),
            halted: u32::from(info.is_halted),
            silenced: u32::from(info.is_silenced),
            reserved: 0,
        }
    }
}

/// Zeroes a struct and notes its size. Call it before the struct is filled. [any]
///
/// @param info         the struct
/// @param struct_size  `sizeof *info`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_replica_info_init(
    info: *mut hotstuff_replica_info,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(info, struct_size) }
}
