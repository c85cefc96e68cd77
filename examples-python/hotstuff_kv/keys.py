# SPDX-License-Identifier: Apache-2.0
"""Key files: PKCS#8, readable by their owner alone."""

from __future__ import annotations

import contextlib
import os

import hotstuff

KEY_FILE_MAX = 256


class KeyFileError(Exception):
    """A key file that cannot be written or read; the text names it and says why."""


def generate(path: str) -> hotstuff.Address:
    """Makes a key and writes it to a new file."""
    with hotstuff.KeyPair.generate() as key:
        try:
            _store(path, key.to_pkcs8())
        except OSError as failure:
            raise KeyFileError(f"{path}: {failure.strerror}") from failure
        return key.address


def _store(path: str, der: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(der)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)  # half a key is worse than none
        raise


def load(path: str) -> hotstuff.KeyPair:
    """Refuses a file that others can read."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            der = file.read(KEY_FILE_MAX)
    except OSError as failure:
        raise KeyFileError(f"{path}: {failure.strerror}") from failure
    if mode & 0o077:
        raise KeyFileError(f"{path}: others may read this key: expected mode 0600 (chmod 600)")
    try:
        return hotstuff.KeyPair.from_pkcs8(der)
    except hotstuff.HotstuffError as failure:
        raise KeyFileError(f"{path}: not a key made by `kv keygen`") from failure
