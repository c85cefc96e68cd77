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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::algorithm::{Limits, SyncConfig, VoteTo};
    use crate::app::*;
    use crate::block_tree::{Durability, OpenOptions};
    use crate::network::NetworkProvider;
    use crate::pacemaker::DefaultPacemaker;
    use crate::replica::{Replica, ReplicaConfig};
    use crate::types::{BlockHeight, ChainId, ChainParameters, Genesis, KeyPair};
    use crate::types::{Validator, ValidatorSet};

    /// A security module that can be unplugged.
    #[derive(Default)]
    struct Module {
        seed: [u8; 32],
        is_unplugged: AtomicBool,
        refused: AtomicU64,
    }

    unsafe extern "C-unwind" fn sign(
        userdata: *mut c_void,
        message: *const u8,
        len: usize,
        out: *mut hotstuff_signature,
    ) -> i32 {
        // SAFETY: the test's own module, which outlives the replica; the table's contract.
        unsafe {
            let module = &*userdata.cast::<Module>();
            if module.is_unplugged.load(Ordering::SeqCst) {
                module.refused.fetch_add(1, Ordering::SeqCst);
                return HOTSTUFF_E_CALLBACK;
            }
            let message = std::slice::from_raw_parts(message, len);
            let digest = StatementDigest(message.try_into().expect("32 bytes"));
            let key = KeyPair::from_seed(&module.seed).expect("32 bytes");
            (*out).bytes = key.sign(&digest).0;
        }
        HOTSTUFF_OK
    }

    struct Busy;

    impl App for Busy {
        fn propose_block(&mut self, _: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
            ProposeBlockResponse::Block {
                data: vec![1],
                state_updates: None,
                validator_set_updates: None,
            }
        }

        fn validate_block(&mut self, _: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
            ValidateBlockResponse::Valid {
                state_updates: None,
                validator_set_updates: None,
            }
        }
    }

    struct Nobody;

    impl NetworkProvider for Nobody {
        fn connect(&self, _: ValidatorAddress) {}
        fn disconnect(&self, _: ValidatorAddress) {}
        fn send(&self, _: ValidatorAddress, _: &[u8]) {}
        fn broadcast(&self, _: &[u8]) {}
        fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
            std::thread::sleep(timeout.min(Duration::from_millis(20)));
            None
        }
        fn wake(&self) {}
    }

    fn config(folder: &std::path::Path, signer: CSigner) -> ReplicaConfig {
        let address = signer.shared.address();
        let member = Validator { address, power: 1 };
        ReplicaConfig {
            genesis: Genesis {
                chain_id: ChainId(1),
                validator_set: ValidatorSet::new([member]).expect("one"),
                app_state: BTreeMap::new(),
                parameters: ChainParameters::default(),
            },
            signer: Some((address, Arc::new(signer))),
            storage: OpenOptions {
                data_dir: folder.to_owned(),
                create: true,
                map_bytes: 64 << 20,
                durability: Durability::ProcessCrash,
            },
            pacemaker: Arc::new(DefaultPacemaker {
                base_ms: 20,
                max_ms: 200,
            }),
            vote_to: VoteTo::Auto,
            sync: SyncConfig::default(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_signer_outside_signs_and_one_that_fails_for_a_while_is_asked_again() {
        const LONG: Duration = Duration::from_secs(60);
        let module = Module {
            seed: [5; 32],
            ..Module::default()
        };
        let address = KeyPair::from_seed(&module.seed).expect("32").address();
        let table = hotstuff_signer_callbacks {
            struct_size: std::mem::size_of::<hotstuff_signer_callbacks>(),
            userdata: std::ptr::from_ref(&module).cast_mut().cast(),
            destroy: None,
            sign: Some(sign),
        };
        // SAFETY: an initialised table, whose module outlives the replica.
        let shared = unsafe { SignerTable::new(address, &raw const table) }.expect("a table");
        let owner = Owner::new();
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), CSigner { shared, owner });
        let replica = Replica::open(config, Box::new(Busy), Arc::new(Nobody)).expect("opened");
        replica.start().expect("started");
        replica
            .next_committed(BlockHeight(4), LONG)
            .expect("it signs");

        module.is_unplugged.store(true, Ordering::SeqCst);
        let began = std::time::Instant::now();
        while module.refused.load(Ordering::SeqCst) < 5 {
            assert!(began.elapsed() < LONG, "it is asked at each time-out");
            std::thread::sleep(Duration::from_millis(1));
        }
        let stuck = replica.info();
        module.is_unplugged.store(false, Ordering::SeqCst);
        let after = BlockHeight(stuck.committed_height.0 + 5);
        replica
            .next_committed(after, LONG)
            .expect("and again once it signs");
        replica.stop(LONG).expect("stopped");
        assert!(!stuck.is_halted && !stuck.is_silenced);
    }
}
