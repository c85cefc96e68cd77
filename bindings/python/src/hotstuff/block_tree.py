# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the chain and of the app's state."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from . import _abi
from ._library import fast, library
from ._objects import Managed, fixed, take_bytes
from .errors import check, error
from .values import Block, Hash, ValidatorSet


class BlockTree(Managed):
    """A consistent view of the chain and of the app's state, which does not change.

    It pins pages of the database: close it soon. It may outlive its replica. One thread at a time.
    """

    _free = staticmethod(library.hotstuff_block_tree_free)
    _library: Any = library

    def state(self, key: bytes) -> bytes | None:
        """The value of a key in the app's state; None if it has none."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_state(self._handle, key, len(key), out)
        if status == _abi.E_NOT_FOUND:
            return None
        check(status, "reading the state")
        return take_bytes(out)

    def block(self, hash: Hash) -> Block | None:
        """A block by its hash, committed or not; None if it is not stored here."""
        out = ctypes.c_void_p()
        fixed(hash, _abi.HASH_LEN, "a hash")
        return self._found(self._library.hotstuff_block_tree_block(self._handle, hash, out), out)

    def block_at(self, height: int) -> Block | None:
        """The committed block at a height from 1; None if there is none yet."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_block_at(self._handle, height, out)
        return self._found(status, out)

    @staticmethod
    def _found(status: int, out: ctypes.c_void_p) -> Block | None:
        if status == _abi.E_NOT_FOUND:
            return None
        check(status, "reading a block")
        return Block(out)

    @property
    def committed_height(self) -> int:
        """The height of the last committed block; 0 while there is none."""
        out = ctypes.c_uint64()
        status = self._library.hotstuff_block_tree_committed_height(self._handle, out)
        check(status, "reading the height")
        return out.value

    @property
    def highest_qc(self) -> bytes:
        """The highest quorum certificate that is known, as canonical bytes."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_highest_qc(self._handle, out)
        check(status, "reading the highest certificate")
        return take_bytes(out)

    def validators(self, epoch: int | None = None) -> ValidatorSet:
        """The validators of an epoch; of the current one, if none is named."""
        out = ctypes.c_void_p()
        if epoch is None:
            status = self._library.hotstuff_block_tree_validators(self._handle, out)
        else:
            status = self._library.hotstuff_block_tree_validators_of(self._handle, epoch, out)
        check(status, "reading the validators")
        return ValidatorSet(out)

    def commit_qc(self, epoch: int) -> bytes | None:
        """The certificate that began an epoch, as canonical bytes; None for epoch 0 and for those
        that have not begun."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_commit_qc_of(self._handle, epoch, out)
        if status == _abi.E_NOT_FOUND:
            return None
        check(status, "reading a certificate")
        return take_bytes(out)

    def blocks(self, first: int = 1) -> Iterator[Block]:
        """Committed blocks from a height upward."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_iter(self._handle, first, out)
        check(status, "reading blocks")
        with _Walk(out) as walk:
            yield from walk


class LentBlockTree(BlockTree):
    """A snapshot that a callback was lent; it ends with the callback."""

    _free = staticmethod(lambda _pointer: None)
    _library = fast


class _Walk(Managed):
    _free = staticmethod(library.hotstuff_block_iter_free)

    def __iter__(self) -> Iterator[Block]:
        while True:
            out = ctypes.c_void_p()
            status = library.hotstuff_block_iter_next(self._handle, out)
            if status == _abi.E_DONE:
                return
            if status != _abi.OK:
                raise error(status, "reading blocks")
            yield Block(out)
