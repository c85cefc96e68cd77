//! Validator sets, as C builds and reads them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::{enter, enter_quietly, enter_value, failure, Call, Failure};
use super::handle::{magic, take, Noun};
use super::*;
use crate::proof::Trust;
use crate::types::limits::VALIDATORS_MAX;
use crate::types::{
    Epoch, GenesisHash, Validator, ValidatorAddress, ValidatorSet, ValidatorSetError,
};

/// Validators and their powers, sorted by address, and the epoch in which they validate.
pub struct hotstuff_validator_set {
    _private: [u8; 0],
}

impl Noun for hotstuff_validator_set {
    const MAGIC: u32 = magic(b"VSET");
    type Value = Mutex<Members>;
}

/// Sorted by address, each once. Unlike a [`ValidatorSet`] it may be empty while it is built.
#[derive(Clone, Default)]
pub(super) struct Members {
    list: Vec<Validator>,
    epoch: Epoch,
}

impl Members {
    fn put(&mut self, address: ValidatorAddress, power: u64) -> Result<(), Failure> {
        let at = self
            .list
            .binary_search_by_key(&address, |member| member.address);
        let others: u64 = self
            .list
            .iter()
            .filter(|member| member.address != address)
            .map(|m| m.power)
            .sum();
        if others.checked_add(power).is_none() {
            return Err(failure(
                HOTSTUFF_E_TOO_LARGE,
                ValidatorSetError::Overflow.to_string(),
            ));
        }
        match (at, power) {
            (Ok(at), 0) => drop(self.list.remove(at)),
            (Err(_), 0) => {}
            (Ok(at), power) => self.list[at].power = power,
            (Err(_), _) if self.list.len() == VALIDATORS_MAX => {
                return Err(failure(
                    HOTSTUFF_E_TOO_LARGE,
                    ValidatorSetError::TooMany.to_string(),
                ));
            }
            (Err(at), power) => self.list.insert(at, Validator { address, power }),
        }
        Ok(())
    }

    fn total_power(&self) -> u64 {
        self.list.iter().map(|member| member.power).sum()
    }

    /// The validators of an epoch.
    pub(super) fn of_epoch(epoch: Epoch, set: &ValidatorSet) -> Members {
        Members {
            list: set.members().to_vec(),
            epoch,
        }
    }

    /// What is to be believed of whom, on the chain that began with `genesis`.
    pub(super) fn trusted(&self, genesis: GenesisHash) -> Result<Trust, Failure> {
        Ok(Trust {
            genesis,
            epoch: self.epoch,
            validator_set: self.to_set()?,
        })
    }

    /// The set, complete.
    pub(super) fn to_set(&self) -> Result<ValidatorSet, Failure> {
        ValidatorSet::new(self.list.iter().copied())
            .map_err(|error| failure(HOTSTUFF_E_INVALID_ARGUMENT, error.to_string()))
    }
}

/// # Safety
/// NULL, or a living set.
pub(super) unsafe fn members<'c>(
    call: &'c Call,
    set: *const hotstuff_validator_set,
) -> Result<MutexGuard<'c, Members>, Failure> {
    // SAFETY: the caller's contract.
    let members = unsafe { call.handle(set) }?;
    Ok(members.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Makes an empty validator set, to be filled. [any]
///
/// @param out  receives the set: yours, free it with hotstuff_validator_set_free()
/// @retval HOTSTUFF_E_NULL  `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_validator_set_new(
    out: *mut *mut hotstuff_validator_set,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        unsafe { call.out(out) }?.give(Mutex::default());
        Ok(())
    })
}

/// Gives a validator a power, in place of any it had. A quorum is more than two thirds of the power
/// of all validators together: of equal ones, 4 bear one that fails or lies, 3f + 1 bear
/// f. [serial]
///
/// @param set    the set
/// @param key    the validator
/// @param power  its voting power; 0 removes it
/// @retval HOTSTUFF_E_NULL       `set` or `key` is NULL
/// @retval HOTSTUFF_E_TOO_LARGE  the set has 1024 validators already, or the total power would not
///                               fit in 64 bits; the set is unchanged
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_validator_set_put(
    set: *mut hotstuff_validator_set,
    key: *const hotstuff_validator_address,
    power: u64,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living set.
        let mut members = unsafe { members(call, set) }?;
        // SAFETY: the header's rules: NULL, or an address.
        members.put((*unsafe { call.plain(key) }?).into(), power)
    })
}

/// How many validators there are; 0 for NULL. [any]
///
/// @param set  the set
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validator_set_len(set: *const hotstuff_validator_set) -> usize {
    // SAFETY: the header's rules: NULL, or a living set.
    enter_value(0, |call| Ok(unsafe { members(call, set) }?.list.len()))
}

/// One validator, by its place in the order of addresses. [any]
///
/// @param set    the set
/// @param index  from 0 to hotstuff_validator_set_len() - 1
/// @param key    receives its address; may be NULL
/// @param power  receives its power; may be NULL
/// @retval HOTSTUFF_E_NULL       `set` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND  there are not so many validators
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_validator_set_at(
    set: *const hotstuff_validator_set,
    index: usize,
    key: *mut hotstuff_validator_address,
    power: *mut u64,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living set.
        let members = unsafe { members(call, set) }?;
        let member = members.list.get(index).ok_or(HOTSTUFF_E_NOT_FOUND)?;
        // SAFETY: the header's rules: NULL, or places for an address and a number.
        unsafe {
            if let Some(key) = key.as_mut() {
                *key = member.address.into();
            }
            if let Some(power) = power.as_mut() {
                *power = member.power;
            }
        }
        Ok(())
    })
}

/// The power of all validators together; 0 for NULL. [any]
///
/// @param set  the set
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validator_set_total_power(
    set: *const hotstuff_validator_set,
) -> u64 {
    // SAFETY: the header's rules: NULL, or a living set.
    enter_value(0, |call| Ok(unsafe { members(call, set) }?.total_power()))
}

/// The least power that is a quorum: more than two thirds of all. 0 for NULL and for an empty
/// set. [any]
///
/// @param set  the set
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validator_set_quorum_power(
    set: *const hotstuff_validator_set,
) -> u64 {
    // SAFETY: the header's rules: NULL, or a living set.
    enter_value(0, |call| {
        Ok(unsafe { members(call, set) }?.to_set()?.quorum_power())
    })
}

/// The epoch in which these validators validate: what they sign in others proves nothing. 0, the
/// genesis's, for a set that was made here; 0 for NULL. [any]
///
/// @param set  the set
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validator_set_epoch(set: *const hotstuff_validator_set) -> u64 {
    // SAFETY: the header's rules: NULL, or a living set.
    enter_value(0, |call| Ok(unsafe { members(call, set) }?.epoch.0))
}

/// Says in which epoch these validators validate: for a set that was written down, and is trusted
/// again. [serial]
///
/// @param set    the set
/// @param epoch  the epoch; 0 is the genesis's
/// @retval HOTSTUFF_E_NULL  `set` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_validator_set_set_epoch(
    set: *mut hotstuff_validator_set,
    epoch: u64,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living set.
        unsafe { members(call, set) }?.epoch = Epoch(epoch);
        Ok(())
    })
}

/// Frees a set. What was configured with it keeps its copy. [any]
///
/// @param set  the set; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_validator_set_free(set: *mut hotstuff_validator_set) {
    // SAFETY: the header's rules: NULL, or a living set that the caller gives up.
    enter_quietly(|| drop(unsafe { take(set) }));
}
