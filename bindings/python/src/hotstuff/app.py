# SPDX-License-Identifier: Apache-2.0
"""The app: what is replicated.

It is a deterministic function of a block and the state of its parent: the same answer on every
replica, today and after a restart. It keeps what must last in the state updates and nowhere else.
"""

from __future__ import annotations

import ctypes
from typing import Protocol

from . import _abi
from ._callbacks import Failures, destroy, field_type, serve, served
from ._library import fast
from ._objects import fixed
from .block_tree import BlockTree, LentBlockTree
from .errors import check
from .values import Address, Block, Hash, LentBlock


class Updates:
    """What the app answers: a block's data, and what the block changes. Bytes are copied at once.

    An answer of which a part was refused counts as failed. Valid during the callback.
    """

    __slots__ = ("_pointer",)

    def __init__(self, pointer: int | None) -> None:
        self._pointer = pointer

    def set_data(self, data: bytes) -> None:
        """The data of the block that is proposed: at least 1 byte."""
        check(fast.hotstuff_updates_set_data(self._live(), data, len(data)), "the block's data")

    def set_state(self, key: bytes, value: bytes) -> None:
        """Sets one key of the app's state: 1 to 500 bytes, and a value of up to 16 MiB."""
        status = fast.hotstuff_updates_set_state(self._live(), key, len(key), value, len(value))
        if status != _abi.OK:
            check(status, "a state update")

    def delete_state(self, key: bytes) -> None:
        """Deletes one key of the app's state, whether or not it is there."""
        check(fast.hotstuff_updates_delete_state(self._live(), key, len(key)), "a state update")

    def set_validator(self, address: Address, power: int) -> None:
        """Gives a validator a power from the next epoch on; 0 removes it."""
        fixed(address, _abi.VALIDATOR_ADDRESS_LEN, "an address")
        check(fast.hotstuff_updates_set_validator(self._live(), address, power), "a validator")

    def _live(self) -> int:
        if self._pointer is None:
            raise ValueError("updates may be written during their callback only")
        return self._pointer

    def _end(self) -> None:
        self._pointer = None


class ProposeBlockRequest:
    """ "You lead: is there work?" It comes while the votes for the parent come in: the block may
    come to nothing, and its work is asked for again. Valid during the callback."""

    def __init__(self, pointer: int) -> None:
        self._tree = LentBlockTree(
            ctypes.c_void_p(fast.hotstuff_propose_block_request_block_tree(pointer))
        )
        self.cur_view = int(fast.hotstuff_propose_block_request_cur_view(pointer))
        """The view in which the block will be proposed."""
        self.budget = fast.hotstuff_propose_block_request_budget_ms(pointer) / 1000
        """Seconds in which the answer is of use: those that are left of the view."""
        prev = _abi.hotstuff_hash()
        fast.hotstuff_propose_block_request_prev_block(pointer, prev)
        self.prev_block: Hash = bytes(prev.bytes)
        """The block to build on; the genesis hash for the first."""

    @property
    def block_tree(self) -> BlockTree:
        """The chain, with the state as of the block to build on."""
        return self._tree

    def _end(self) -> None:
        self._tree.close()


class ValidateBlockRequest:
    """ "Is this block right, and what does it change?" Valid during the callback."""

    def __init__(self, pointer: int) -> None:
        self._tree = LentBlockTree(
            ctypes.c_void_p(fast.hotstuff_validate_block_request_block_tree(pointer))
        )
        self._block = LentBlock(
            ctypes.c_void_p(fast.hotstuff_validate_block_request_proposed_block(pointer))
        )
        self.cur_view = int(fast.hotstuff_validate_block_request_cur_view(pointer))
        """The view that the replica is in."""
        self.is_sync = bool(fast.hotstuff_validate_block_request_is_sync(pointer))
        """Whether the replica is catching up: the block has a certificate already."""

    @property
    def proposed_block(self) -> Block:
        """The block in question. Its data may be empty: the library made it alone."""
        return self._block

    @property
    def block_tree(self) -> BlockTree:
        """The chain, with the state as of the block's parent."""
        return self._tree

    def _end(self) -> None:
        self._tree.close()
        self._block.close()


class App(Protocol):
    """What is replicated. The methods run on one thread of the library, one at a time."""

    def propose_block(self, request: ProposeBlockRequest, updates: Updates) -> bool:
        """Makes a block: fill `updates`, its data included, and return True; or return False if
        there is nothing to propose. The updates must be those that `validate_block` gives for this
        block elsewhere: here it is not asked again. An exception costs the view."""
        ...

    def validate_block(self, request: ValidateBlockRequest, updates: Updates) -> bool:
        """Judges a block: say in `updates` what it changes and return True, or return False if no
        correct leader proposes it. An exception means undecided: the replica does not vote."""
        ...


class ServedApp:
    """An app, as the trampolines find it."""

    def __init__(self, app: App, failures: Failures) -> None:
        self.app, self.failures = app, failures

    def table(self) -> _abi.hotstuff_app_callbacks:
        table = _abi.hotstuff_app_callbacks()
        fast.hotstuff_app_callbacks_init(table, ctypes.sizeof(table))
        table.userdata = serve(self)
        table.destroy = destroy
        table.propose_block = _propose_block
        table.validate_block = _validate_block
        return table


def _on_propose_block(number: int | None, pointer: int, updates_pointer: int) -> int:
    serving: ServedApp | None = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    updates = Updates(updates_pointer)
    try:
        request = ProposeBlockRequest(pointer)
        try:
            proposes = serving.app.propose_block(request, updates)
        finally:
            request._end()
            updates._end()
        return _abi.OK if proposes else _abi.PROPOSE_DEFER
    except BaseException as failure:
        serving.failures.keep(failure)
        return _abi.E_CALLBACK


def _on_validate_block(number: int | None, pointer: int, updates_pointer: int) -> int:
    serving: ServedApp | None = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    updates = Updates(updates_pointer)
    try:
        request = ValidateBlockRequest(pointer)
        try:
            is_valid = serving.app.validate_block(request, updates)
        finally:
            request._end()
            updates._end()
        return _abi.BLOCK_VALID if is_valid else _abi.BLOCK_INVALID
    except BaseException as failure:
        serving.failures.keep(failure)
        return _abi.E_CALLBACK


_propose_block = field_type(_abi.hotstuff_app_callbacks, "propose_block")(_on_propose_block)
_validate_block = field_type(_abi.hotstuff_app_callbacks, "validate_block")(_on_validate_block)
