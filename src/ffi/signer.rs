//! A signer outside the library, as a table of callbacks.

use std::ffi::c_void;
use std::sync::Arc;

use super::callback::{Owner, Userdata};
use super::entry::{failure, Failure};
use super::table::{self, Growing};
use super::*;
use crate::algorithm::{SignError, Signer};
use crate::types::{Signature, Statement, StatementDigest, ValidatorAddress};

/// Whoever holds the validator's key, if it is not this process: a security module, a key service.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_signer_callbacks {
    /// Set by hotstuff_signer_callbacks_init().
    pub struct_size: usize,
    /// Given to each callback; the library does not look at it.
    pub userdata: *mut c_void,
    /// Frees userdata: called once, when the config and all replicas opened with it are freed, on
    /// any thread. May be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
    /// Signs `message` with Ed25519 (RFC 8032, neither Ed25519ctx nor Ed25519ph): write 64 bytes to
    /// `out` and return ::HOTSTUFF_OK. `message` has 32 bytes, the SHA-256 of what is said, and is
    /// valid during the call. Called after what is said is on disk, so that a replica that crashes
    /// here does not sign something else afterwards. Anything but ::HOTSTUFF_OK, and a signature
    /// that does not verify, cost the view and nothing else: the replica says that much less, tells
    /// ::HOTSTUFF_EVENT_WARNING, and asks again in the next view, or when it next times out.
    /// The replica waits for it: be quick against the view time-out, or fail. Replicas that have
    /// one table may call it at once. Required.
    pub sign: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            message: *const u8,
            len: usize,
            out: *mut hotstuff_signature,
        ) -> i32,
    >,
}

// SAFETY: repr(C), struct_size first, and zero is "no callback".
unsafe impl Growing for hotstuff_signer_callbacks {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_signer_callbacks>();
    const NAME: &'static str = "hotstuff_signer_callbacks";
}

/// Zeroes a table and notes its size. Call it before you fill the table. [any]
///
/// @param table        the table
/// @param struct_size  `sizeof *table`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_signer_callbacks_init(
    table: *mut hotstuff_signer_callbacks,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(table, struct_size) }
}

/// A table that a config and its replicas share.
pub(super) struct SignerTable {
    table: hotstuff_signer_callbacks,
    address: ValidatorAddress,
    /// Destroyed with the last that holds the table.
    _userdata: Userdata,
}

// SAFETY: the table's contract: callbacks may come from any thread.
unsafe impl Send for SignerTable {}
// SAFETY: the table's contract: from several at once.
unsafe impl Sync for SignerTable {}

impl SignerTable {
    /// # Safety
    /// NULL, or initialised, with callbacks that keep the header's rules.
    pub(super) unsafe fn new(
        address: ValidatorAddress,
        table: *const hotstuff_signer_callbacks,
    ) -> Result<Arc<SignerTable>, Failure> {
        // SAFETY: the caller's contract.
        let table: hotstuff_signer_callbacks = unsafe { table::read(table) }?;
        if table.sign.is_none() {
            let text = "hotstuff_signer_callbacks.sign is NULL";
            return Err(failure(HOTSTUFF_E_NULL, text));
        }
        Ok(Arc::new(SignerTable {
            table,
            address,
            _userdata: Userdata::new(table.userdata, table.destroy, Owner::new()),
        }))
    }

    /// Whose key it holds.
    pub(super) fn address(&self) -> ValidatorAddress {
        self.address
    }
}

/// The signer of one replica.
pub(super) struct CSigner {
    pub(super) shared: Arc<SignerTable>,
    pub(super) owner: Owner,
}

impl Signer for CSigner {
    fn sign(&self, _: &Statement, digest: &StatementDigest) -> Result<Signature, SignError> {
        let table = &self.shared.table;
        let Some(sign) = table.sign else {
            return Err(SignError("there is no callback".into()));
        };
        let mut out = hotstuff_signature {
            bytes: [0; HOTSTUFF_SIGNATURE_LEN],
        };
        // SAFETY: the table's contract; the message and the signature are alive until it returns.
        let status = self.owner.call(|| unsafe {
            sign(
                table.userdata,
                digest.0.as_ptr(),
                digest.0.len(),
                &raw mut out,
            )
        });
        if status != HOTSTUFF_OK {
            let what = status::message_of(status);
            return Err(SignError(format!("sign() has returned {status} ({what})")));
        }
        // One's own votes are counted without a second look.
        let signature = Signature(out.bytes);
        if signature.verifies(&self.shared.address, digest) {
            return Ok(signature);
        }
        Err(SignError(format!(
            "what sign() gives is no signature of {}; check that it holds the key of \
             hotstuff_config_set_signer(), and signs the message as it is (RFC 8032)",
            self.shared.address
        )))
    }
}
