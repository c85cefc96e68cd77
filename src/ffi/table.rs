//! Structs that may grow: their first field is `struct_size`, by which each side knows how much
//! the other side knows.
//!
//! In: a larger struct than ours is taken if what we do not know is zero. Out: we fill what both
//! know, and zero the rest.

use std::mem::{size_of, MaybeUninit};

use super::entry::{failure, Failure};
use super::{HOTSTUFF_E_INVALID_ARGUMENT, HOTSTUFF_E_NULL, HOTSTUFF_E_UNSUPPORTED};

/// No struct of this API will ever be larger: a greater `struct_size` was never initialised.
const STRUCT_BYTES_MAX: usize = 4096;

/// A struct of the API whose first field is `size_t struct_size`.
///
/// # Safety
/// `repr(C)`, `struct_size: usize` first, and all zero bytes are a value.
pub(super) unsafe trait Growing: Copy {
    /// Its size in the first version of the API.
    const BYTES_MIN: usize;
    /// Its name, for error texts.
    const NAME: &'static str;
}

/// Zeroes the caller's struct and notes its size, which whoever reads it then judges. Does nothing
/// for NULL, and for a size that no struct of this API has.
///
/// # Safety
/// NULL, or `struct_size` writable bytes.
pub(super) unsafe fn init<T: Growing>(table: *mut T, struct_size: usize) {
    if table.is_null() || !(size_of::<usize>()..=STRUCT_BYTES_MAX).contains(&struct_size) {
        return;
    }
    // SAFETY: the caller has `struct_size` bytes there, at least those of the first field.
    unsafe {
        table.cast::<u8>().write_bytes(0, struct_size);
        table.cast::<usize>().write(struct_size);
    }
}

/// # Safety
/// NULL, or initialised by [`init`].
unsafe fn size_of_callers<T: Growing>(table: *const T) -> Result<usize, Failure> {
    if table.is_null() {
        return Err(failure(HOTSTUFF_E_NULL, format!("the {} is NULL", T::NAME)));
    }
    // SAFETY: not NULL; `struct_size` is the first field.
    let bytes = unsafe { table.cast::<usize>().read() };
    if (T::BYTES_MIN..=STRUCT_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    let name = T::NAME;
    Err(failure(
        HOTSTUFF_E_INVALID_ARGUMENT,
        format!("struct_size of {name} is {bytes}: call {name}_init(&it, sizeof it) first"),
    ))
}

/// Reads the caller's struct.
///
/// # Safety
/// NULL, or initialised by [`init`] and not written to during the call.
pub(super) unsafe fn read<T: Growing>(table: *const T) -> Result<T, Failure> {
    // SAFETY: the same contract.
    let callers = unsafe { size_of_callers(table) }?;
    let ours = size_of::<T>();
    // SAFETY: the caller has `callers` bytes there.
    let all = unsafe { std::slice::from_raw_parts(table.cast::<u8>(), callers) };
    if all.iter().skip(ours).any(|byte| *byte != 0) {
        let text = format!(
            "{} sets members that this library is too old to know",
            T::NAME
        );
        return Err(failure(HOTSTUFF_E_UNSUPPORTED, text));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: both have that many bytes; zero bytes are a value of `T` (`Growing`), and the
    // caller's bytes are those of a prefix of `T`.
    Ok(unsafe {
        copy.as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(all.as_ptr(), callers.min(ours));
        copy.assume_init()
    })
}

/// Fills the caller's struct, all but its `struct_size`.
///
/// # Safety
/// NULL, or initialised by [`init`] and touched by nobody else during the call.
pub(super) unsafe fn write<T: Growing>(table: *mut T, value: &T) -> Result<(), Failure> {
    // SAFETY: the same contract.
    let callers = unsafe { size_of_callers(table.cast_const()) }?;
    let both = callers.min(size_of::<T>());
    // SAFETY: the caller has `callers` bytes there, we have at least `both`.
    unsafe {
        table.cast::<u8>().write_bytes(0, callers);
        table
            .cast::<u8>()
            .copy_from_nonoverlapping(std::ptr::from_ref(value).cast(), both);
        table.cast::<usize>().write(callers);
    }
    Ok(())
}
