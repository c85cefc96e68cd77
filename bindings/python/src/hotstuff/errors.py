# SPDX-License-Identifier: Apache-2.0
"""The failures of the library as exceptions: one class for each status."""

from __future__ import annotations

import ctypes

from . import _abi
from ._library import fast, library


class HotstuffError(Exception):
    """A function of the library has failed. `status` is its HOTSTUFF_E_ number."""

    status: int = 0

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status

    @property
    def name(self) -> str:
        """The status by its name: "HOTSTUFF_E_LOCKED"."""
        return str(fast.hotstuff_status_name(self.status).decode())


class InvalidArgument(HotstuffError, ValueError):
    """An argument is out of its range."""


class NotFound(HotstuffError, LookupError):
    """There is no such thing."""


class Timeout(HotstuffError, TimeoutError):
    """It has not happened yet."""


class Closed(HotstuffError):
    """Stopped, closed, or never started."""


class WrongState(HotstuffError):
    """Called out of order, as start after start."""


class Reentrant(HotstuffError):
    """Not allowed inside this callback."""


class LibraryBug(HotstuffError):
    """A bug in libhotstuff was caught, now or before; please report it."""


class InputOutput(HotstuffError, OSError):
    """The operating system reports an error."""


class StorageFailed(HotstuffError):
    """The database failed, or it or the disk is full."""


class Corrupt(HotstuffError):
    """Stored data fails its checks."""


class Locked(HotstuffError):
    """The data directory is in use."""


class GenesisMismatch(HotstuffError):
    """The data directory belongs to another chain."""


class DecodeError(HotstuffError, ValueError):
    """Bytes that are not a canonical encoding."""


class BadSignature(HotstuffError):
    """A signature does not verify."""


class NoQuorum(HotstuffError):
    """The signatures are no quorum."""


class Unsupported(HotstuffError):
    """Unknown to this version or build of the library."""


class TooLarge(HotstuffError, ValueError):
    """Larger than a limit."""


class CallbackFailed(HotstuffError):
    """A callback has failed."""


class Halted(HotstuffError):
    """The replica has stopped itself; the text says why and what to do."""


class WouldBlock(HotstuffError):
    """A bounded queue is full: try again later."""


_CLASSES: dict[int, type[HotstuffError]] = {
    _abi.E_NULL: InvalidArgument,
    _abi.E_INVALID_ARGUMENT: InvalidArgument,
    _abi.E_NOT_FOUND: NotFound,
    _abi.E_TIMEOUT: Timeout,
    _abi.E_CLOSED: Closed,
    _abi.E_STATE: WrongState,
    _abi.E_REENTRANT: Reentrant,
    _abi.E_PANIC: LibraryBug,
    _abi.E_POISONED: LibraryBug,
    _abi.E_IO: InputOutput,
    _abi.E_STORAGE: StorageFailed,
    _abi.E_CORRUPT: Corrupt,
    _abi.E_LOCKED: Locked,
    _abi.E_GENESIS_MISMATCH: GenesisMismatch,
    _abi.E_DECODE: DecodeError,
    _abi.E_BAD_SIGNATURE: BadSignature,
    _abi.E_NO_QUORUM: NoQuorum,
    _abi.E_UNSUPPORTED: Unsupported,
    _abi.E_TOO_LARGE: TooLarge,
    _abi.E_CALLBACK: CallbackFailed,
    _abi.E_HALTED: Halted,
    _abi.E_WOULD_BLOCK: WouldBlock,
}


def error(status: int, what: str, described: ctypes.c_void_p | None = None) -> HotstuffError:
    """The exception for `status`; the library's own description, if there is one, is freed."""
    message = fast.hotstuff_status_message(status).decode()
    if described is not None and described.value is not None:
        message = fast.hotstuff_error_message(described).decode()
        library.hotstuff_error_free(described)
    return _CLASSES.get(status, HotstuffError)(f"{what}: {message}", status)


def check(status: int, what: str, described: ctypes.c_void_p | None = None) -> None:
    """Raises unless `status` is success."""
    if status != _abi.OK:
        raise error(status, what, described)
