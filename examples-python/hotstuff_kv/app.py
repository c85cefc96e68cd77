# SPDX-License-Identifier: Apache-2.0
"""Batches from the pool become blocks; blocks become updates.

Both roads run the same execution on the same parent, and the proposer writes the resulting state
hash into the block: replicas that would compute different states find out before they vote.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import hotstuff

from . import command as commands
from .pool import Pool
from .store import Execution, Outcome

log = logging.getLogger("kv")


class KvApp:
    def __init__(self, pool: Pool, block_bytes_max: int, block_commands_max: int) -> None:
        self._pool = pool
        self._bytes_max, self._commands_max = block_bytes_max, block_commands_max
        self.genesis: hotstuff.Hash = b""
        """What the parent of the first block is called; set once the replica is open."""
        self.ask_again: Callable[[], None] = lambda: None
        """Says that not all that could be proposed is."""
        self.refused = 0
        """How many blocks it has called invalid: 0 among correct replicas."""

    def propose_block(
        self, request: hotstuff.ProposeBlockRequest, updates: hotstuff.Updates
    ) -> bool:
        if len(self._pool) == 0:
            return False
        tree = request.block_tree
        height = self._height_of(tree, request.prev_block)
        if height is None:  # the parent is valid, but on no disk yet
            self.ask_again()
            return False
        execution = Execution(tree, height + 1)
        batch, is_more = self._gather(execution)
        if not batch:
            return False
        state_hash = execution.finish(updates)
        updates.set_data(commands.encode_batch(batch, state_hash))
        if is_more:
            self.ask_again()
        return True

    def _height_of(self, tree: hotstuff.BlockTree, hash: hotstuff.Hash) -> int | None:
        if hash == self.genesis:
            return 0
        parent = tree.block(hash)
        if parent is None:
            return None
        with parent:
            return parent.height

    def _gather(self, execution: Execution) -> tuple[list[bytes], bool]:
        """The waiting commands that are new on this branch, as far as they fit, and whether some
        are left for the next block."""
        batch: list[bytes] = []
        room = self._bytes_max - commands.BATCH_HEADER.size
        for item in self._pool.waiting():
            command = item.command
            if len(batch) == self._commands_max or command.encoded_len > room:
                return batch, True  # not the next smaller one: sessions keep their order
            outcome = execution.apply(command)
            if outcome is Outcome.FULL:
                return batch, True
            if outcome is not Outcome.APPLIED:
                continue
            if command.kind == commands.OPEN:
                command = command._replace(sequence=execution.session)
            batch.append(command.encode())
            room -= command.encoded_len
        return batch, False

    def validate_block(
        self, request: hotstuff.ValidateBlockRequest, updates: hotstuff.Updates
    ) -> bool:
        block = request.proposed_block
        data, height = block.data, block.height
        try:
            claimed, _ = commands.open_batch(data)
            execution = Execution(request.block_tree, height)
            for command in commands.commands_of(data):
                if execution.apply(command) is not Outcome.APPLIED:
                    return self._invalid(height, "a command that cannot be applied")
                if command.kind == commands.OPEN and command.sequence != execution.session:
                    return self._invalid(height, "a session with the wrong number")
        except commands.Malformed as why:
            return self._invalid(height, str(why))
        if execution.finish(updates) != claimed:
            return self._invalid(height, "its state hash is not the one computed here")
        return True

    def _invalid(self, height: int, why: str) -> bool:
        self.refused += 1
        log.warning("block %d is invalid: %s", height, why)
        return False
