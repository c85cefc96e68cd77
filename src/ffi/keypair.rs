//! Keys.

use super::entry::{enter, enter_quietly, failure, Failure};
use super::handle::{magic, take, Noun};
use super::*;
use crate::types::{KeyError, KeyPair};

/// An Ed25519 key pair. Its seed is overwritten when it is freed.
pub struct hotstuff_keypair {
    _private: [u8; 0],
}

impl Noun for hotstuff_keypair {
    const MAGIC: u32 = magic(b"KEYP");
    type Value = KeyPair;
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let status = match error {
            KeyError::SeedLength => HOTSTUFF_E_INVALID_ARGUMENT,
            KeyError::NotPkcs8 => HOTSTUFF_E_DECODE,
            KeyError::NoEntropy => HOTSTUFF_E_IO,
        };
        failure(status, error.to_string())
    }
}

/// Makes a key pair from random bytes of the operating system. [any]
///
/// @param out  receives the key pair: yours, free it with hotstuff_keypair_free()
/// @retval HOTSTUFF_E_NULL  `out` is NULL
/// @retval HOTSTUFF_E_IO    the operating system gave no random bytes
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_keypair_generate(
    out: *mut *mut hotstuff_keypair,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        out.give(KeyPair::generate()?);
        Ok(())
    })
}

/// Makes the key pair of a seed: the same seed, the same key (RFC 8032). A seed is secret. [any]
///
/// @param seed  the seed; copied
/// @param len   ::HOTSTUFF_SECRET_SEED_LEN
/// @param out   receives the key pair: yours, free it with hotstuff_keypair_free()
/// @retval HOTSTUFF_E_NULL              `seed` or `out` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `len` is another number
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_keypair_from_seed(
    seed: *const u8,
    len: usize,
    out: *mut *mut hotstuff_keypair,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules for input bytes.
        out.give(KeyPair::from_seed(unsafe { call.bytes(seed, len) }?)?);
        Ok(())
    })
}

/// Reads a key pair in PKCS#8 DER, version 1 or 2 (RFC 8410): what `openssl genpkey -algorithm
/// ed25519 -outform DER` writes. [any]
///
/// @param der  the bytes; copied
/// @param len  how many
/// @param out  receives the key pair: yours, free it with hotstuff_keypair_free()
/// @retval HOTSTUFF_E_NULL    `der` or `out` is NULL
/// @retval HOTSTUFF_E_DECODE  the bytes are no Ed25519 key in PKCS#8
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_keypair_from_pkcs8(
    der: *const u8,
    len: usize,
    out: *mut *mut hotstuff_keypair,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules for input bytes.
        out.give(KeyPair::from_pkcs8(unsafe { call.bytes(der, len) }?)?);
        Ok(())
    })
}

/// The key pair as PKCS#8 DER version 1 (RFC 8410). The bytes are secret, and are not overwritten
/// when the buffer is freed. [any]
///
/// @param key  the key pair
/// @param out  receives the bytes: yours, free them with hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL  `key` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_keypair_to_pkcs8(
    key: *const hotstuff_keypair,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living key pair.
        out.give(unsafe { call.handle(key) }?.to_pkcs8());
        Ok(())
    })
}

/// The public key: the address of the validator that this key pair speaks for. [any]
///
/// @param key  the key pair
/// @param out  receives the address
/// @retval HOTSTUFF_E_NULL  `key` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_keypair_public(
    key: *const hotstuff_keypair,
    out: *mut hotstuff_validator_address,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for an address.
        let out = unsafe { call.place(out) }?;
        // SAFETY: the header's rules: NULL, or a living key pair.
        out.write(unsafe { call.handle(key) }?.address().into());
        Ok(())
    })
}

/// Overwrites the seed and frees the key pair. What was configured with it keeps its copy. [any]
///
/// @param key  the key pair; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_keypair_free(key: *mut hotstuff_keypair) {
    // SAFETY: the header's rules: NULL, or a living key pair that the caller gives up.
    enter_quietly(|| drop(unsafe { take(key) }));
}
