//! The app as a table of callbacks.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use super::block::NamedBlock;
use super::block_tree::Tree;
use super::callback::{Owner, Userdata};
use super::entry::{enter_value, failure, Failure};
use super::handle::{magic, Handle, Noun};
use super::table::{self, Growing};
use super::updates::Answer;
use super::*;
use crate::app::{
    App, BlockTreeSnapshot, ProposeBlockRequest, ProposeBlockResponse, ValidateBlockRequest,
    ValidateBlockResponse,
};
use crate::types::GenesisHash;

/// From propose_block: there is nothing to propose. The app is asked again after
/// hotstuff_replica_notify(), or when the chain has been idle for max_idle.
pub const HOTSTUFF_PROPOSE_DEFER: i32 = 1;
/// From validate_block: no correct leader proposes this block.
pub const HOTSTUFF_BLOCK_INVALID: i32 = 0;
/// From validate_block: the block is right.
pub const HOTSTUFF_BLOCK_VALID: i32 = 1;

/// "You lead: is there work?" Owned by the library, valid during the callback.
pub struct hotstuff_propose_block_request {
    _private: [u8; 0],
}

impl Noun for hotstuff_propose_block_request {
    const MAGIC: u32 = magic(b"PROP");
    type Value = Propose;
}

/// "Is this block right, and what does it change?" Owned by the library, valid during the callback.
pub struct hotstuff_validate_block_request {
    _private: [u8; 0],
}

impl Noun for hotstuff_validate_block_request {
    const MAGIC: u32 = magic(b"VALI");
    type Value = Validate;
}

pub(super) struct Propose {
    cur_view: u64,
    prev_block: hotstuff_hash,
    budget_ms: u32,
    block_tree: LentTree,
}

pub(super) struct Validate {
    cur_view: u64,
    proposed_block: Handle<NamedBlock>,
    block_tree: LentTree,
    is_sync: bool,
}

/// The block tree of a request, which ends when the request ends.
struct LentTree(Handle<Tree>);

impl LentTree {
    /// # Safety
    /// The result must be dropped before `tree` ends.
    unsafe fn new(tree: &dyn BlockTreeSnapshot) -> Self {
        // SAFETY: `drop` ends the tree, and the caller has promised to drop in time.
        LentTree(Handle::new::<hotstuff_block_tree>(unsafe {
            Tree::lent(tree)
        }))
    }
}

impl Drop for LentTree {
    fn drop(&mut self) {
        self.0.value().end();
    }
}

/// The view in which the block will be proposed; 0 for NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_propose_block_request_cur_view(
    request: *const hotstuff_propose_block_request,
) -> u64 {
    // SAFETY: the header's rules: NULL, or the request of a callback that runs.
    enter_value(0, |call| Ok(unsafe { call.handle(request) }?.cur_view))
}

/// The hash of the block to build on; the genesis hash for the first block. [any]
///
/// @param request  the request
/// @param out      receives the hash; zero if `request` is NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_propose_block_request_prev_block(
    request: *const hotstuff_propose_block_request,
    out: *mut hotstuff_hash,
) {
    let zero = hotstuff_hash {
        bytes: [0; HOTSTUFF_HASH_LEN],
    };
    // SAFETY: the header's rules: NULL, or the request of a callback that runs.
    let hash = enter_value(zero, |call| Ok(unsafe { call.handle(request) }?.prev_block));
    // SAFETY: the header's rules: NULL, or a place for a hash.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = hash;
    }
}

/// How long it is, at least, until this replica gives the view up, in milliseconds, as of the call
/// of propose_block(); 0 for NULL. A hint: a block that comes later is not used, and one that comes
/// just before is late for the others; half of it is a good plan. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_propose_block_request_budget_ms(
    request: *const hotstuff_propose_block_request,
) -> u32 {
    // SAFETY: the header's rules: NULL, or the request of a callback that runs.
    enter_value(0, |call| Ok(unsafe { call.handle(request) }?.budget_ms))
}

/// The chain, with the state as of the block to build on. Borrowed: valid during the callback. NULL
/// for NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_propose_block_request_block_tree(
    request: *const hotstuff_propose_block_request,
) -> *const hotstuff_block_tree {
    enter_value(std::ptr::null(), |call| {
        // SAFETY: the header's rules: NULL, or the request of a callback that runs.
        Ok(unsafe { call.handle(request) }?.block_tree.0.as_noun())
    })
}

/// The view that the replica is in; 0 for NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validate_block_request_cur_view(
    request: *const hotstuff_validate_block_request,
) -> u64 {
    // SAFETY: the header's rules: NULL, or the request of a callback that runs.
    enter_value(0, |call| Ok(unsafe { call.handle(request) }?.cur_view))
}

/// The block in question. Its data is never empty: of the blocks that the library makes alone,
/// which change nothing, the app is not asked. Borrowed: valid during the callback. NULL for
/// NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validate_block_request_proposed_block(
    request: *const hotstuff_validate_block_request,
) -> *const hotstuff_block {
    enter_value(std::ptr::null(), |call| {
        // SAFETY: the header's rules: NULL, or the request of a callback that runs.
        Ok(unsafe { call.handle(request) }?.proposed_block.as_noun())
    })
}

/// The chain, with the state as of the block's parent. Borrowed: valid during the callback. NULL
/// for NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validate_block_request_block_tree(
    request: *const hotstuff_validate_block_request,
) -> *const hotstuff_block_tree {
    enter_value(std::ptr::null(), |call| {
        // SAFETY: the header's rules: NULL, or the request of a callback that runs.
        Ok(unsafe { call.handle(request) }?.block_tree.0.as_noun())
    })
}

/// Whether the replica is catching up: the block has a certificate already. False for NULL. [any]
///
/// @param request  the request
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validate_block_request_is_sync(
    request: *const hotstuff_validate_block_request,
) -> bool {
    // SAFETY: the header's rules: NULL, or the request of a callback that runs.
    enter_value(false, |call| Ok(unsafe { call.handle(request) }?.is_sync))
}

/// The app: what is replicated. It is a deterministic function of a block and the state of its
/// parent: the same answer on every replica, today and after a restart. It keeps what must last in
/// the state updates and nowhere else.
///
/// The callbacks of one replica run on one thread, one at a time. They may take long: that costs
/// the view, not the replica. They may call any function that is not tagged [not-in-callback].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_app_callbacks {
    /// Set by hotstuff_app_callbacks_init().
    pub struct_size: usize,
    /// Given to each callback; the library does not look at it.
    pub userdata: *mut c_void,
    /// Frees userdata: called once, after the last other callback has returned, on any thread. May
    /// be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
    /// Makes a block: fill `updates` by hotstuff_updates_set_data() and the others and return
    /// ::HOTSTUFF_OK, or return ::HOTSTUFF_PROPOSE_DEFER. Anything else is a failure: nothing is
    /// proposed in this view. It is asked while the votes for the block below come in: what it
    /// makes may come to nothing, and is then asked for again, on another block. The updates must
    /// be those that validate_block() gives for this block on the other replicas: here it is not
    /// asked again. Required.
    pub propose_block: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            request: *const hotstuff_propose_block_request,
            updates: *mut hotstuff_updates,
        ) -> i32,
    >,
    /// Judges a block: say in `updates` what it changes and return ::HOTSTUFF_BLOCK_VALID, or
    /// return ::HOTSTUFF_BLOCK_INVALID. Anything else means undecided, as when a disk fails: the
    /// replica does not vote, and nothing is held against the leader. Required.
    pub validate_block: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            request: *const hotstuff_validate_block_request,
            updates: *mut hotstuff_updates,
        ) -> i32,
    >,
}

// SAFETY: repr(C), struct_size first, and zero is "no callback".
unsafe impl Growing for hotstuff_app_callbacks {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_app_callbacks>();
    const NAME: &'static str = "hotstuff_app_callbacks";
}

/// Zeroes a table and notes its size. Call it before you fill the table. [any]
///
/// @param table        the table
/// @param struct_size  `sizeof *table`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_app_callbacks_init(
    table: *mut hotstuff_app_callbacks,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(table, struct_size) }
}

/// The app of a replica. It does not own its userdata: the replica does.
pub(super) struct CApp {
    table: hotstuff_app_callbacks,
    owner: Owner,
    genesis: GenesisHash,
    data_bytes_max: u64,
}

// SAFETY: the table's contract: callbacks may come from any thread, one at a time.
unsafe impl Send for CApp {}

impl CApp {
    /// # Safety
    /// NULL, or initialised, with callbacks that keep the header's rules.
    pub(super) unsafe fn new(
        table: *const hotstuff_app_callbacks,
        owner: Owner,
        genesis: GenesisHash,
        data_bytes_max: u64,
    ) -> Result<CApp, Failure> {
        // SAFETY: the caller's contract.
        let table = unsafe { table::read(table) }?;
        for (name, is_there) in [
            ("propose_block", table.propose_block.is_some()),
            ("validate_block", table.validate_block.is_some()),
        ] {
            if !is_there {
                let text = format!("hotstuff_app_callbacks.{name} is NULL; it is required");
                return Err(failure(HOTSTUFF_E_NULL, text));
            }
        }
        Ok(CApp {
            table,
            owner,
            genesis,
            data_bytes_max,
        })
    }

    /// The table's userdata, which becomes ours once the replica is open.
    pub(super) fn userdata(&self) -> impl FnOnce() -> Userdata {
        let (table, owner) = (self.table, self.owner);
        move || Userdata::new(table.userdata, table.destroy, owner)
    }

    /// Runs a callback with an empty answer: its status, and the answer if no setter refused.
    fn answer(&self, callback: impl FnOnce(*mut hotstuff_updates) -> i32) -> (i32, Option<Answer>) {
        let answer = Answer {
            data_bytes_max: self.data_bytes_max,
            ..Answer::default()
        };
        let mut handle = Handle::new::<hotstuff_updates>(Mutex::new(answer));
        let verdict = self
            .owner
            .call(|| callback(handle.as_noun::<hotstuff_updates>().cast_mut()));
        let answer = handle.value_mut().get_mut();
        let answer = std::mem::take(answer.unwrap_or_else(PoisonError::into_inner));
        (verdict, (!answer.is_broken).then_some(answer))
    }
}

/// The app of a table, for those who measure what the door costs.
///
/// # Safety
/// NULL, or initialised, with callbacks that keep the header's rules.
#[doc(hidden)]
pub unsafe fn app_of_callbacks(
    table: *const hotstuff_app_callbacks,
    data_bytes_max: u64,
) -> Option<Box<dyn App>> {
    // SAFETY: the caller's contract.
    let app = unsafe { CApp::new(table, Owner::new(), GenesisHash::default(), data_bytes_max) };
    Some(Box::new(app.ok()?))
}

impl App for CApp {
    fn propose_block(&mut self, request: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        let Some(callback) = self.table.propose_block else {
            return ProposeBlockResponse::Failed;
        };
        let request = Handle::new::<hotstuff_propose_block_request>(Propose {
            cur_view: request.cur_view.0,
            prev_block: request.prev_block.into(),
            budget_ms: u32::try_from(request.budget.as_millis()).unwrap_or(u32::MAX),
            // SAFETY: dropped at the end of this function, which `request` outlives.
            block_tree: unsafe { LentTree::new(request.block_tree) },
        });
        // SAFETY: the table's contract; the request and the answer are alive until it returns.
        let (verdict, answer) = self
            .answer(|updates| unsafe { callback(self.table.userdata, request.as_noun(), updates) });
        match (verdict, answer) {
            (HOTSTUFF_PROPOSE_DEFER, _) => ProposeBlockResponse::Defer,
            (HOTSTUFF_OK, Some(mut answer)) if !answer.data.is_empty() => {
                ProposeBlockResponse::Block {
                    data: std::mem::take(&mut answer.data),
                    state_updates: answer.state_updates(),
                    validator_set_updates: answer.validator_set_updates(),
                }
            }
            _ => ProposeBlockResponse::Failed,
        }
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        let Some(callback) = self.table.validate_block else {
            return ValidateBlockResponse::Undecided;
        };
        let request = Handle::new::<hotstuff_validate_block_request>(Validate {
            cur_view: request.cur_view.0,
            // SAFETY: dropped at the end of this function, which `request` outlives.
            proposed_block: Handle::new::<hotstuff_block>(unsafe {
                NamedBlock::lent(self.genesis, request.proposed_block)
            }),
            // SAFETY: likewise.
            block_tree: unsafe { LentTree::new(request.block_tree) },
            is_sync: request.is_sync,
        });
        // SAFETY: the table's contract; the request and the answer are alive until it returns.
        let (verdict, answer) = self
            .answer(|updates| unsafe { callback(self.table.userdata, request.as_noun(), updates) });
        match (verdict, answer) {
            (HOTSTUFF_BLOCK_INVALID, _) => ValidateBlockResponse::Invalid,
            (HOTSTUFF_BLOCK_VALID, Some(mut answer)) => ValidateBlockResponse::Valid {
                state_updates: answer.state_updates(),
                validator_set_updates: answer.validator_set_updates(),
            },
            _ => ValidateBlockResponse::Undecided,
        }
    }
}
