# SPDX-License-Identifier: Apache-2.0
"""What is on a replica's disk, and whether it is a chain. Only read, also beside the replica."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import hotstuff
from hotstuff import Block, BlockTree, ValidatorSet

Row: TypeAlias = dict[str, Any]
Advance: TypeAlias = Callable[[int], None]
Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows how far one is, of so many blocks."""

HOLD_SECONDS = 1.0
"""The longest that a snapshot is held: it pins pages of a replica that runs."""


class NotProven(Exception):
    """The chain is not what it should be; the text says where."""


# ---- looking ---------------------------------------------------------------------------------


def look(data_dir: pathlib.Path, count: int) -> Row:
    """Everything but the state, of the blocks the last `count`; as JSON has it."""
    with BlockTree.open_read_only(data_dir) as tree:
        height = tree.committed_height
        genesis = tree.genesis_hash
        with tree.validators() as validators:
            epoch = validators.epoch
        epochs = [_epoch(tree, genesis, number) for number in range(epoch + 1)]
        first = max(1, height - count + 1)
        blocks = [_block(tree, genesis, block) for block in tree.blocks(first)] if count else []
        return {
            "data_dir": str(data_dir),
            "genesis": genesis.hex(),
            "committed_height": height,
            "epoch": epoch,
            "highest_qc": _qc(tree, genesis, tree.highest_qc),
            "voting_record": _voting_record(tree),
            "epochs": epochs,
            "blocks": blocks,
            "pending": [_block(tree, genesis, block) for block in tree.pending()],
            "evidence": [_evidence(tree, genesis, piece) for piece in tree.evidence()],
        }


def _epoch(tree: BlockTree, genesis: hotstuff.Hash, number: int) -> Row:
    with tree.validators(number) as validators:
        begun_by = tree.commit_qc(number)
        return {
            "epoch": number,
            "validators": [
                {"address": address.hex(), "power": power} for address, power in validators
            ],
            "total_power": validators.total_power,
            "quorum_power": validators.quorum_power,
            "begun_by": None if begun_by is None else _qc(tree, genesis, begun_by),
        }


def _qc(tree: BlockTree, genesis: hotstuff.Hash, encoded: bytes) -> Row:
    """A certificate, verified by the validators of its epoch."""
    for epoch in _epochs_downward(tree):
        with tree.validators(epoch) as validators, contextlib.suppress(hotstuff.NotFound):
            info = hotstuff.verify_qc(genesis, validators, encoded)
            return {
                "epoch": info.epoch,
                "view": info.view,
                "phase": info.phase.name.lower(),
                "block": info.block.hex(),
                "signers": info.signer_count,
                "signed_power": info.signed_power,
                "bytes": len(encoded),
            }
    raise NotProven("a certificate is of an epoch that has not begun")


def _epochs_downward(tree: BlockTree) -> Iterator[int]:
    with tree.validators() as validators:
        last = validators.epoch
    return iter(range(last, -1, -1))


def _block(tree: BlockTree, genesis: hotstuff.Hash, block: Block) -> Row:
    with block:
        justify = _qc(tree, genesis, block.justify)
        return {
            "height": block.height,
            "epoch": block.epoch,
            "view": block.view,
            "hash": block.hash.hex(),
            "parent": block.parent_hash.hex(),
            "data_hash": block.data_hash.hex(),
            "data_bytes": len(block.data),
            "justify_view": justify["view"],
            "justify_phase": justify["phase"],
            "justify_signers": justify["signers"],
        }


def _voting_record(tree: BlockTree) -> Row:
    record = tree.voting_record

    def signed(what: hotstuff.Signed | None) -> Row | None:
        if what is None:
            return None
        return {"epoch": what.epoch, "view": what.view, "block": what.block.hex()}

    timed_out = record.timed_out
    return {
        "changes": record.changes,
        "voted": signed(record.voted),
        "voted_phase": record.voted_phase.name.lower() if record.voted else None,
        "proposed": signed(record.proposed),
        "timed_out": None
        if timed_out is None
        else dict(zip(("epoch", "view"), timed_out, strict=True)),
    }


def _evidence(tree: BlockTree, genesis: hotstuff.Hash, piece: bytes) -> Row:
    claim = hotstuff.read_evidence(piece)
    with tree.validators(claim.epoch) as validators:
        offender = hotstuff.verify_evidence(genesis, validators, piece)
    return {
        "kind": claim.kind.name.lower(),
        "epoch": claim.epoch,
        "view": claim.view,
        "validator": offender.hex(),
    }


# ---- walking ---------------------------------------------------------------------------------


def _walk(data_dir: pathlib.Path, last: int) -> Iterator[tuple[BlockTree, Block]]:
    """The committed blocks up to a height, each with a snapshot that is never held for long."""
    height = 0
    while height < last:
        began = time.monotonic()
        with BlockTree.open_read_only(data_dir) as tree:
            for block in tree.blocks(height + 1):
                with block:
                    height = block.height
                    yield tree, block
                if height >= last or time.monotonic() - began > HOLD_SECONDS:
                    break
            else:
                raise NotProven(f"the committed chain ends at height {height}, before {last}")


def _height(data_dir: pathlib.Path) -> int:
    with BlockTree.open_read_only(data_dir) as tree:
        return tree.committed_height


def rows(data_dir: pathlib.Path, what: str, progress: Progress) -> Iterator[Row]:
    """Blocks, or the validators of each epoch, to be written as a table."""
    if what == "validators":
        yield from _validator_rows(data_dir)
        return
    height = _height(data_dir)
    with progress("reading", height) as advance:
        for tree, block in _walk(data_dir, height):
            yield _block(tree, tree.genesis_hash, block)
            advance(1)


def _validator_rows(data_dir: pathlib.Path) -> Iterator[Row]:
    with BlockTree.open_read_only(data_dir) as tree:
        for epoch in sorted(_epochs_downward(tree)):
            with tree.validators(epoch) as validators:
                for address, power in validators:
                    yield {"epoch": epoch, "validator": address.hex(), "power": power}


# ---- verifying -------------------------------------------------------------------------------


def verify(data_dir: pathlib.Path, expected: hotstuff.Hash | None, progress: Progress) -> Row:
    """Goes from the genesis to the last committed block: each block is what its hash says and
    stands on the one before; each certificate verifies; each epoch was begun by the validators of
    the one before it; and the last block is committed."""
    with BlockTree.open_read_only(data_dir) as tree:
        height, genesis = tree.committed_height, tree.genesis_hash
        validators = tree.validators(0)
        if expected is not None and genesis != expected:
            raise NotProven(
                f"{data_dir} is of the chain {genesis.hex()}, expected {expected.hex()}"
            )
    walk = _Walk(genesis, validators)
    with progress("verifying", height) as advance, contextlib.closing(walk):
        for tree, block in _walk(data_dir, height):
            walk.step(tree, block)
            advance(1)
        return {
            "genesis": genesis.hex(),
            "blocks": walk.height,
            "epochs": walk.epoch + 1,
            "bytes": walk.data_bytes,
            "proven_height": _prove_end(data_dir, walk),
        }


def _prove_end(data_dir: pathlib.Path, walk: _Walk) -> int:
    """The last height that is proven to be committed by certificates."""
    with BlockTree.open_read_only(data_dir) as tree:
        for height in range(walk.height, max(0, walk.height - _UNPROVEN_MAX), -1):
            block = tree.block_at(height)
            if block is None:
                raise NotProven(f"block {height} is gone")
            with block, contextlib.suppress(hotstuff.NotFound):
                walk.check_committed(block, tree.commit_proof(block.hash))
                return height
    if walk.height:
        raise NotProven("none of the last blocks has the certificates that commit it")
    return 0


_UNPROVEN_MAX = 16
"""Blocks at the end whose own certificates may not be on this disk yet."""


class _Walk:
    """What is known for sure, block by block."""

    def __init__(self, genesis: hotstuff.Hash, validators: ValidatorSet) -> None:
        self.genesis = genesis
        self._sets = [validators]  # of each epoch
        self._last_hash = genesis
        self.height, self.data_bytes = 0, 0

    def close(self) -> None:
        for validators in self._sets:
            validators.close()

    @property
    def epoch(self) -> int:
        return len(self._sets) - 1

    def step(self, tree: BlockTree, stored: Block) -> None:
        where = f"block {self.height + 1}"
        with Block.decode(self.genesis, stored.encode()) as block:  # names it anew
            if block.hash != stored.hash:
                raise NotProven(f"{where} is not what its hash says")
            if block.parent_hash != self._last_hash or block.height != self.height + 1:
                raise NotProven(f"{where} does not stand on block {self.height}")
            while block.epoch > self.epoch:
                self._next_epoch(tree)
            if block.epoch != self.epoch:
                raise NotProven(f"{where} is of epoch {block.epoch}, after epoch {self.epoch}")
            self._check_justify(where, block)
            self._last_hash, self.height = block.hash, block.height
            self.data_bytes += len(block.data)

    def _next_epoch(self, tree: BlockTree) -> None:
        proof = tree.epoch_proof(self.epoch)
        try:
            self._sets.append(hotstuff.verify_epoch_proof(self.genesis, self._sets[-1], proof))
        except hotstuff.HotstuffError as failure:
            raise NotProven(f"the end of epoch {self.epoch}: {failure}") from failure

    def _check_justify(self, where: str, block: Block) -> None:
        """Of this epoch, or, in the first block of it, of the one before."""
        for trusted in reversed(self._sets[-2:]):
            try:
                hotstuff.verify_qc(self.genesis, trusted, block.justify)
                return
            except hotstuff.NotFound:
                continue
            except hotstuff.HotstuffError as failure:
                raise NotProven(f"{where}: its certificate: {failure}") from failure
        raise NotProven(f"{where}: its certificate is of another epoch")

    def check_committed(self, block: Block, proof: bytes) -> None:
        trusted = self._sets[block.epoch]
        hotstuff.verify_commit_proof(self.genesis, trusted, block.hash, proof)
