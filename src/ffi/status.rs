//! Status codes.

use std::ffi::{c_char, CStr};

/// Result of a function: ::HOTSTUFF_OK, or one of the negative HOTSTUFF_E_ codes. An integer, not
/// an enum: values cross the boundary in both directions, and a newer library may return codes that
/// an older header lacks. Codes are never renumbered or reused.
pub type hotstuff_status = i32;

// The header's text of these is in cbindgen.toml, with the negative numbers in parentheses, which
// cbindgen would not write. tests/header.rs compares name by name. Not `pub`, so that cbindgen
// leaves them alone.
macro_rules! statuses {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        $(
            #[allow(dead_code)] // the list is whole
            pub(crate) const $name: hotstuff_status = $code;
        )*

        /// Every status: its code, its name and what it says.
        const STATUSES: &[(hotstuff_status, &str, &str)] =
            &[$(($code, concat!(stringify!($name), "\0"), concat!($message, "\0"))),*];
    };
}

statuses! {
    HOTSTUFF_OK = 0, "success";
    HOTSTUFF_E_NULL = -1, "a required pointer is NULL";
    HOTSTUFF_E_INVALID_ARGUMENT = -2, "an argument is out of its range, or not what it should be";
    HOTSTUFF_E_NOT_FOUND = -3, "not found";
    HOTSTUFF_E_TIMEOUT = -4, "timed out";
    HOTSTUFF_E_CLOSED = -5, "stopped or closed";
    HOTSTUFF_E_STATE = -6, "called out of order";
    HOTSTUFF_E_REENTRANT = -7, "not allowed inside a callback";
    HOTSTUFF_E_PANIC = -8, "a bug in libhotstuff; the object can only be freed";
    HOTSTUFF_E_POISONED = -9, "unusable since an earlier HOTSTUFF_E_PANIC; it can only be freed";
    HOTSTUFF_E_IO = -10, "the operating system reports an error";
    HOTSTUFF_E_STORAGE = -11, "the database failed, or it or the disk is full";
    HOTSTUFF_E_CORRUPT = -12, "stored data fails its checks";
    HOTSTUFF_E_LOCKED = -13, "the data directory is in use";
    HOTSTUFF_E_GENESIS_MISMATCH = -14, "the data directory belongs to another chain";
    HOTSTUFF_E_DECODE = -15, "the bytes are not a canonical encoding";
    HOTSTUFF_E_BAD_SIGNATURE = -16, "a signature does not verify";
    HOTSTUFF_E_NO_QUORUM = -17, "the signatures are no quorum";
    HOTSTUFF_E_UNSUPPORTED = -18, "unknown to this version or build of the library";
    HOTSTUFF_E_TOO_LARGE = -19, "larger than the limit";
    HOTSTUFF_E_DONE = -20, "no more items";
    HOTSTUFF_E_CALLBACK = -21, "a callback failed";
    HOTSTUFF_E_NO_MEMORY = -22, "out of memory";
    HOTSTUFF_E_HALTED = -23, "the replica has stopped itself; hotstuff_replica_wait() says why";
    HOTSTUFF_E_WOULD_BLOCK = -24, "a bounded queue is full; try again later";
}

/// The words of a status, without the NUL.
pub(super) fn message_of(status: hotstuff_status) -> &'static str {
    text_of(status).1.trim_end_matches('\0')
}

fn text_of(status: hotstuff_status) -> (&'static str, &'static str) {
    let known = STATUSES.iter().find(|(code, _, _)| *code == status);
    known.map_or(
        ("HOTSTUFF_E_UNKNOWN\0", "an unknown status\0"),
        |(_, name, words)| (name, words),
    )
}

fn c_string(text: &'static str) -> *const c_char {
    CStr::from_bytes_with_nul(text.as_bytes()).map_or(c"".as_ptr(), CStr::as_ptr)
}

/// The name of a status: "HOTSTUFF_E_TIMEOUT"; "HOTSTUFF_E_UNKNOWN" for a number that this library
/// does not have. Never NULL; static. [any]
#[no_mangle]
pub extern "C" fn hotstuff_status_name(status: hotstuff_status) -> *const c_char {
    c_string(text_of(status).0)
}

/// What a status says: "timed out". Never NULL; static. [any]
#[no_mangle]
pub extern "C" fn hotstuff_status_message(status: hotstuff_status) -> *const c_char {
    c_string(text_of(status).1)
}

/// Name and code of every status, for the test that compares them with the header.
#[doc(hidden)]
pub fn statuses() -> impl Iterator<Item = (&'static str, i32)> {
    STATUSES
        .iter()
        .map(|(code, name, _)| (name.trim_end_matches('\0'), *code))
}
