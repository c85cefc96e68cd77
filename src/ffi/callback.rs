//! Who is calling back on this thread (a replica must not wait for its own callback), and what
//! happens to userdata at the end.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{failure, Failure};
use super::HOTSTUFF_E_REENTRANT;

/// Names one replica, or one that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(u64);

/// A callback that runs, on the stack of its thread, and the one inside of which it does.
struct Frame {
    owner: Owner,
    outer: *const Frame,
}

thread_local! {
    /// The innermost of this thread.
    static RUNNING: Cell<*const Frame> = const { Cell::new(std::ptr::null()) };
}

impl Owner {
    /// A name that nobody had before.
    pub(super) fn new() -> Owner {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Owner(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a callback of this replica.
    pub(super) fn call<R>(self, callback: impl FnOnce() -> R) -> R {
        struct Pop(*const Frame);
        impl Drop for Pop {
            fn drop(&mut self) {
                RUNNING.set(self.0);
            }
        }
        let frame = Frame {
            owner: self,
            outer: RUNNING.get(),
        };
        let _pop = Pop(frame.outer);
        RUNNING.set(&raw const frame);
        callback()
    }

    /// Whether this thread is inside a callback of this replica.
    pub(super) fn is_calling(self) -> bool {
        let mut frame = RUNNING.get();
        // SAFETY: it stands on this thread's stack, and is taken out of the list before it goes.
        while let Some(running) = unsafe { frame.as_ref() } {
            if running.owner == self {
                return true;
            }
            frame = running.outer;
        }
        false
    }

    /// # Errors
    /// `HOTSTUFF_E_REENTRANT` inside a callback of this replica.
    pub(super) fn not_in_callback(self, function: &str) -> Result<(), Failure> {
        if self.is_calling() {
            let text = format!("{function} waits, and a replica cannot wait for its own callback");
            return Err(failure(HOTSTUFF_E_REENTRANT, text));
        }
        Ok(())
    }
}

/// Userdata that C has handed over. Dropped when nothing will call back with it any more.
pub(super) struct Userdata {
    userdata: *mut c_void,
    destroy: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    owner: Owner,
}

// SAFETY: the tables' contract: destroy may be called on any thread.
unsafe impl Send for Userdata {}
// SAFETY: there is nothing to do with a shared one.
unsafe impl Sync for Userdata {}

impl Userdata {
    /// Takes it over: from now on it is ours to destroy.
    pub(super) fn new(
        userdata: *mut c_void,
        destroy: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        owner: Owner,
    ) -> Userdata {
        Userdata {
            userdata,
            destroy,
            owner,
        }
    }
}

impl Drop for Userdata {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: the tables' contract: once, and no callback runs any more.
            self.owner.call(|| unsafe { destroy(self.userdata) });
        }
    }
}
