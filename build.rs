//! Names the shared library by its ABI: `libhotstuff.so.0`. The number is `HOTSTUFF_ABI_VERSION`
//! (src/ffi/version.rs); `tests/header.rs` compares the two.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os != "linux") {
        return;
    }
    // A thread that nobody joins may outlive a dlclose(): what it runs stays in memory.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // cargo-c, which turns on the feature `capi`, gives a soname of its own.
    if std::env::var_os("CARGO_FEATURE_CAPI").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhotstuff.so.0");
    }
}
