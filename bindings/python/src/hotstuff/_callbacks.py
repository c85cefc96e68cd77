# SPDX-License-Identifier: Apache-2.0
"""How the library calls Python.

The library is given a number as its userdata, never a pointer to a Python object, and trampolines
that live as long as this module: a trampoline that was collected would be called all the same. An
exception does not leave a trampoline: it is kept, and raised when the host next calls.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any, Protocol

from . import _abi

_numbers = itertools.count(1)
_served: dict[int, Served] = {}


class Failures:
    """The first exception of the callbacks since the host last looked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: BaseException | None = None
        self._more = 0

    def keep(self, failure: BaseException) -> None:
        with self._lock:
            if self._first is None:
                self._first = failure
            else:
                self._more += 1

    def raise_kept(self) -> None:
        """Raises what was kept, once."""
        if self._first is None:
            return
        with self._lock:
            first, more = self._first, self._more
            self._first, self._more = None, 0
        if first is None:
            return
        if more:
            first.add_note(f"{more} more exceptions followed in callbacks")
        raise first


class Served(Protocol):
    """What stands behind a userdata."""

    failures: Failures


def serve(served: Served) -> int:
    """Makes a userdata for it; the library's destroy() forgets it again."""
    number = next(_numbers)
    _served[number] = served
    return number


def forget(number: int) -> None:
    """For a userdata that the library has not taken over."""
    _served.pop(number, None)


def served(number: int | None) -> Any:
    return _served.get(number or 0)


def field_type(table: Any, name: str) -> Any:
    """The type of a callback, as the table of callbacks has it."""
    return dict(table._fields_)[name]


def _destroy(number: int | None) -> None:
    _served.pop(number or 0, None)


destroy = field_type(_abi.hotstuff_app_callbacks, "destroy")(_destroy)
