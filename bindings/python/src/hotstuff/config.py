# SPDX-License-Identifier: Apache-2.0
"""What a replica is told when it is opened."""

from __future__ import annotations

import ctypes
import enum
import os
from collections.abc import Mapping

from . import _abi
from ._callbacks import Failures, forget
from ._library import fast
from ._objects import Managed, fixed, text
from .control import Pacemaker, ServedPacemaker, ServedSigner, Signer
from .errors import check
from .values import Address, Hash, KeyPair, ValidatorSet


class CommitRule(enum.IntEnum):
    """How many certificates in consecutive views commit a block."""

    THREE_CHAIN = _abi.COMMIT_RULE_THREE_CHAIN
    TWO_CHAIN = _abi.COMMIT_RULE_TWO_CHAIN


class VoteTo(enum.IntEnum):
    """To whom votes go."""

    AUTO = _abi.VOTE_TO_AUTO
    ALL = _abi.VOTE_TO_ALL
    NEXT_LEADER = _abi.VOTE_TO_NEXT_LEADER


class Durability(enum.IntEnum):
    """What a crash may take: see hotstuff.h before you choose the second."""

    SYNCED = _abi.DURABILITY_SYNCED
    PROCESS_CRASH = _abi.DURABILITY_PROCESS_CRASH


class Config(Managed):
    """Everything a replica is told when it is opened. One config may open any number of replicas.

    What is left out keeps the library's default. `chain_id`, `validators`, `genesis_state`,
    `commit_rule`, `max_idle_ms` and `max_block_bytes` make the genesis: the same on all replicas.
    Without a key the replica is a listener. `create` lets it begin the chain in `data_dir`: for the
    first start only. What a `signer` or `pacemaker` raises is raised by any replica of this config.
    """

    _free = staticmethod(fast.hotstuff_config_free)

    def __init__(
        self,
        *,
        chain_id: int | None = None,
        validators: Mapping[Address, int] | ValidatorSet | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        key: KeyPair | None = None,
        create: bool = False,
        genesis_state: Mapping[bytes, bytes] | None = None,
        commit_rule: CommitRule | None = None,
        max_idle_ms: int | None = None,
        max_block_bytes: int | None = None,
        view_timeout_ms: tuple[int, int] | None = None,
        vote_to: VoteTo | None = None,
        durability: Durability | None = None,
        map_size: int | None = None,
        sync: tuple[int, int] | None = None,
        signer: tuple[Address, Signer] | None = None,
        pacemaker: Pacemaker | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._failures = Failures()
        out = ctypes.c_void_p()
        check(fast.hotstuff_config_new(out), "making a config")
        super().__init__(out)
        if validators is not None:
            self._set_validators(validators)
        for state_key, value in (genesis_state or {}).items():
            self._set("genesis_state", state_key, len(state_key), value, len(value))
        if key is not None:
            self._set("keypair", key._handle)
        if data_dir is not None:
            self._set("data_dir", text(os.fspath(data_dir), "data_dir"))
        self._set("create", create)
        if view_timeout_ms is not None:
            self._set("view_timeout_ms", *view_timeout_ms)
        if sync is not None:
            self._set("sync", *sync)
        numbers = {
            "chain_id": chain_id,
            "commit_rule": commit_rule,
            "max_idle_ms": max_idle_ms,
            "max_block_bytes": max_block_bytes,
            "vote_to": vote_to,
            "durability": durability,
            "map_size": map_size,
        }
        for name, number in numbers.items():
            if number is not None:
                self._set(name, number)
        if signer is not None:
            fixed(signer[0], _abi.VALIDATOR_ADDRESS_LEN, "an address")
            self._set_table("signer", ServedSigner(signer[1], self._failures), signer[0])
        if pacemaker is not None:
            self._set_table("pacemaker", ServedPacemaker(pacemaker, self._failures))
        for name, option in (options or {}).items():
            self.set_option(name, option)

    def _set_table(
        self, name: str, serving: ServedSigner | ServedPacemaker, *arguments: object
    ) -> None:
        table = serving.table()
        try:
            self._set(name, *arguments, ctypes.byref(table))
        except BaseException:
            forget(table.userdata)
            raise

    def _set(self, name: str, *arguments: object) -> None:
        check(getattr(fast, f"hotstuff_config_set_{name}")(self._handle, *arguments), name)

    def _set_validators(self, validators: Mapping[Address, int] | ValidatorSet) -> None:
        if isinstance(validators, ValidatorSet):
            self._set("genesis_validators", validators._handle)
            return
        with ValidatorSet(validators) as made:
            self._set("genesis_validators", made._handle)

    def set_option(self, name: str, value: str) -> None:
        """Sets an option by its name, as "sync.interval_ms"; hotstuff.h lists them."""
        names = text(name, "a name"), text(value, "a value")
        check(fast.hotstuff_config_set_option(self._handle, *names), f"option {name}")

    @property
    def genesis_hash(self) -> Hash:
        """Replicas work together only if theirs are equal."""
        out = _abi.hotstuff_hash()
        check(fast.hotstuff_config_genesis_hash(self._handle, out), "the genesis hash")
        return bytes(out.bytes)

    @property
    def max_message_bytes(self) -> int:
        """What a transport must be able to carry."""
        out = ctypes.c_uint64()
        check(fast.hotstuff_config_max_message_bytes(self._handle, out), "the message limit")
        return out.value
