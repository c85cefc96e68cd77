//! The one guard that every exported function goes through.
//!
//! It checks pointers, recognises handles, sets `out` to NULL first, and turns a panic into
//! `HOTSTUFF_E_PANIC` and a poisoned handle: nothing unwinds into C.

use std::cell::Cell;
use std::ffi::{c_char, CStr};
use std::mem::MaybeUninit;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Once;

use super::handle::{self, Noun};
use super::*;

/// Why a function fails: the status, and the text of the error object where there is one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: hotstuff_status,
    pub(super) message: Option<String>,
}

impl From<hotstuff_status> for Failure {
    fn from(status: hotstuff_status) -> Self {
        Failure {
            status,
            message: None,
        }
    }
}

/// A failure with a text that names the thing, what was expected, and what to do.
pub(super) fn failure(status: hotstuff_status, message: impl Into<String>) -> Failure {
    Failure {
        status,
        message: Some(message.into()),
    }
}

/// Runs the body of a function that returns a status.
pub(super) fn enter(body: impl FnOnce(&Call) -> Result<(), Failure>) -> hotstuff_status {
    match run(body) {
        Ok(()) => HOTSTUFF_OK,
        Err(failure) => failure.status,
    }
}

/// Runs the body of a function that has a `hotstuff_error **err`, which may be NULL.
///
/// # Safety
/// `err` is NULL or can be written to.
pub(super) unsafe fn enter_described(
    err: *mut *mut hotstuff_error,
    body: impl FnOnce(&Call) -> Result<(), Failure>,
) -> hotstuff_status {
    // SAFETY: the caller's contract.
    let mut err = unsafe { err.as_mut() };
    if let Some(err) = err.as_deref_mut() {
        *err = std::ptr::null_mut();
    }
    let Err(failure) = run(body) else {
        return HOTSTUFF_OK;
    };
    let status = failure.status;
    if let Some(err) = err {
        *err = error::describe(failure);
    }
    status
}

/// Runs the body of a function that returns a value: `fallback` where it fails.
pub(super) fn enter_value<V>(fallback: V, body: impl FnOnce(&Call) -> Result<V, Failure>) -> V {
    run(body).unwrap_or(fallback)
}

/// Runs a body whose failure nobody hears of: a free.
pub(super) fn enter_quietly(body: impl FnOnce()) {
    let _ = run(|_| {
        body();
        Ok(())
    });
}

fn run<V>(body: impl FnOnce(&Call) -> Result<V, Failure>) -> Result<V, Failure> {
    silence_panics();
    if logger::is_logging() {
        return Err(HOTSTUFF_E_REENTRANT.into());
    }
    let call = Call {
        poison: Cell::new(std::ptr::null()),
    };
    let _inside = Inside::new();
    catch_unwind(AssertUnwindSafe(|| body(&call))).unwrap_or_else(|panic| {
        // SAFETY: the flag belongs to a handle that the caller keeps alive during the call.
        if let Some(poison) = unsafe { call.poison.get().as_ref() } {
            poison.store(true, Ordering::Relaxed);
        }
        let what = panic_text(panic);
        Err(failure(
            HOTSTUFF_E_PANIC,
            format!("a bug in libhotstuff: {what}; please report it"),
        ))
    })
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let panic = match panic.downcast::<String>() {
        Ok(text) => return *text,
        Err(panic) => panic,
    };
    match panic.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(stranger) => {
            std::mem::forget(stranger); // its destructor could panic again
            "a panic".into()
        }
    }
}

/// A function call from C that is under way.
pub(super) struct Call {
    /// The flag of the first handle that was borrowed: what a panic poisons.
    poison: Cell<*const AtomicBool>,
}

impl Call {
    /// The value behind a handle.
    ///
    /// # Safety
    /// NULL, or from this library and alive during the call.
    pub(super) unsafe fn handle<'c, T: Noun>(
        &'c self,
        pointer: *const T,
    ) -> Result<&'c T::Value, Failure>
    where
        T::Value: 'c,
    {
        // SAFETY: the caller's contract.
        let (value, poison) = unsafe { handle::borrow::<T>(pointer) }?;
        if self.poison.get().is_null() {
            self.poison.set(poison);
        }
        Ok(value)
    }

    /// A place for a new object; NULL until [`Out::give`].
    ///
    /// # Safety
    /// NULL, or can be written to.
    pub(super) unsafe fn out<T: Noun>(&self, out: *mut *mut T) -> Result<Out<'_, T>, Failure> {
        // SAFETY: the caller's contract.
        let place = unsafe { out.as_mut() }.ok_or(HOTSTUFF_E_NULL)?;
        *place = std::ptr::null_mut();
        Ok(Out { place })
    }

    /// A place for a value, which is written in case of success only.
    ///
    /// # Safety
    /// NULL, or can be written to.
    pub(super) unsafe fn place<'p, V>(
        &self,
        out: *mut V,
    ) -> Result<&'p mut MaybeUninit<V>, Failure> {
        // SAFETY: the caller's contract; `MaybeUninit` has the layout of `V`.
        unsafe { out.cast::<MaybeUninit<V>>().as_mut() }.ok_or_else(|| HOTSTUFF_E_NULL.into())
    }

    /// A plain struct of C's.
    ///
    /// # Safety
    /// NULL, or initialised and not written to during the call.
    pub(super) unsafe fn plain<V: Copy>(&self, pointer: *const V) -> Result<&V, Failure> {
        // SAFETY: the caller's contract.
        unsafe { pointer.as_ref() }.ok_or_else(|| HOTSTUFF_E_NULL.into())
    }

    /// Input bytes; `pointer` may be NULL if `len` is 0.
    ///
    /// # Safety
    /// `len` bytes that nobody writes to during the call.
    pub(super) unsafe fn bytes(&self, pointer: *const u8, len: usize) -> Result<&[u8], Failure> {
        if len == 0 {
            return Ok(&[]);
        }
        if pointer.is_null() {
            return Err(HOTSTUFF_E_NULL.into());
        }
        if isize::try_from(len).is_err() {
            return Err(failure(
                HOTSTUFF_E_INVALID_ARGUMENT,
                "a length beyond the address space",
            ));
        }
        // SAFETY: not NULL, a possible length, and the caller's contract.
        Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
    }

    /// An input string.
    ///
    /// # Safety
    /// NULL, or ends with NUL and is not written to during the call.
    pub(super) unsafe fn text(&self, pointer: *const c_char, what: &str) -> Result<&str, Failure> {
        if pointer.is_null() {
            return Err(failure(HOTSTUFF_E_NULL, format!("{what} is NULL")));
        }
        // SAFETY: not NULL, and the caller's contract.
        let text = unsafe { CStr::from_ptr(pointer) };
        text.to_str().map_err(|_| {
            failure(
                HOTSTUFF_E_INVALID_ARGUMENT,
                format!("{what} is not UTF-8: {text:?}"),
            )
        })
    }
}

/// A place for a new object.
pub(super) struct Out<'c, T> {
    place: &'c mut *mut T,
}

impl<T: Noun> Out<'_, T> {
    /// Success: C owns `value` now.
    pub(super) fn give(self, value: T::Value) {
        *self.place = handle::give::<T>(value);
    }
}

thread_local! {
    /// How many entries this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Inside;

impl Inside {
    fn new() -> Self {
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
    }
}

/// The text of a panic goes to the logger: this library prints nothing.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let inside = DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0);
            let thread = std::thread::current();
            let ours = thread
                .name()
                .is_some_and(|name| name.starts_with("hotstuff-"));
            if inside || ours {
                logger::log(HOTSTUFF_LOG_ERROR, "panic", &panic.to_string());
            } else {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_status_and_poisons_the_handle_which_can_still_be_freed() {
        let mut set = std::ptr::null_mut();
        // SAFETY: `set` is a place of ours; the handle is used by this thread only.
        unsafe {
            assert_eq!(hotstuff_validator_set_new(&raw mut set), HOTSTUFF_OK);
            let panics = enter(|call| {
                call.handle(set.cast_const())?;
                panic!("on purpose")
            });
            assert_eq!(panics, HOTSTUFF_E_PANIC);
            let key = hotstuff_validator_address { bytes: [1; 32] };
            assert_eq!(
                hotstuff_validator_set_put(set, &raw const key, 1),
                HOTSTUFF_E_POISONED
            );
            assert_eq!(hotstuff_validator_set_len(set), 0);
            hotstuff_validator_set_free(set);
        }
    }

    #[test]
    fn a_described_panic_says_what_happened() {
        let mut err = std::ptr::null_mut();
        // SAFETY: `err` is a place of ours.
        unsafe {
            let status = enter_described(&raw mut err, |_| panic!("number {}", 7));
            assert_eq!(status, HOTSTUFF_E_PANIC);
            let text = CStr::from_ptr(hotstuff_error_message(err))
                .to_str()
                .unwrap();
            assert!(text.contains("number 7"), "{text}");
            hotstuff_error_free(err);
        }
    }
}
