# SPDX-License-Identifier: Apache-2.0
"""Finds libhotstuff, checks its version, and declares its functions.

Tried in this order: HOTSTUFF_LIBRARY (a path; then nothing else is tried), the library inside this
package, what the linker finds as "hotstuff", and "libhotstuff.so.<ABI version>".
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import pathlib
from collections.abc import Iterator

from . import _abi

PACKAGED = pathlib.Path(__file__).resolve().parent / "_lib" / "libhotstuff.so"


class LibraryError(ImportError):
    """libhotstuff cannot be found, or does not fit this package."""


def candidates() -> Iterator[tuple[str, str | None]]:
    """Where the library may be: the place for a person, and the name to load, if there is one."""
    named = os.environ.get("HOTSTUFF_LIBRARY")
    if named is not None:
        yield f"HOTSTUFF_LIBRARY={named}", named
        return
    yield f"in this package: {PACKAGED}", str(PACKAGED)
    yield 'ctypes.util.find_library("hotstuff")', ctypes.util.find_library("hotstuff")
    soname = f"libhotstuff.so.{_abi.ABI_VERSION}"
    yield f"the linker's search for {soname}", soname


def find() -> str:
    """The first library that loads and fits."""
    tried = []
    for place, name in candidates():
        try:
            if name is None:
                raise OSError("finds nothing")
            check_version(ctypes.CDLL(name), place)
            return name
        except OSError as failure:
            tried.append(f"  {place}: {failure}")
    raise LibraryError(
        "libhotstuff was not found. Install the hotstuff wheel, or set HOTSTUFF_LIBRARY to the "
        "path of libhotstuff.so. Tried:\n" + "\n".join(tried)
    )


def check_version(found: ctypes.CDLL, place: str) -> None:
    """A newer library of the same ABI serves; an older one may lack what this package calls."""
    try:
        found.hotstuff_version_string.restype = ctypes.c_char_p
        abi, number = found.hotstuff_abi_version(), found.hotstuff_version_number()
        version = found.hotstuff_version_string().decode()
    except AttributeError as missing:
        raise LibraryError(f"{place} is not libhotstuff: {missing}") from missing
    if abi != _abi.ABI_VERSION or number < _abi.VERSION_NUMBER:
        raise LibraryError(
            f"{place} is libhotstuff {version} with ABI {abi}; this package needs "
            f"{_abi.VERSION_STRING} or later with ABI {_abi.ABI_VERSION}"
        )


def declared(found: ctypes.CDLL) -> ctypes.CDLL:
    try:
        _abi.declare(found)
    except AttributeError as missing:
        raise LibraryError(f"libhotstuff lacks what its version has: {missing}") from missing
    return found


_name = find()

library = declared(ctypes.CDLL(_name))
"""For whatever may wait: the interpreter lock is released during each call."""

fast = declared(ctypes.PyDLL(_name))
"""The same functions, called with the interpreter lock held: only for those that copy a few bytes
and never wait. A function that waits for a thread of the library would wait for ever: that thread
may need the lock for a callback."""


def library_path() -> str:
    """The path or name of the library that is loaded."""
    return _name
