//! Owned bytes.

use super::entry::{enter_quietly, enter_value};
use super::handle::{magic, take, Noun};
use super::hotstuff_bytes;

/// Bytes that the library made and you own.
pub struct hotstuff_buffer {
    _private: [u8; 0],
}

impl Noun for hotstuff_buffer {
    const MAGIC: u32 = magic(b"BUFF");
    type Value = Vec<u8>;
}

/// The bytes of a buffer, borrowed from it: valid until hotstuff_buffer_free(). [any]
///
/// @param buffer  the buffer
/// @param out     receives the bytes; none if `buffer` is NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_buffer_get(
    buffer: *const hotstuff_buffer,
    out: *mut hotstuff_bytes,
) {
    let bytes = enter_value(hotstuff_bytes::EMPTY, |call| {
        // SAFETY: the header's rules: NULL, or a living buffer.
        Ok(hotstuff_bytes::of(unsafe { call.handle(buffer) }?))
    });
    // SAFETY: the header's rules: NULL, or a place for the bytes.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = bytes;
    }
}

/// Frees a buffer. [any]
///
/// @param buffer  the buffer; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_buffer_free(buffer: *mut hotstuff_buffer) {
    // SAFETY: the header's rules: NULL, or a living buffer that the caller gives up.
    enter_quietly(|| drop(unsafe { take(buffer) }));
}
