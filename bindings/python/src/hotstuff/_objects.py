# SPDX-License-Identifier: Apache-2.0
"""What all objects of the library have in common: they are closed once, and die with a fork."""

from __future__ import annotations

import ctypes
import os
from types import TracebackType
from typing import Any, Self

from . import _abi
from ._library import fast
from .errors import InvalidArgument

_generation = 0


def _forked() -> None:
    global _generation
    _generation += 1


# Threads and LMDB do not survive a fork: what the parent had open is dead in the child.
os.register_at_fork(after_in_child=_forked)


class Managed:
    """An object of the library that this one owns. Close it, or use it in a `with` statement; what
    is forgotten is freed when it is collected."""

    _free: Any = None
    """The function of the library that frees it."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self._pointer: int | None = pointer.value
        self._generation = _generation

    @property
    def _handle(self) -> int:
        """The pointer, for a call; ValueError if it may not be used any more."""
        pointer = self._pointer
        if pointer is None or self._generation != _generation:
            raise ValueError(f"this {type(self).__name__} {self._why_dead()}")
        return pointer

    def _why_dead(self) -> str:
        if self._pointer is None:
            return "is closed"
        return "belongs to the parent process: no object may be used after fork()"

    @property
    def closed(self) -> bool:
        """Whether it may not be used any more."""
        return self._pointer is None or self._generation != _generation

    def close(self) -> None:
        """Frees it. A second call does nothing."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None and self._generation == _generation:
            type(self)._free(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            self.close()


def take_bytes(buffer: ctypes.c_void_p) -> bytes:
    """The bytes of a buffer of the library, which is freed."""
    borrowed = _abi.hotstuff_bytes()
    fast.hotstuff_buffer_get(buffer, borrowed)
    taken = copy_bytes(borrowed)
    fast.hotstuff_buffer_free(buffer)
    return taken


def copy_bytes(borrowed: _abi.hotstuff_bytes) -> bytes:
    """A copy of bytes that belong to the library."""
    return ctypes.string_at(borrowed.data, borrowed.len) if borrowed.len else b""


def fixed(value: bytes, length: int, what: str) -> bytes:
    """`value`, if it has the length that the library will read; it cannot check that itself."""
    if not isinstance(value, bytes) or len(value) != length:
        raise InvalidArgument(f"{what} is {length} bytes, got {value!r}", _abi.E_INVALID_ARGUMENT)
    return value


def text(value: str, what: str) -> bytes:
    """`value` as the library takes texts."""
    if "\0" in value:
        raise InvalidArgument(f"{what} holds a NUL character", _abi.E_INVALID_ARGUMENT)
    return os.fsencode(value)
