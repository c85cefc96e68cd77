# SPDX-License-Identifier: Apache-2.0
"""The configuration file of examples-c/kv: lines of `key = value`, comments after '#'."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from .command import BLOCK_BYTES_MIN, BLOCK_COMMANDS_MAX, KEY_MAX, VALUE_MAX

LINE_MAX = 1024
PEERS_MAX = 128
OPTIONS_MAX = 64
_MS_MAX = 24 * 60 * 60 * 1000
_U64_MAX = 2**64 - 1


class ConfigError(Exception):
    """What is wrong, and on which line."""


@dataclass(frozen=True)
class Key:
    """A key of the file: a text, a number in a range, or one of a few words."""

    name: str
    meaning: str
    initial: str | None = None
    """None: the key is required."""
    range: tuple[int, int] | None = None
    choices: tuple[str, ...] = ()


KEYS = (
    Key(
        "chain_id",
        "the same for all replicas of a chain, different for each chain",
        range=(0, _U64_MAX),
    ),
    Key("key_file", "made by `kv keygen`; mode 0600"),
    Key("data_dir", "of this replica alone"),
    Key(
        "create",
        "make data_dir if it is missing: for the first start only",
        "false",
        choices=("false", "true"),
    ),
    Key("listen", "host:port for the other replicas"),
    Key(
        "client_listen",
        "[host:]port for clients; host is 127.0.0.1 unless named, port 0 takes any",
    ),
    Key("view_timeout_ms", "how long a view may take at first", "1000", (1, _MS_MAX)),
    Key("max_view_timeout_ms", "and at most; at least view_timeout_ms", "8000", (1, _MS_MAX)),
    Key(
        "max_idle_ms",
        "an idle chain makes an empty block this often; one value for the whole chain",
        "10000",
        (1, _MS_MAX),
    ),
    Key(
        "commit_rule",
        "one value for the whole chain",
        "three_chain",
        choices=("three_chain", "two_chain"),
    ),
    Key("vote_to", "who collects votes", "auto", choices=("auto", "all", "next_leader")),
    Key(
        "map_bytes",
        "the most the database may hold; 0: the library's choice",
        "0",
        (0, 1 << 46),
    ),
    Key("block_bytes_max", "one value for the whole chain", "262144", (BLOCK_BYTES_MIN, 64 << 20)),
    Key(
        "block_commands_max",
        "in blocks that this replica proposes",
        "1000",
        (1, BLOCK_COMMANDS_MAX),
    ),
    Key(
        "pool_commands_max",
        "commands waiting here; more are answered ERR busy",
        "4096",
        (1, 2 * BLOCK_COMMANDS_MAX),
    ),
    Key("pool_bytes_max", "and their keys and values", "16777216", (KEY_MAX + VALUE_MAX, 1 << 30)),
    Key(
        "commit_timeout_ms",
        "a command that waits longer is answered ERR timeout",
        "10000",
        (1, _MS_MAX),
    ),
    Key("connections_max", "clients at a time", "64", (1, 1024)),
    Key(
        "max_listeners",
        "replicas of unknown keys that may follow the chain from here",
        "0",
        (0, 1024),
    ),
    Key(
        "client_idle_ms",
        "a client that says nothing for so long is sent away",
        "300000",
        (1, _MS_MAX),
    ),
)
_KEYS = {key.name: key for key in KEYS}


@dataclass
class Peer:
    """A replica of the chain, oneself included."""

    address: bytes
    power: int
    """In the genesis; 0: no validator at first."""
    host_port: str
    line: int


@dataclass
class Config:
    """What a file says, and the defaults for what it does not."""

    texts: dict[str, str] = field(default_factory=dict)
    peers: list[Peer] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def number(self, key: str) -> int:
        """A number; of a choice, its place among the choices."""
        known = _KEYS[key]
        return known.choices.index(self[key]) if known.choices else int(self[key])

    @property
    def validator_count(self) -> int:
        return sum(peer.power > 0 for peer in self.peers)


def load(path: str) -> Config:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as failure:
        raise ConfigError(f"{path}: {failure.strerror}") from failure
    return _Reader(path).read(content)


def _is_number(text: str, low: int, high: int) -> bool:
    return text.isascii() and text.isdigit() and low <= int(text) <= high


class _Reader:
    def __init__(self, path: str) -> None:
        self._path, self._line, self._config = path, 0, Config()
        self._seen: dict[str, int] = {}
        self._option_lines: dict[str, int] = {}

    def _complain(self, key: str, text: str) -> NoReturn:
        where = f"{self._path}:{self._line}: "
        raise ConfigError(where + (f"{key}: " if key else "") + text)

    def read(self, content: bytes) -> Config:
        for line in content.split(b"\n"):
            self._line += 1
            if b"\0" in line[: LINE_MAX - 1]:
                self._complain("", "expected text, got a NUL byte")
            if len(line) >= LINE_MAX:
                self._complain("", f"expected a line of less than {LINE_MAX} bytes")
            self._read_line(line.decode("utf-8", "surrogateescape"))
        self._complete()
        return self._config

    def _read_line(self, line: str) -> None:
        line = line.partition("#")[0].strip(" \t\r\n")
        if not line:
            return
        key, equals, value = line.partition("=")
        if not equals or not key:
            self._complain("", f'expected `key = value`, got "{line}"')
        self._assign(key.strip(" \t\r\n"), value.strip(" \t\r\n"))

    def _assign(self, key: str, value: str) -> None:
        if not value:
            self._complain(key, "expected a value after '='")
        if key in ("validator", "peer"):
            self._add_peer(key, value)
        elif key.startswith("option."):
            self._add_option(key, value)
        elif key not in _KEYS:
            self._complain(key, "unknown key; `kv --help` lists those that exist")
        elif key in self._seen:
            self._complain(key, f"already set on line {self._seen[key]}")
        else:
            self._seen[key] = self._line
            self._set(_KEYS[key], value)

    def _set(self, key: Key, value: str) -> None:
        if key.choices and value not in key.choices:
            self._complain(key.name, f'expected {" or ".join(key.choices)}, got "{value}"')
        if key.range is not None and not _is_number(value, *key.range):
            low, high = key.range
            self._complain(key.name, f'expected a whole number from {low} to {high}, got "{value}"')
        self._config.texts[key.name] = value

    def _add_peer(self, key: str, value: str) -> None:
        """`validator = ADDRESS POWER HOST:PORT`, or `peer = ADDRESS HOST:PORT`."""
        is_validator = key == "validator"
        expected = (
            "expected `address power host:port`, the address being 64 hexadecimal digits and the "
            "power a whole number from 1"
            if is_validator
            else "expected `address host:port`, the address being 64 hexadecimal digits"
        )
        if len(self._config.peers) == PEERS_MAX:
            self._complain(key, f"at most {PEERS_MAX} of them")
        words = value.split()
        if len(words) != (3 if is_validator else 2):
            self._complain(key, expected)
        try:
            address = bytes.fromhex(words[0]) if len(words[0]) == 64 else b""
        except ValueError:
            address = b""
        if len(address) != 32:
            self._complain(key, f'{expected}; the address is "{words[0]}"')
        if is_validator and not _is_number(words[1], 1, _U64_MAX):
            self._complain(key, f'{expected}; the power is "{words[1]}"')
        if ":" not in words[-1]:
            self._complain(key, f'{expected}; instead of host:port is "{words[-1]}"')
        for peer in self._config.peers:
            if peer.address == address:
                self._complain(key, f"this address is already on line {peer.line}")
        power = int(words[1]) if is_validator else 0
        self._config.peers.append(Peer(address, power, words[-1], self._line))

    def _add_option(self, key: str, value: str) -> None:
        name = key.removeprefix("option.")
        if not name:
            self._complain(key, "expected `option.NAME = value`")
        if name in self._option_lines:
            self._complain(key, f"already set on line {self._option_lines[name]}")
        if len(self._option_lines) == OPTIONS_MAX:
            self._complain(key, f"at most {OPTIONS_MAX} options")
        self._option_lines[name] = self._line
        self._config.options[name] = value

    def _complete(self) -> None:
        """Defaults for what was not said, and what only the whole can show."""
        for key in KEYS:
            if key.name in self._seen:
                continue
            if key.initial is None:
                self._complain(key.name, f"missing at the end of the file; expected {key.meaning}")
            self._config.texts[key.name] = key.initial
        if self._config.validator_count == 0:
            self._complain("validator", "missing at the end of the file; expected one line each")
        first, most = self._config.number("view_timeout_ms"), "max_view_timeout_ms"
        if self._config.number(most) < first:
            self._line = self._seen.get(most, self._line)
            self._complain(
                most,
                f'expected at least view_timeout_ms, which is {first}, got "{self._config[most]}"',
            )


def describe() -> str:
    """One line for each key, for `kv --help`."""
    lines = []
    for key in KEYS:
        choices = f" ({', '.join(key.choices)})" if key.choices else ""
        initial = "; required" if key.initial is None else f" [{key.initial}]"
        lines.append(f"  {key.name:20} {key.meaning}{choices}{initial}")
    others = {
        "validator": "ADDRESS POWER HOST:PORT; one line for each of the genesis; required",
        "peer": "ADDRESS HOST:PORT; a replica that is no validator at first",
        "option.NAME": "any option of the library, by its name",
    }
    lines += [f"  {name:20} {meaning}" for name, meaning in others.items()]
    return "\n".join(lines)
