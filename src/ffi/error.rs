//! Described failures.

use std::ffi::{c_char, CString};

use super::entry::{enter_quietly, enter_value, Failure};
use super::handle::{give, magic, take, Noun};
use super::{hotstuff_status, status, HOTSTUFF_E_NULL};

/// A described failure: what happened and what to do about it.
pub struct hotstuff_error {
    _private: [u8; 0],
}

impl Noun for hotstuff_error {
    const MAGIC: u32 = magic(b"ERRO");
    type Value = Described;
}

pub(super) struct Described {
    status: hotstuff_status,
    message: CString,
}

/// The failure as an object that C will own.
pub(super) fn describe(failure: Failure) -> *mut hotstuff_error {
    let text = failure
        .message
        .unwrap_or_else(|| status::message_of(failure.status).to_owned());
    let message = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    give(Described {
        status: failure.status,
        message,
    })
}

/// The status that the failing function returned; ::HOTSTUFF_E_NULL for NULL. [any]
///
/// @param err  the error; may be NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_error_status(err: *const hotstuff_error) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living error.
    enter_value(HOTSTUFF_E_NULL, |call| {
        Ok(unsafe { call.handle(err) }?.status)
    })
}

/// What happened, and what to do about it: one or more sentences in English, UTF-8, without a
/// newline at the end. Never NULL; valid until hotstuff_error_free(). "" for NULL. [any]
///
/// @param err  the error; may be NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_error_message(err: *const hotstuff_error) -> *const c_char {
    // SAFETY: the header's rules: NULL, or a living error.
    enter_value(c"".as_ptr(), |call| {
        Ok(unsafe { call.handle(err) }?.message.as_ptr())
    })
}

/// Frees an error. [any]
///
/// @param err  the error; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_error_free(err: *mut hotstuff_error) {
    // SAFETY: the header's rules: NULL, or a living error that the caller gives up.
    enter_quietly(|| drop(unsafe { take(err) }));
}
