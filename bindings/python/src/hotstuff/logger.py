# SPDX-License-Identifier: Apache-2.0
"""The library's log, which goes to Python's `logging` as "hotstuff" and "hotstuff.<part>"."""

from __future__ import annotations

import logging

from . import _abi
from ._library import library
from .errors import check

_LEVELS = {
    _abi.LOG_ERROR: logging.ERROR,
    _abi.LOG_WARN: logging.WARNING,
    _abi.LOG_INFO: logging.INFO,
    _abi.LOG_DEBUG: logging.DEBUG,
    _abi.LOG_TRACE: logging.DEBUG // 2,
}


def _on_line(_userdata: int | None, level: int, target: bytes, message: bytes) -> None:
    try:
        logger = logging.getLogger(f"hotstuff.{target.decode()}")
        logger.log(_LEVELS.get(level, logging.INFO), "%s", message.decode())
    except Exception:  # a handler that fails must not take the replica's thread with it
        pass


_line = _abi.hotstuff_log_fn(_on_line)


def log_to_logging(level: int = logging.INFO) -> None:
    """Sends the log of every replica in this process to `logging`, up to `level`; lower levels cost
    nothing. Call it before replicas start. A handler must not call this library."""
    known = [number for number, its in _LEVELS.items() if its >= level]
    check(library.hotstuff_set_logger(_line, None, max(known, default=0)), "the logger")


def stop_logging() -> None:
    """Switches the library's log off, as it was at first."""
    nobody = _abi.hotstuff_log_fn()
    check(library.hotstuff_set_logger(nobody, None, _abi.LOG_OFF), "the logger")
