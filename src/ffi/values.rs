//! Plain values: hashes, addresses, borrowed bytes.

use crate::types::{BlockHash, GenesisHash, ValidatorAddress};

/// Bytes of a hash (SHA-256).
pub const HOTSTUFF_HASH_LEN: usize = 32;
/// Bytes of a validator's address: its Ed25519 public key.
pub const HOTSTUFF_VALIDATOR_ADDRESS_LEN: usize = 32;
/// Bytes of the seed of a key pair.
pub const HOTSTUFF_SECRET_SEED_LEN: usize = 32;
/// Bytes of an Ed25519 signature.
pub const HOTSTUFF_SIGNATURE_LEN: usize = 64;
/// As a `timeout_ms`: wait without limit.
pub const HOTSTUFF_NO_TIMEOUT: u32 = 0xFFFF_FFFF;

/// A SHA-256 hash: of a block, of its data, or of a genesis.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hotstuff_hash {
    /// The hash itself.
    pub bytes: [u8; HOTSTUFF_HASH_LEN],
}

/// The name of a validator: its Ed25519 public key (RFC 8032).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hotstuff_validator_address {
    /// The public key itself.
    pub bytes: [u8; HOTSTUFF_VALIDATOR_ADDRESS_LEN],
}

/// An Ed25519 signature (RFC 8032).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hotstuff_signature {
    /// The signature itself.
    pub bytes: [u8; HOTSTUFF_SIGNATURE_LEN],
}

/// Borrowed bytes: only ever an output. Not terminated by NUL. `data` may be NULL if `len` is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hotstuff_bytes {
    /// The first byte. Who owns it, and until when it is there, says the function that filled it.
    pub data: *const u8,
    /// How many bytes.
    pub len: usize,
}

impl hotstuff_bytes {
    pub(super) const EMPTY: hotstuff_bytes = hotstuff_bytes {
        data: std::ptr::null(),
        len: 0,
    };

    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::EMPTY;
        }
        hotstuff_bytes {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }
}

impl From<BlockHash> for hotstuff_hash {
    fn from(hash: BlockHash) -> Self {
        hotstuff_hash { bytes: hash.0 }
    }
}

impl From<GenesisHash> for hotstuff_hash {
    fn from(hash: GenesisHash) -> Self {
        hotstuff_hash { bytes: hash.0 }
    }
}

impl From<ValidatorAddress> for hotstuff_validator_address {
    fn from(address: ValidatorAddress) -> Self {
        hotstuff_validator_address { bytes: address.0 }
    }
}

impl From<hotstuff_validator_address> for ValidatorAddress {
    fn from(address: hotstuff_validator_address) -> Self {
        ValidatorAddress(address.bytes)
    }
}

/// A `timeout_ms` of the API.
pub(super) fn duration(timeout_ms: u32) -> std::time::Duration {
    const CENTURY_S: u64 = 100 * 365 * 24 * 60 * 60; // far, and no clock overflows by it
    match timeout_ms {
        HOTSTUFF_NO_TIMEOUT => std::time::Duration::from_secs(CENTURY_S),
        _ => std::time::Duration::from_millis(u64::from(timeout_ms)),
    }
}
