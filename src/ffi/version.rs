//! Versions and features.

use std::ffi::{c_char, CStr};

/// The number in the soname.
const ABI_VERSION: u32 = 0;

/// Bit of hotstuff_has_feature(): the TCP transport.
pub const HOTSTUFF_FEATURE_TCP: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// Version of the library that is loaded, as a number to compare with ::HOTSTUFF_VERSION_NUMBER,
/// the version of the header: major * 1000000 + minor * 1000 + patch. [any]
#[no_mangle]
pub extern "C" fn hotstuff_version_number() -> u32 {
    const fn number(digits: &str) -> u32 {
        let mut number = 0;
        let mut i = 0;
        while i < digits.len() {
            number = number * 10 + (digits.as_bytes()[i] - b'0') as u32;
            i += 1;
        }
        number
    }
    const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
    const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
    const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));
    MAJOR * 1_000_000 + MINOR * 1_000 + PATCH
}

/// Version of the library that is loaded: "0.1.0". Never NULL; static. [any]
#[no_mangle]
pub extern "C" fn hotstuff_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// ABI of the library that is loaded. A program must refuse to go on where it differs from
/// ::HOTSTUFF_ABI_VERSION; the dynamic linker sees to it by the soname. [any]
#[no_mangle]
pub extern "C" fn hotstuff_abi_version() -> u32 {
    ABI_VERSION
}

/// Whether this build has a feature. Functions of a missing feature exist and return
/// ::HOTSTUFF_E_UNSUPPORTED: the symbols never depend on how the library was built. [any]
///
/// @param feature  one of the HOTSTUFF_FEATURE_ numbers; false for a number of a newer library
#[no_mangle]
pub extern "C" fn hotstuff_has_feature(feature: u32) -> bool {
    feature == HOTSTUFF_FEATURE_TCP
}
