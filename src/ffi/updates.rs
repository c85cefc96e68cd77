//! The app's answers: a builder that copies.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::{enter, failure, Call, Failure};
use super::handle::{magic, Noun};
use super::*;
use crate::types::limits::*;
use crate::types::{StateUpdate, StateUpdates, ValidatorSetUpdate, ValidatorSetUpdates};

/// What the app answers: a block's data, and what the block changes. Owned by the library, valid
/// during the callback. The setters copy: your bytes may live on a stack, or be Go's or Python's.
/// An answer of which a setter has refused a part counts as failed, whatever the callback returns:
/// half an answer would be another answer.
pub struct hotstuff_updates {
    _private: [u8; 0],
}

impl Noun for hotstuff_updates {
    const MAGIC: u32 = magic(b"UPDA");
    type Value = Mutex<Answer>;
}

/// What has been set so far.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) data_bytes_max: u64,
    pub(super) data: Vec<u8>,
    pub(super) state: StateUpdates,
    pub(super) state_bytes: usize,
    pub(super) validators: ValidatorSetUpdates,
    /// A setter has refused something.
    pub(super) is_broken: bool,
}

impl Answer {
    pub(super) fn state_updates(&mut self) -> Option<StateUpdates> {
        Some(std::mem::take(&mut self.state)).filter(|updates| !updates.is_empty())
    }

    pub(super) fn validator_set_updates(&mut self) -> Option<ValidatorSetUpdates> {
        Some(std::mem::take(&mut self.validators)).filter(|updates| !updates.is_empty())
    }

    fn push(&mut self, update: StateUpdate) -> Result<(), Failure> {
        let bytes = update.key().len() + update.value().map_or(0, <[u8]>::len);
        if self.state.len() == STATE_UPDATES_MAX
            || self.state_bytes + bytes > STATE_UPDATES_BYTES_MAX
        {
            return Err(HOTSTUFF_E_TOO_LARGE.into());
        }
        self.state_bytes += bytes;
        self.state.push(update);
        Ok(())
    }
}

pub(super) fn check_key(key: &[u8]) -> Result<(), Failure> {
    match key.len() {
        0 => Err(failure(
            HOTSTUFF_E_INVALID_ARGUMENT,
            "a state key has at least one byte",
        )),
        1..=STATE_KEY_BYTES_MAX => Ok(()),
        _ => Err(failure(
            HOTSTUFF_E_TOO_LARGE,
            "a state key has at most 500 bytes",
        )),
    }
}

pub(super) fn check_value(value: &[u8]) -> Result<(), Failure> {
    if value.len() > STATE_VALUE_BYTES_MAX {
        return Err(failure(
            HOTSTUFF_E_TOO_LARGE,
            "a state value has at most 16 MiB",
        ));
    }
    Ok(())
}

/// # Safety
/// NULL, or the living answer of a callback.
unsafe fn change(
    updates: *mut hotstuff_updates,
    change: impl FnOnce(&Call, &mut Answer) -> Result<(), Failure>,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the caller's contract.
        let answer = unsafe { call.handle(updates.cast_const()) }?;
        let mut answer: MutexGuard<'_, Answer> =
            answer.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(call, &mut answer);
        answer.is_broken |= changed.is_err();
        changed
    })
}

/// The data of the block that is proposed. Of two calls the later stands. Ignored in
/// validate_block. [serial]
///
/// @param updates  the answer
/// @param data     the bytes; copied
/// @param len      how many: at least 1, at most hotstuff_config_set_max_block_bytes()
/// @retval HOTSTUFF_E_NULL              `updates` or `data` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `len` is 0: return ::HOTSTUFF_PROPOSE_DEFER if there is no
///                                      work, empty blocks are the library's own
/// @retval HOTSTUFF_E_TOO_LARGE         the block limit
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_updates_set_data(
    updates: *mut hotstuff_updates,
    data: *const u8,
    len: usize,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or the answer of a callback that runs.
    unsafe {
        change(updates, |call, answer| {
            // SAFETY: the header's rules for input bytes.
            let data = call.bytes(data, len)?;
            if data.is_empty() {
                return Err(HOTSTUFF_E_INVALID_ARGUMENT.into());
            }
            if data.len() as u64 > answer.data_bytes_max {
                return Err(HOTSTUFF_E_TOO_LARGE.into());
            }
            answer.data = data.to_vec();
            Ok(())
        })
    }
}

/// Sets one key of the app's state. Updates are made in the order of the calls. A block may make
/// 262144 of them, of 256 MiB together. [serial]
///
/// @param updates    the answer
/// @param key        the key; copied
/// @param key_len    1 to 500 bytes
/// @param value      the value; copied
/// @param value_len  0 to 16 MiB
/// @retval HOTSTUFF_E_NULL              `updates` or `key` is NULL, or `value` is and `value_len`
///                                      is not 0
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
/// @retval HOTSTUFF_E_TOO_LARGE         one of the limits
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_updates_set_state(
    updates: *mut hotstuff_updates,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or the answer of a callback that runs.
    unsafe {
        change(updates, |call, answer| {
            // SAFETY: the header's rules for input bytes.
            let (key, value) = (call.bytes(key, key_len)?, call.bytes(value, value_len)?);
            check_key(key)?;
            check_value(value)?;
            answer.push(StateUpdate::Set {
                key: key.to_vec(),
                value: value.to_vec(),
            })
        })
    }
}

/// Deletes one key of the app's state, whether or not it is there. [serial]
///
/// @param updates  the answer
/// @param key      the key; copied
/// @param key_len  1 to 500 bytes
/// @retval HOTSTUFF_E_NULL              `updates` or `key` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
/// @retval HOTSTUFF_E_TOO_LARGE         one of the limits of hotstuff_updates_set_state()
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_updates_delete_state(
    updates: *mut hotstuff_updates,
    key: *const u8,
    key_len: usize,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or the answer of a callback that runs.
    unsafe {
        change(updates, |call, answer| {
            // SAFETY: the header's rules for input bytes.
            let key = call.bytes(key, key_len)?;
            check_key(key)?;
            answer.push(StateUpdate::Delete { key: key.to_vec() })
        })
    }
}

/// Gives a validator a power, from the epoch on that begins once the block is committed. Of two
/// calls for one validator the later stands. [serial]
///
/// @param updates  the answer
/// @param key      the validator
/// @param power    its voting power; 0 removes it
/// @retval HOTSTUFF_E_NULL       `updates` or `key` is NULL
/// @retval HOTSTUFF_E_TOO_LARGE  the block has 2048 such updates already
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_updates_set_validator(
    updates: *mut hotstuff_updates,
    key: *const hotstuff_validator_address,
    power: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or the answer of a callback that runs.
    unsafe {
        change(updates, |call, answer| {
            // SAFETY: the header's rules: NULL, or an address.
            let validator = (*call.plain(key)?).into();
            answer
                .validators
                .retain(|update| update.validator != validator);
            if answer.validators.len() == VALIDATOR_SET_UPDATES_MAX {
                return Err(HOTSTUFF_E_TOO_LARGE.into());
            }
            answer
                .validators
                .push(ValidatorSetUpdate { validator, power });
            Ok(())
        })
    }
}
