# SPDX-License-Identifier: Apache-2.0
"""The program: `kv run CONFIG` is one replica and its clients.

    clients --- server (main thread) --- pool --- app (a thread of the library)
                                          |                 |
                                       follower <------- replica ------- other replicas, by TCP

The follower reads the committed blocks one by one and finishes the commands it finds in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time

import hotstuff

from . import command as commands
from . import config as configuration
from . import keys, store
from .app import KvApp
from .config import Config, ConfigError
from .pool import Pool, Resolution, Verdict
from .server import Server
from .telling import EventFile

log = logging.getLogger("kv")

STOP_SECONDS = 10.0
EXIT_FAILURE, EXIT_USAGE, EXIT_HALTED = 1, 2, 3
SWITCH_SECONDS = 0.001
"""How long one thread may keep the interpreter while another waits for it: votes should not."""
LEVELS = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG // 2,
}


class CannotRun(Exception):
    """What keeps a replica from starting."""


# ---- the follower ----------------------------------------------------------------------------


class Follower(threading.Thread):
    """Ends when the replica is stopped, or cannot be followed any more; then calls `ended`."""

    def __init__(
        self, replica: hotstuff.Replica, pool: Pool, height: int, ended: asyncio.Event
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._replica, self._pool, self._ended = replica, pool, ended
        self._loop = asyncio.get_running_loop()
        self.height = height
        """Of the last block it has seen."""

    def run(self) -> None:
        try:
            for block in self._replica.committed_blocks(self.height):
                with block:
                    if len(self._pool):
                        self._pool.resolve(resolutions(block))
                    self.height = block.height
        except hotstuff.Halted:
            pass  # why, says wait()
        except Exception:
            log.exception("following the chain")
        with contextlib.suppress(RuntimeError):  # the loop may be closed already
            self._loop.call_soon_threadsafe(self._ended.set)


def resolutions(block: hotstuff.Block) -> list[Resolution]:
    """The commands of a committed block: those of our own clients have their answer."""
    data, height = block.data, block.height
    if not data:
        return []
    found = []
    epoch = block.epoch + 1
    for kind, identity, sequence in commands.headers_of(data):
        made = epoch if kind == commands.VALIDATOR else sequence
        found.append(Resolution(identity, Verdict.COMMITTED, height, made))
    return found


# ---- from the configuration to a replica -----------------------------------------------------


def make_config(config: Config, key: hotstuff.KeyPair | None) -> hotstuff.Config:
    """What all replicas of a chain have in common; with a key, also what this one has."""
    made = hotstuff.Config(
        chain_id=config.number("chain_id"),
        commit_rule=hotstuff.CommitRule(config.number("commit_rule")),
        max_idle_ms=config.number("max_idle_ms"),
        max_block_bytes=config.number("block_bytes_max"),
        validators={peer.address: peer.power for peer in config.peers if peer.power},
        genesis_state=store.GENESIS_STATE,
        key=key,
        data_dir=config["data_dir"],
        create=bool(config.number("create")),
        map_size=config.number("map_bytes") or None,
        view_timeout_ms=(config.number("view_timeout_ms"), config.number("max_view_timeout_ms")),
        vote_to=hotstuff.VoteTo(config.number("vote_to")),
    )
    for name, value in config.options.items():  # last: they may refine any of the others
        try:
            made.set_option(name, value)
        except hotstuff.HotstuffError as failure:
            raise CannotRun(f"option.{name}: {failure}") from failure
    return made


def make_network(
    config: Config, made: hotstuff.Config, key: hotstuff.KeyPair
) -> hotstuff.TcpNetwork:
    """The transport must carry the longest message of the chain, and a few of them in a queue."""
    longest = made.max_message_bytes
    peers = {p.address: p.host_port for p in config.peers if p.address != key.address}
    return hotstuff.TcpNetwork(
        key,
        listen=config["listen"],
        peers=peers,
        max_listeners=config.number("max_listeners"),
        max_message_bytes=longest,
        queue_bytes=4 * longest,
    )


def open_replica(
    config: Config, key: hotstuff.KeyPair, app: KvApp, events: EventFile | None
) -> hotstuff.Replica:
    with make_config(config, key) as made, make_network(config, made, key) as network:
        app.genesis = made.genesis_hash
        try:
            replica = hotstuff.Replica(made, app, network, events)
        except hotstuff.HotstuffError as failure:
            raise CannotRun(f"{config['data_dir']}: {failure}") from failure
    app.ask_again = replica.notify
    return replica


# ---- kv run ----------------------------------------------------------------------------------


class Stopping:
    """Why the server is to end: a signal, or the replica's own end."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.signalled = False

    def on_signal(self) -> None:
        self.signalled = True
        self.event.set()


async def serve(config: Config, key: hotstuff.KeyPair, events: EventFile | None) -> int:
    loop, stopping = asyncio.get_running_loop(), Stopping()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.on_signal)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody hears the answers
            loop.call_soon_threadsafe(server.deliver_done)

    pool = Pool(config.number("pool_commands_max"), config.number("pool_bytes_max"), wake)
    app = KvApp(pool, config.number("block_bytes_max"), config.number("block_commands_max"))
    server = Server(config, pool, app)
    try:
        address = await server.listen()
    except (OSError, ValueError) as failure:
        raise CannotRun(f"client_listen {config['client_listen']}: {failure}") from failure
    with open_replica(config, key, app, events) as replica:
        return await serve_replica(config, pool, server, replica, stopping, address)


async def serve_replica(
    config: Config,
    pool: Pool,
    server: Server,
    replica: hotstuff.Replica,
    stopping: Stopping,
    address: str,
) -> int:
    with replica.snapshot() as tree:
        height = tree.committed_height
    replica.start()
    follower = Follower(replica, pool, height, stopping.event)
    follower.start()
    log.info(
        "chain %s from height %d: replicas at %s, clients at %s",
        config["chain_id"],
        height,
        config["listen"],
        address,
    )
    print(f"ready clients={address}", flush=True)
    await server.run(replica, stopping.event)

    result = why_it_ended(replica, stopping)
    try:
        replica.stop(STOP_SECONDS)
    except hotstuff.Timeout as failure:
        print(f"kv: stopping the replica: {failure}", file=sys.stderr, flush=True)
        os._exit(EXIT_FAILURE)  # there is no safe way on
    follower.join()
    log.info("stopped at height %d", follower.height)
    return result


def why_it_ended(replica: hotstuff.Replica, stopping: Stopping) -> int:
    """Was it us who stopped the replica, or did it stop itself?"""
    try:
        replica.wait(0)
    except hotstuff.Timeout:
        pass
    except hotstuff.Halted as failure:
        print(f"kv: the replica has halted: {failure}", file=sys.stderr)
        return EXIT_HALTED
    except Exception as failure:
        print(f"kv: the app has failed: {failure!r}", file=sys.stderr)
        return EXIT_FAILURE
    return 0 if stopping.signalled else EXIT_FAILURE


def run(config: Config, events_path: str | None) -> int:
    sys.setswitchinterval(SWITCH_SECONDS)
    with keys.load(config["key_file"]) as key, contextlib.ExitStack() as stack:
        events = None
        if events_path is not None:
            try:
                events = stack.enter_context(contextlib.closing(EventFile(events_path)))
            except OSError as failure:
                raise CannotRun(f"{events_path}: {failure.strerror}") from failure
        return asyncio.run(serve(config, key, events))


# ---- the command line ------------------------------------------------------------------------

USAGE = """\
kv - a replicated key-value server, an example of libhotstuff {version} in Python

  kv keygen FILE                     make a key, print its address
  kv address FILE                    print the address of a key
  kv check CONFIG                    read a configuration, say what is wrong with it
  kv genesis CONFIG                  print the genesis hash: it must be the same everywhere
  kv run CONFIG [--log-level LEVEL]  run a replica; LEVEL: off error warn info debug trace [info]
         [--events FILE]             and write what happens to FILE, as lines of JSON
  kv --help | --version

CONFIG has lines of `key = value`; '#' begins a comment. Paths are relative to where kv runs.
{keys}

Clients talk in lines (try `nc 127.0.0.1 PORT`); a request and its answer are a line each:
  SET key value         OK height            after its commit
  DEL key               OK height
  GET key               VALUE value | NONE   as committed at this replica
  VALIDATOR address n   OK height epoch      that replica has power n from this epoch on; 0: none
  OPEN [nonce]          OK height session    a session, for requests that can be repeated safely:
  @session:sequence SET|DEL|VALIDATOR ...    is applied once, wherever and however often it is sent
  HASH height           OK height state-hash block-hash
  EVIDENCE index        OK kind epoch=n view=n validator=address: who has lied, and is convicted
  STATUS                OK name=value ...
  HELP, QUIT
Failures: ERR syntax | busy | timeout | stale | expired | refused | listener | stopping | notfound |
internal.
Clients are not authenticated: keep client_listen on loopback, or behind something that asks.

The same program as examples-c/kv, whose README says more: one chain may have replicas of both.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 could not start, 2 wrong usage, 3 the replica halted.
"""


def log_to_stderr(level: int) -> None:
    """Lines as of the C program: "12:34:56.789 WARN  transport: text"."""

    class Lines(logging.Formatter):
        converter = staticmethod(time.gmtime)

        def format(self, record: logging.LogRecord) -> str:
            record.name = record.name.removeprefix("hotstuff.")
            record.levelname = {"WARNING": "WARN"}.get(record.levelname, record.levelname)
            return super().format(record)

    handler = logging.StreamHandler()
    text = "%(asctime)s.%(msecs)03d %(levelname)-5s %(name)s: %(message)s"
    handler.setFormatter(Lines(text, "%H:%M:%S"))
    logging.addLevelName(LEVELS["trace"], "TRACE")
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if level <= logging.ERROR:
        hotstuff.log_to_logging(level)


def wrong_usage(what: str) -> int:
    print(f"kv: {what}; `kv --help` explains", file=sys.stderr)
    return EXIT_USAGE


def perform(verb: str, path: str, events_path: str | None) -> int:
    if verb == "keygen":
        print(keys.generate(path).hex())
        return 0
    if verb == "address":
        with keys.load(path) as key:
            print(key.address.hex())
        return 0
    config = configuration.load(path)
    if verb == "run":
        return run(config, events_path)
    if verb == "genesis":
        with make_config(config, None) as made:
            print(made.genesis_hash.hex())
    else:
        print(f"{path}: {config.validator_count} validators")
    return 0


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    verb = words[0] if words else "--help"
    version = hotstuff.__version__
    if verb in ("--help", "help"):
        print(USAGE.format(version=version, keys=configuration.describe()), end="")
        return 0 if words else EXIT_USAGE
    if verb == "--version":
        print(f"kv, libhotstuff {version}, Python {sys.version.split()[0]}")
        return 0
    if verb not in ("keygen", "address", "run", "check", "genesis"):
        return wrong_usage("unknown command")
    if len(words) < 2:
        is_key = verb in ("keygen", "address")
        return wrong_usage("which key file?" if is_key else "which configuration?")
    options = dict(zip(words[2::2], words[3::2], strict=False))
    known = {"--log-level", "--events"} if verb == "run" else set()
    if len(words) != 2 + 2 * len(options) or not options.keys() <= known:
        return wrong_usage("too many arguments")
    level = options.get("--log-level", "info")
    if level not in LEVELS:
        return wrong_usage("--log-level: expected off, error, warn, info, debug or trace")
    log_to_stderr(LEVELS[level])
    try:
        return perform(verb, words[1], options.get("--events"))
    except ConfigError as failure:
        print(f"kv: {failure}", file=sys.stderr)
        return EXIT_USAGE
    except (CannotRun, keys.KeyFileError, hotstuff.HotstuffError) as failure:
        print(f"kv: {failure}", file=sys.stderr)
        return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
