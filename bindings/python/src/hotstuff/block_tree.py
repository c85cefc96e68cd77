# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the chain and of the app's state."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import _abi
from ._library import fast, library
from ._objects import Managed, fixed, take_bytes, text
from .errors import check
from .proofs import Phase
from .values import Block, Hash, ValidatorSet


@dataclass(frozen=True, slots=True)
class Signed:
    """A block that a replica voted for or proposed, and when."""

    epoch: int
    view: int
    block: Hash


@dataclass(frozen=True, slots=True)
class VotingRecord:
    """What a replica has signed last, and will not contradict when it starts again."""

    changes: int
    """How often the record has changed."""
    voted: Signed | None
    voted_phase: Phase
    proposed: Signed | None
    timed_out: tuple[int, int] | None
    """Epoch and view."""


class BlockTree(Managed):
    """A consistent view of the chain and of the app's state, which does not change.

    It pins pages of the database: close it soon. It may outlive its replica. One thread at a time.
    """

    _free = staticmethod(library.hotstuff_block_tree_free)
    _library: Any = library
    """One and the same for all calls: two threads that wait for each other's snapshot, one of them
    with the interpreter lock, would wait for ever."""

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

    def commit_proof(self, block: Hash) -> bytes:
        """The proof that a block is committed, for `verify_commit_proof`. NotFound if it is not, or
        if its certificates are not here yet."""
        out = ctypes.c_void_p()
        fixed(block, _abi.HASH_LEN, "a hash")
        status = self._library.hotstuff_block_tree_commit_proof(self._handle, block, out)
        check(status, "proving that a block is committed")
        return take_bytes(out)

    def epoch_proof(self, epoch: int) -> bytes:
        """The proof of who validates after an epoch, for `verify_epoch_proof`."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_epoch_proof(self._handle, epoch, out)
        check(status, f"proving the validators after epoch {epoch}")
        return take_bytes(out)

    def blocks(self, first: int = 1) -> Iterator[Block]:
        """Committed blocks from a height upward."""
        out = ctypes.c_void_p()
        status = self._library.hotstuff_block_tree_iter(self._handle, first, out)
        check(status, "reading blocks")
        with _Walk(out) as walk:
            while True:
                block = ctypes.c_void_p()
                status = self._library.hotstuff_block_iter_next(walk._handle, block)
                if status == _abi.E_DONE:
                    return
                check(status, "reading blocks")
                yield Block(block)

    # ---- of a snapshot that one owns -----------------------------------------------------------

    @classmethod
    def open_read_only(cls, data_dir: str | os.PathLike[str]) -> BlockTree:
        """A snapshot of a data directory, for tools: of a replica that is stopped, or that runs in
        another process, which is not held up. Of one that runs, close it soon. One at a time."""
        out, err = ctypes.c_void_p(), ctypes.c_void_p()
        path = text(os.fspath(data_dir), "data_dir")
        status = library.hotstuff_block_tree_open_read_only(path, out, err)
        check(status, "opening a data directory", err)
        return cls(out)

    @property
    def genesis_hash(self) -> Hash:
        """The name of the chain."""
        out = _abi.hotstuff_hash()
        status = library.hotstuff_block_tree_genesis_hash(self._handle, out)
        check(status, "reading the genesis hash")
        return bytes(out.bytes)

    def pending(self) -> Iterator[Block]:
        """Blocks that await commit, in the order of heights."""
        read = library.hotstuff_block_tree_pending_at
        return map(Block, self._each(read, "reading blocks"))

    def evidence(self) -> Iterator[bytes]:
        """The pieces of evidence that the replica keeps, for `verify_evidence`."""
        read = library.hotstuff_block_tree_evidence_at
        return map(take_bytes, self._each(read, "reading evidence"))

    def _each(self, read: Callable[..., int], what: str) -> Iterator[ctypes.c_void_p]:
        for index in itertools.count():
            out = ctypes.c_void_p()
            status = read(self._handle, index, out)
            if status == _abi.E_DONE:
                return
            check(status, what)
            yield out

    @property
    def voting_record(self) -> VotingRecord:
        """What the replica has signed last."""
        out = _abi.hotstuff_voting_record()
        fast.hotstuff_voting_record_init(out, ctypes.sizeof(out))
        status = library.hotstuff_block_tree_voting_record(self._handle, out)
        check(status, "reading the voting record")
        voted = Signed(out.voted_epoch, out.voted_view, bytes(out.voted_block.bytes))
        proposed = Signed(out.proposed_epoch, out.proposed_view, bytes(out.proposed_block.bytes))
        return VotingRecord(
            changes=out.changes,
            voted=voted if voted.view else None,
            voted_phase=Phase(out.voted_phase),
            proposed=proposed if proposed.view else None,
            timed_out=(out.timed_out_epoch, out.timed_out_view) if out.timed_out_view else None,
        )


class LentBlockTree(BlockTree):
    """A snapshot that a callback was lent; it ends with the callback."""

    _free = staticmethod(lambda _pointer: None)
    _library = fast


class _Walk(Managed):
    _free = staticmethod(library.hotstuff_block_iter_free)
