# SPDX-License-Identifier: Apache-2.0
"""How replicas reach each other: the built-in TCP mesh, or a transport of your own."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from . import _abi
from ._callbacks import Failures, destroy, field_type, forget, serve, served
from ._library import fast, library
from ._objects import Managed, fixed, take_bytes, text
from .errors import WouldBlock, check
from .values import Address, KeyPair


class Network(Protocol):
    """A transport of your own. The methods are called from several threads of the library at once,
    and must not block. Messages may be lost, delayed, repeated and reordered; but who sent one must
    be told truly, so that a peer's flood costs that peer and no other.

    The host hands what it receives to `Replica.deliver`; or see `PullNetwork`.
    """

    def connect(self, peer: Address) -> None:
        """`peer` is a validator: keep a connection to it."""
        ...

    def disconnect(self, peer: Address) -> None:
        """`peer` is a validator no longer."""
        ...

    def send(self, peer: Address, message: bytes) -> None:
        """Queues a message for a peer. Raise WouldBlock, or drop it, if it cannot be queued: the
        protocol sends again."""
        ...


@runtime_checkable
class PullNetwork(Network, Protocol):
    """A transport from which the library takes what was received."""

    def receive(self, timeout: float) -> tuple[Address, bytes] | None:
        """Waits for a message, at most `timeout` seconds; None if there was none. It must wait."""
        ...


@runtime_checkable
class BroadcastNetwork(Network, Protocol):
    """A transport that can send one message to all peers at once."""

    def broadcast(self, message: bytes) -> None:
        """Queues a message for every connected peer."""
        ...


class OpenNetwork(Managed):
    """A network that a replica may take over, which then owns it."""

    _free = staticmethod(library.hotstuff_network_free)

    def __init__(self, pointer: ctypes.c_void_p, failures: Failures | None = None) -> None:
        super().__init__(pointer)
        self._failures = failures or Failures()

    def _give_up(self) -> None:
        """A replica has taken it over."""
        self._pointer = None


class TcpNetwork(OpenNetwork):
    """A TCP mesh under TLS 1.3, in which each end proves its key; other keys are refused.

    `listen` is "host:port", port 0 for a free one; without it the network only dials. `peers` says
    where each peer listens; `peer_keys` under which key it is met, if that is not its own.

    It listens at once, and connects when a replica that has taken it starts. The message limit must
    carry what `Config.max_message_bytes` says.
    """

    def __init__(
        self,
        key: KeyPair,
        *,
        listen: str | None = None,
        peers: Mapping[Address, str] | Iterable[tuple[Address, str]] = (),
        peer_keys: Mapping[Address, Address] | None = None,
        max_listeners: int = 0,
        max_message_bytes: int | None = None,
        queue_bytes: int | None = None,
    ) -> None:
        with _TcpConfig() as config:
            if listen is not None:
                config.set("listen", text(listen, "an address"))
            for peer, address in peers.items() if isinstance(peers, Mapping) else peers:
                fixed(peer, _abi.VALIDATOR_ADDRESS_LEN, "an address")
                config.add_peer(peer, text(address, "an address"))
            for peer, proven in (peer_keys or {}).items():
                fixed(peer, _abi.VALIDATOR_ADDRESS_LEN, "an address")
                fixed(proven, _abi.VALIDATOR_ADDRESS_LEN, "a key")
                check(fast.hotstuff_tcp_config_set_peer_key(config._handle, peer, proven), "a key")
            config.set("max_listeners", max_listeners)
            if max_message_bytes is not None:
                config.set("max_message_bytes", max_message_bytes)
            if queue_bytes is not None:
                config.set("queue_bytes", queue_bytes)
            out, err = ctypes.c_void_p(), ctypes.c_void_p()
            status = library.hotstuff_network_tcp(config._handle, key._handle, out, err)
            check(status, f"listening at {listen}" if listen else "making a TCP network", err)
        super().__init__(out)

    @property
    def local_address(self) -> str:
        """Where it listens, with the port it was given. Ask before a replica takes it."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_network_local_addr(self._handle, out), "the address of the network")
        return take_bytes(out).decode()


class _TcpConfig(Managed):
    _free = staticmethod(fast.hotstuff_tcp_config_free)

    def __init__(self) -> None:
        out = ctypes.c_void_p()
        check(fast.hotstuff_tcp_config_new(out), "making a TCP config")
        super().__init__(out)

    def set(self, name: str, value: bytes | int) -> None:
        function = getattr(fast, f"hotstuff_tcp_config_set_{name}")
        check(function(self._handle, value), name)

    def add_peer(self, peer: Address, address: bytes) -> None:
        check(fast.hotstuff_tcp_config_add_peer(self._handle, peer, address), "a peer")


class CallbackNetwork(OpenNetwork):
    """A network made of a transport of your own. A replica makes it by itself of any `Network`."""

    def __init__(self, network: Network) -> None:
        serving = _ServedNetwork(network)
        table = serving.table()
        out = ctypes.c_void_p()
        status = library.hotstuff_network_from_callbacks(ctypes.byref(table), out)
        if status != _abi.OK:
            forget(table.userdata)
        check(status, "making a network")
        super().__init__(out, serving.failures)


class _ServedNetwork:
    def __init__(self, network: Network) -> None:
        self.network, self.failures = network, Failures()
        self.receive = getattr(network, "receive", None)
        self.broadcast = getattr(network, "broadcast", None)

    def table(self) -> _abi.hotstuff_network_callbacks:
        table = _abi.hotstuff_network_callbacks()
        fast.hotstuff_network_callbacks_init(table, ctypes.sizeof(table))
        table.userdata = serve(self)
        table.destroy = destroy
        table.connect = _connect
        table.disconnect = _disconnect
        table.send = _send
        if self.broadcast is not None:
            table.broadcast = _broadcast
        if self.receive is not None:
            table.receive = _receive
        return table

    def run(self, call: Any, *arguments: Any) -> int:
        """The status of a callback that returns nothing."""
        try:
            call(*arguments)
            return _abi.OK
        except WouldBlock:
            return _abi.E_WOULD_BLOCK
        except BaseException as failure:
            self.failures.keep(failure)
            return _abi.E_CALLBACK


def _address(pointer: int) -> Address:
    return ctypes.string_at(pointer, _abi.VALIDATOR_ADDRESS_LEN)


def _on_connect(number: int | None, peer: int) -> int:
    serving = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    return int(serving.run(serving.network.connect, _address(peer)))


def _on_disconnect(number: int | None, peer: int) -> int:
    serving = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    return int(serving.run(serving.network.disconnect, _address(peer)))


def _on_send(number: int | None, peer: int, message: int, length: int) -> int:
    serving = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    return int(serving.run(serving.network.send, _address(peer), ctypes.string_at(message, length)))


def _on_broadcast(number: int | None, message: int, length: int) -> int:
    serving = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    return int(serving.run(serving.broadcast, ctypes.string_at(message, length)))


def _on_receive(number: int | None, timeout_ms: int, inbox: int) -> int:
    serving: _ServedNetwork | None = served(number)
    if serving is None or serving.receive is None:
        return _abi.E_CLOSED
    try:
        received = serving.receive(timeout_ms / 1000)
        if received is None:
            return _abi.E_TIMEOUT
        peer, message = received
        fixed(peer, _abi.VALIDATOR_ADDRESS_LEN, "an address")
        return int(fast.hotstuff_inbox_put(inbox, peer, message, len(message)))
    except BaseException as failure:
        serving.failures.keep(failure)
        return _abi.E_CALLBACK


_connect = field_type(_abi.hotstuff_network_callbacks, "connect")(_on_connect)
_disconnect = field_type(_abi.hotstuff_network_callbacks, "disconnect")(_on_disconnect)
_send = field_type(_abi.hotstuff_network_callbacks, "send")(_on_send)
_broadcast = field_type(_abi.hotstuff_network_callbacks, "broadcast")(_on_broadcast)
_receive = field_type(_abi.hotstuff_network_callbacks, "receive")(_on_receive)
