//! The pacemaker as a table of callbacks.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::callback::{Owner, Userdata};
use super::entry::Failure;
use super::handle::Handle;
use super::table::{self, Growing};
use super::validator_set::Members;
use super::*;
use crate::pacemaker::{DefaultPacemaker, Pacemaker};
use crate::types::{Epoch, ValidatorAddress, ValidatorSet, ViewNumber};

/// How long a view lasts, and who leads it, in place of the library's own pacemaker. Both callbacks
/// are pure: the same answer to the same question, whenever it is asked. They are asked often, from
/// one thread of each replica, and several replicas may have one table: they must not block.
///
/// The validators they are given are borrowed, valid during the call; of their epoch the callbacks
/// are not told: hotstuff_validator_set_epoch() gives 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_pacemaker_callbacks {
    /// Set by hotstuff_pacemaker_callbacks_init().
    pub struct_size: usize,
    /// Given to each callback; the library does not look at it.
    pub userdata: *mut c_void,
    /// Frees userdata: called once, when the config and all replicas opened with it are freed, on
    /// any thread. May be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
    /// How long to wait in view `cur_view` before it is given up, in milliseconds: what is not
    /// within 1 to 86400000 (a day) counts as the nearer of these. All views are of one epoch;
    /// 0 stands for none yet. The waits must grow while nothing is certified or committed, until
    /// they exceed four message delays. May differ between replicas. NULL: the library's own, with
    /// hotstuff_config_set_view_timeout_ms().
    pub wait_timeout: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            validators: *const hotstuff_validator_set,
            highest_qc_view: u64,
            highest_commit_view: u64,
            cur_view: u64,
        ) -> u64,
    >,
    /// Who leads view `cur_view`: write the validator's index to `leader_index`, as for
    /// hotstuff_validator_set_at(), and return ::HOTSTUFF_OK. `validators` are those who may lead:
    /// by the option "chain.leader_rule", those who have signed lately, or all. Each must lead
    /// again and again, and the answers must be those of all other replicas: else the chain stops.
    /// Any other result, and an index that no validator has, halt the replica, before it says
    /// anything that depends on it. NULL: the library's own.
    pub view_leader: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            validators: *const hotstuff_validator_set,
            cur_view: u64,
            leader_index: *mut usize,
        ) -> i32,
    >,
}

// SAFETY: repr(C), struct_size first, and zero is "no callback".
unsafe impl Growing for hotstuff_pacemaker_callbacks {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_pacemaker_callbacks>();
    const NAME: &'static str = "hotstuff_pacemaker_callbacks";
}

/// Zeroes a table and notes its size. Call it before you fill the table. [any]
///
/// @param table        the table
/// @param struct_size  `sizeof *table`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_pacemaker_callbacks_init(
    table: *mut hotstuff_pacemaker_callbacks,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(table, struct_size) }
}

/// A table that a config and its replicas share.
pub(super) struct PacemakerTable {
    table: hotstuff_pacemaker_callbacks,
    /// Destroyed with the last that holds the table.
    _userdata: Userdata,
}

// SAFETY: the table's contract: callbacks may come from any thread.
unsafe impl Send for PacemakerTable {}
// SAFETY: the table's contract: from several at once.
unsafe impl Sync for PacemakerTable {}

impl PacemakerTable {
    /// # Safety
    /// NULL, or initialised, with callbacks that keep the header's rules.
    pub(super) unsafe fn new(
        table: *const hotstuff_pacemaker_callbacks,
    ) -> Result<Arc<PacemakerTable>, Failure> {
        // SAFETY: the caller's contract.
        let table: hotstuff_pacemaker_callbacks = unsafe { table::read(table) }?;
        Ok(Arc::new(PacemakerTable {
            table,
            _userdata: Userdata::new(table.userdata, table.destroy, Owner::new()),
        }))
    }
}

/// The pacemaker of one replica.
pub(super) struct CPacemaker {
    shared: Arc<PacemakerTable>,
    owner: Owner,
    /// For callbacks that are NULL.
    own: DefaultPacemaker,
    failure: OnceLock<String>,
}

const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;

impl CPacemaker {
    pub(super) fn new(
        shared: Arc<PacemakerTable>,
        owner: Owner,
        own: DefaultPacemaker,
    ) -> CPacemaker {
        CPacemaker {
            shared,
            owner,
            own,
            failure: OnceLock::new(),
        }
    }

    fn lend(set: &ValidatorSet) -> Handle<Mutex<Members>> {
        Handle::new::<hotstuff_validator_set>(Mutex::new(Members::of_epoch(Epoch(0), set)))
    }
}

impl Pacemaker for CPacemaker {
    fn wait_timeout(
        &self,
        validator_set: &ValidatorSet,
        highest_qc_view: ViewNumber,
        highest_commit_view: ViewNumber,
        cur_view: ViewNumber,
    ) -> Duration {
        let (qc, commit) = (highest_qc_view, highest_commit_view);
        let Some(wait_timeout) = self.shared.table.wait_timeout else {
            return self.own.wait_timeout(validator_set, qc, commit, cur_view);
        };
        let set = Self::lend(validator_set);
        let userdata = self.shared.table.userdata;
        // SAFETY: the table's contract; the set is alive until it returns.
        let wait_ms = self
            .owner
            .call(|| unsafe { wait_timeout(userdata, set.as_noun(), qc.0, commit.0, cur_view.0) });
        Duration::from_millis(wait_ms.clamp(1, WAIT_MS_MAX))
    }

    fn view_leader(&self, validator_set: &ValidatorSet, cur_view: ViewNumber) -> ValidatorAddress {
        let Some(view_leader) = self.shared.table.view_leader else {
            return self.own.view_leader(validator_set, cur_view);
        };
        let set = Self::lend(validator_set);
        let userdata = self.shared.table.userdata;
        let mut index = usize::MAX;
        // SAFETY: the table's contract; the set and the index are alive until it returns.
        let status = self
            .owner
            .call(|| unsafe { view_leader(userdata, set.as_noun(), cur_view.0, &raw mut index) });
        let leader = validator_set.members().get(index);
        let leader = leader.filter(|_| status == HOTSTUFF_OK);
        leader.map_or_else(
            || {
                let count = validator_set.len();
                let _ = self.failure.set(format!(
                    "the pacemaker's view_leader has returned {status} with index {index} for \
                     view {cur_view}, of {count} validators; expected 0 (HOTSTUFF_OK) with 0 to \
                     {}: mend it, and start the replica again",
                    count - 1
                ));
                validator_set.members()[0].address // nothing is said by it: see `failure`
            },
            |member| member.address,
        )
    }

    fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}
