//! What stands behind a `hotstuff_T *`: a magic word, a poison flag and the value.
//!
//! The magic word turns most double frees and most handles of the wrong type into
//! `HOTSTUFF_E_INVALID_ARGUMENT`. It is a best effort: memory that was freed may be anything.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::entry::Failure;
use super::{HOTSTUFF_E_INVALID_ARGUMENT, HOTSTUFF_E_NULL, HOTSTUFF_E_POISONED};

/// A type that C knows by name only.
pub(super) trait Noun {
    /// Four letters that no other noun has.
    const MAGIC: u32;
    /// What is behind the pointer: C may use it on any thread, and on several at once.
    type Value: Send + Sync;
}

/// The magic word of four letters.
pub(super) const fn magic(letters: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*letters)
}

const FREED: u32 = magic(b"FREE");

/// The object itself.
#[repr(C)] // the magic word stands at the same place in all of them
pub(super) struct Handle<V> {
    magic: AtomicU32,
    poisoned: AtomicBool,
    value: V,
}

impl<V> Handle<V> {
    /// A handle that lives where the caller puts it: on the stack, for the time of a callback.
    pub(super) fn new<T: Noun<Value = V>>(value: V) -> Self {
        Handle {
            magic: AtomicU32::new(T::MAGIC),
            poisoned: AtomicBool::new(false),
            value,
        }
    }

    /// The value.
    pub(super) fn value(&self) -> &V {
        &self.value
    }

    /// The value, once C has given it back.
    pub(super) fn value_mut(&mut self) -> &mut V {
        &mut self.value
    }

    /// As C sees it, borrowed.
    pub(super) fn as_noun<T: Noun<Value = V>>(&self) -> *const T {
        std::ptr::from_ref(self).cast()
    }
}

impl<V> Drop for Handle<V> {
    fn drop(&mut self) {
        self.magic.store(FREED, Ordering::Relaxed);
    }
}

/// A new object that C will own.
pub(super) fn give<T: Noun>(value: T::Value) -> *mut T {
    Box::into_raw(Box::new(Handle::new::<T>(value))).cast()
}

/// Looks behind `pointer`, which may be poisoned.
///
/// # Safety
/// NULL, or from this library and not yet freed.
unsafe fn look<'a, T: Noun>(pointer: *const T) -> Result<&'a Handle<T::Value>, Failure> {
    let handle: *const Handle<T::Value> = pointer.cast();
    if handle.is_null() {
        return Err(HOTSTUFF_E_NULL.into());
    }
    if !handle.is_aligned() {
        return Err(HOTSTUFF_E_INVALID_ARGUMENT.into());
    }
    // SAFETY: by the contract, the caller's pointer is alive; the magic word is the first field of
    // every handle, so it can be read before the type is believed.
    if unsafe { (*handle.cast::<AtomicU32>()).load(Ordering::Relaxed) } != T::MAGIC {
        return Err(HOTSTUFF_E_INVALID_ARGUMENT.into());
    }
    // SAFETY: alive, aligned, and the magic word says that it is a `T`.
    Ok(unsafe { &*handle })
}

/// The value behind `pointer`, and the flag that poisons it.
///
/// # Safety
/// NULL, or from this library and not freed before the end of `'a`.
pub(super) unsafe fn borrow<'a, T: Noun>(
    pointer: *const T,
) -> Result<(&'a T::Value, &'a AtomicBool), Failure> {
    // SAFETY: the same contract.
    let handle = unsafe { look(pointer) }?;
    if handle.poisoned.load(Ordering::Relaxed) {
        return Err(HOTSTUFF_E_POISONED.into());
    }
    Ok((&handle.value, &handle.poisoned))
}

/// Takes an object back from C, poisoned or not. `None` for NULL and for what is no `T`.
///
/// # Safety
/// NULL, or from [`give`], not freed, and used by nobody any more.
pub(super) unsafe fn take<T: Noun>(pointer: *mut T) -> Option<Box<Handle<T::Value>>> {
    // SAFETY: the same contract.
    unsafe { look(pointer.cast_const()) }.ok()?;
    // SAFETY: it is a living `T`, so it came from the Box in `give`; nobody else frees it.
    Some(unsafe { Box::from_raw(pointer.cast()) })
}
