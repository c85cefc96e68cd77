//! The greatest sizes that a decoder lets in, whatever the configuration says.

/// Validators in one set. A certificate of so many is about 66 KiB.
pub const VALIDATORS_MAX: usize = 1_024;

/// Validator-set updates in one block: every validator may be replaced at once.
pub const VALIDATOR_SET_UPDATES_MAX: usize = 2 * VALIDATORS_MAX;

/// Blocks in one sync response.
pub const BLOCKS_PER_RESPONSE_MAX: usize = 1_024;

/// Certificates at the tail of one sync response.
pub const TAIL_QCS_MAX: usize = 4;

/// Bytes of data in one block: the most that `block_data_bytes_max` may say.
pub const BLOCK_DATA_BYTES_MAX: u64 = 64 << 20;

/// What a message may weigh besides its block's data: a header, a certificate of time-outs with
/// its quorum certificate, and the validator-set updates, all of the greatest size.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 512 << 10;

/// Bytes of one key of the app's state: LMDB's own limit of 511, less the table's prefix.
pub const STATE_KEY_BYTES_MAX: usize = 500;

/// Bytes of one value of the app's state.
pub const STATE_VALUE_BYTES_MAX: usize = 16 << 20;

/// State updates that one block may make, and the bytes of all of them together.
pub const STATE_UPDATES_MAX: usize = 1 << 18;
/// See [`STATE_UPDATES_MAX`].
pub const STATE_UPDATES_BYTES_MAX: usize = 256 << 20;

/// Bytes of one quorum certificate by itself, and to spare.
pub const QC_BYTES_MAX: usize = 128 << 10;

/// Headers in one proof that a block is committed. The chain commits soon, or not for long: most
/// proofs have two.
pub const COMMIT_PROOF_HEADERS_MAX: usize = 1_024;

/// Bytes of such a proof.
pub const COMMIT_PROOF_BYTES_MAX: usize = 16 << 20;

/// Bytes of one proof of who validates next: a header and a certificate of the greatest size.
pub const EPOCH_PROOF_BYTES_MAX: usize = 512 << 10;

/// Bytes of one piece of evidence: two headers of the greatest size, and to spare.
pub const EVIDENCE_BYTES_MAX: usize = 512 << 10;

/// Pieces of evidence that one directory keeps. Each (validator, epoch, kind) has at most one; what
/// comes when there are so many is neither kept nor reported.
pub const EVIDENCE_MAX: usize = 4_096;
