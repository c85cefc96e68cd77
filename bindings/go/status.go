package hotstuff

// #include "shim.h"
import "C"

import "fmt"

// Status is what can be wrong. Each constant is an error to compare with: errors.Is(err,
// hotstuff.ErrLocked). A newer library may return numbers that are not among them.
type Status int32

const (
	// ErrNull: a required value is missing.
	ErrNull Status = C.HOTSTUFF_E_NULL
	// ErrInvalidArgument: an argument is out of its range.
	ErrInvalidArgument Status = C.HOTSTUFF_E_INVALID_ARGUMENT
	// ErrNotFound: there is no such thing.
	ErrNotFound Status = C.HOTSTUFF_E_NOT_FOUND
	// ErrTimeout: it has not happened in time.
	ErrTimeout Status = C.HOTSTUFF_E_TIMEOUT
	// ErrClosed: stopped, closed, or never started.
	ErrClosed Status = C.HOTSTUFF_E_CLOSED
	// ErrState: called out of order, as Start after Start, or Updates after their callback.
	ErrState Status = C.HOTSTUFF_E_STATE
	// ErrReentrant: not allowed inside this callback.
	ErrReentrant Status = C.HOTSTUFF_E_REENTRANT
	// ErrPanic: a bug in libhotstuff; please report it.
	ErrPanic Status = C.HOTSTUFF_E_PANIC
	// ErrPoisoned: the object had an ErrPanic before.
	ErrPoisoned Status = C.HOTSTUFF_E_POISONED
	// ErrIO: the operating system reports an error.
	ErrIO Status = C.HOTSTUFF_E_IO
	// ErrStorage: the database failed, or it or the disk is full.
	ErrStorage Status = C.HOTSTUFF_E_STORAGE
	// ErrCorrupt: stored data fails its checks.
	ErrCorrupt Status = C.HOTSTUFF_E_CORRUPT
	// ErrLocked: the data directory is in use.
	ErrLocked Status = C.HOTSTUFF_E_LOCKED
	// ErrGenesisMismatch: the data directory belongs to another chain.
	ErrGenesisMismatch Status = C.HOTSTUFF_E_GENESIS_MISMATCH
	// ErrDecode: not a canonical encoding.
	ErrDecode Status = C.HOTSTUFF_E_DECODE
	// ErrBadSignature: a signature does not verify.
	ErrBadSignature Status = C.HOTSTUFF_E_BAD_SIGNATURE
	// ErrNoQuorum: the signatures are no quorum.
	ErrNoQuorum Status = C.HOTSTUFF_E_NO_QUORUM
	// ErrUnsupported: unknown to this version or build of the library.
	ErrUnsupported Status = C.HOTSTUFF_E_UNSUPPORTED
	// ErrTooLarge: larger than a limit.
	ErrTooLarge Status = C.HOTSTUFF_E_TOO_LARGE
	// ErrCallback: a callback failed.
	ErrCallback Status = C.HOTSTUFF_E_CALLBACK
	// ErrNoMemory: there is not enough memory.
	ErrNoMemory Status = C.HOTSTUFF_E_NO_MEMORY
	// ErrHalted: the replica has stopped itself; Wait says why.
	ErrHalted Status = C.HOTSTUFF_E_HALTED
	// ErrWouldBlock: a bounded queue is full: try again later.
	ErrWouldBlock Status = C.HOTSTUFF_E_WOULD_BLOCK
)

// How the library ends an iteration. Never seen outside.
const errDone Status = C.HOTSTUFF_E_DONE

// Error says what the status means: "hotstuff: timed out".
func (s Status) Error() string {
	return "hotstuff: " + message(cStatus(s))
}

// Name is the name of the status in the C header: "HOTSTUFF_E_TIMEOUT".
func (s Status) Name() string { return C.GoString(C.hotstuff_status_name(C.hotstuff_status(s))) }

// Error is a failure: what was attempted, what happened, and what to do about it.
type Error struct {
	// Op is what was attempted: "open", "Config.DataDir".
	Op string
	// Status is what errors.Is compares.
	Status Status
	// Message is what happened and what to do: one or more sentences, or "" if the status is all
	// there is to say.
	Message string
}

// Error is the text for a person.
func (e *Error) Error() string {
	if e.Message != "" {
		return fmt.Sprintf("hotstuff: %s: %s", e.Op, e.Message)
	}
	return fmt.Sprintf("hotstuff: %s: %s", e.Op, message(cStatus(e.Status)))
}

// Unwrap is the status, for errors.Is.
func (e *Error) Unwrap() error { return e.Status }

// message is what a status means.
func message(status cStatus) string { return C.GoString(C.hotstuff_status_message(status)) }

// failure is nil for HOTSTUFF_OK.
func failure(op string, status cStatus) error {
	if status == C.HOTSTUFF_OK {
		return nil
	}
	return &Error{Op: op, Status: Status(status)}
}

// described is failure with the library's text, which it frees.
func described(op string, status cStatus, err *C.hotstuff_error) error {
	defer C.hotstuff_error_free(err)
	if status == C.HOTSTUFF_OK {
		return nil
	}
	failed := &Error{Op: op, Status: Status(status)}
	if err != nil {
		failed.Message = C.GoString(C.hotstuff_error_message(err))
	}
	return failed
}
