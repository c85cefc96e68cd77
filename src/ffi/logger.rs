//! The logger: one for the process, the library's own.

use std::cell::Cell;
use std::ffi::{c_char, c_void, CString};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{PoisonError, RwLock};

use super::entry::{enter, failure};
use super::*;

/// Log level: nothing. The default.
pub const HOTSTUFF_LOG_OFF: i32 = 0;
/// Log level: a replica halts, diverges, or meets a bug.
pub const HOTSTUFF_LOG_ERROR: i32 = 1;
/// Log level: what an operator should look into.
pub const HOTSTUFF_LOG_WARN: i32 = 2;
/// Log level: what happens seldom: catching up, views that time out.
pub const HOTSTUFF_LOG_INFO: i32 = 3;
/// Log level: each commit.
pub const HOTSTUFF_LOG_DEBUG: i32 = 4;
/// Log level: each view, vote and proposal.
pub const HOTSTUFF_LOG_TRACE: i32 = 5;

/// Receives a line of the log: its level, the part of the library that speaks, and a text without a
/// newline; both texts are UTF-8 and valid during the call.
pub type hotstuff_log_fn = Option<
    unsafe extern "C-unwind" fn(
        userdata: *mut c_void,
        level: i32,
        target: *const c_char,
        message: *const c_char,
    ),
>;

struct Logger {
    log: hotstuff_log_fn,
    userdata: *mut c_void,
}

// SAFETY: the contract of `hotstuff_set_logger`: the function may be called from any thread.
unsafe impl Send for Logger {}
// SAFETY: likewise, from several at once.
unsafe impl Sync for Logger {}

static LOGGER: RwLock<Logger> = RwLock::new(Logger {
    log: None,
    userdata: std::ptr::null_mut(),
});
static LEVEL: AtomicI32 = AtomicI32::new(HOTSTUFF_LOG_OFF);

thread_local! {
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Sets where the log goes, for the whole process: this library prints nothing. A replica's events
/// go there too, if the logger is set before hotstuff_replica_start(). When the call returns, no
/// call of the function that was set before is running. [any]
///
/// @param fn         called from any thread, several at once; must not call this library, which
///                   would return ::HOTSTUFF_E_REENTRANT; must stay callable until it is replaced.
///                   NULL switches logging off
/// @param userdata   given to `fn`; the library does not look at it
/// @param max_level  the highest HOTSTUFF_LOG_ number that is logged
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  there is no such level; nothing is changed
/// @retval HOTSTUFF_E_REENTRANT         called by `fn`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_set_logger(
    r#fn: hotstuff_log_fn,
    userdata: *mut c_void,
    max_level: i32,
) -> hotstuff_status {
    enter(|_| {
        if !(HOTSTUFF_LOG_OFF..=HOTSTUFF_LOG_TRACE).contains(&max_level) {
            return Err(failure(HOTSTUFF_E_INVALID_ARGUMENT, "no such log level"));
        }
        let mut logger = LOGGER.write().unwrap_or_else(PoisonError::into_inner);
        *logger = Logger {
            log: r#fn,
            userdata,
        };
        let level = if r#fn.is_some() {
            max_level
        } else {
            HOTSTUFF_LOG_OFF
        };
        LEVEL.store(level, Ordering::Relaxed);
        Ok(())
    })
}

/// Whether anyone listens to this level.
pub(super) fn is_logged(level: i32) -> bool {
    level <= LEVEL.load(Ordering::Relaxed)
}

/// Whether this thread is inside the logger.
pub(super) fn is_logging() -> bool {
    LOGGING.try_with(Cell::get).unwrap_or(false)
}

/// Logs a line.
pub(super) fn log(level: i32, target: &str, message: &str) {
    if !is_logged(level) || is_logging() {
        return;
    }
    let line = |text: &str| CString::new(text.replace(['\0', '\n'], " ")).unwrap_or_default();
    let (target, message) = (line(target), line(message));
    let logger = LOGGER.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(log) = logger.log {
        let _ = LOGGING.try_with(|logging| logging.set(true));
        // SAFETY: the contract of `hotstuff_set_logger`; the texts are alive during the call.
        unsafe { log(logger.userdata, level, target.as_ptr(), message.as_ptr()) };
        let _ = LOGGING.try_with(|logging| logging.set(false));
    }
}
