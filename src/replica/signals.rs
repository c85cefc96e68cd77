//! Signals belong to the host's threads: the library's threads block all of them.

use std::mem::MaybeUninit;

/// Runs `spawn` with all signals blocked in the calling thread. A thread started by it inherits the
/// mask, so there is no moment in which a signal of the host's could land on it.
pub(crate) fn with_all_blocked<T>(spawn: impl FnOnce() -> T) -> T {
    let _restore = Blocked::new();
    spawn()
}

/// All signals are blocked in this thread until it is dropped.
struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    fn new() -> Blocked {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises `all`; pthread_sigmask reads it and initialises `before`.
        // Both pointers are to locals of the right type, and with SIG_BLOCK and a valid set the
        // call cannot fail (POSIX).
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Blocked { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that pthread_sigmask gave for this very thread: the value
        // lives within one call of `with_all_blocked`, and is never moved to another.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}
