# SPDX-License-Identifier: Apache-2.0
"""Clusters on one machine: keys, configurations, processes."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from hotstuff_kv import __main__ as kv_program
from hotstuff_kv import config as kv_config
from hotstuff_kv import keys
from rich.table import Table

import hotstuff

from .console import console, errors

START_SECONDS = 30.0
STOP_SECONDS = 15.0
CONFIG = """\
# Replica {number} of `hotstuff localnet`.
chain_id = {chain_id}
key_file = {directory}/{number}.key
data_dir = {directory}/{number}.data
create = true
listen = 127.0.0.1:{port}
client_listen = 127.0.0.1:{client_port}
view_timeout_ms = {view_timeout_ms}
max_view_timeout_ms = {longest_ms}
max_idle_ms = 2000
max_listeners = 4
"""


class Failed(Exception):
    """A cluster that could not be written or run."""


def genesis_of(config: pathlib.Path) -> hotstuff.Hash:
    """The genesis hash of a kv configuration."""
    with kv_program.make_config(kv_config.load(str(config)), None) as made:
        return made.genesis_hash


@dataclass(frozen=True)
class Member:
    """One replica, as its configuration says."""

    number: int
    config: pathlib.Path
    address: str
    """In hexadecimal digits."""
    listen: str
    client: str

    @property
    def log(self) -> pathlib.Path:
        return self.config.with_suffix(".log")

    @property
    def events(self) -> pathlib.Path:
        return self.config.with_suffix(".events.jsonl")


def read_members(directory: pathlib.Path) -> list[Member]:
    """The replicas that were written into a directory."""
    found: list[Member] = []
    for path in sorted(directory.glob("*.conf"), key=lambda path: (len(path.name), path.name)):
        config = kv_config.load(str(path))
        with keys.load(config["key_file"]) as key:
            address = key.address.hex()
        number = len(found)
        found.append(Member(number, path, address, config["listen"], config["client_listen"]))
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for its in sockets:
            its.bind(("127.0.0.1", 0))
        return [int(its.getsockname()[1]) for its in sockets]


class Localnet:
    def __init__(
        self,
        directory: pathlib.Path,
        count: int,
        kv: pathlib.Path | None,
        view_timeout_ms: int,
    ) -> None:
        self._directory, self._count = directory.absolute(), count
        self._kv, self._view_timeout_ms = kv, view_timeout_ms
        self._members: list[Member] = []

    def write(self) -> None:
        """Writes what is missing; what is there is used again."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._members = read_members(self._directory)
        if not self._members:
            self._write_all()
            self._members = read_members(self._directory)
        if len(self._members) != self._count:
            raise Failed(
                f"{self._directory} has {len(self._members)} replicas, not {self._count}: "
                f"say -n {len(self._members)}, or name another directory"
            )

    def _write_all(self) -> None:
        ports = free_ports(2 * self._count)
        addresses = [
            keys.generate(str(self._directory / f"{number}.key")).hex()
            for number in range(self._count)
        ]
        chain_id = int.from_bytes(bytes.fromhex(addresses[0])[:4], "big")
        validators = "".join(
            f"validator = {address} 1 127.0.0.1:{ports[number]}\n"
            for number, address in enumerate(addresses)
        )
        for number in range(self._count):
            text = CONFIG.format(
                number=number,
                chain_id=chain_id,
                directory=self._directory,
                port=ports[number],
                client_port=ports[self._count + number],
                view_timeout_ms=self._view_timeout_ms,
                longest_ms=8 * self._view_timeout_ms,
            )
            (self._directory / f"{number}.conf").write_text(text + validators)

    def table(self) -> Table:
        table = Table(title=f"{self._count} replicas in {self._directory}", title_justify="left")
        for column in ("replica", "address", "replicas at", "clients at"):
            table.add_column(column)
        for member in self._members:
            row = str(member.number), member.address[:16], member.listen, member.client
            table.add_row(*row)
        return table

    def _command(self, member: Member) -> list[str]:
        if self._kv is not None:
            return [str(self._kv), "run", str(member.config)]
        program = [sys.executable, "-m", "hotstuff_kv", "run", str(member.config)]
        return [*program, "--events", str(member.events)]

    def run(self, seconds: float | None) -> None:
        """Runs all replicas until Ctrl-C, SIGTERM, the time is over, or one ends by itself."""
        stop_at = None if seconds is None else time.monotonic() + seconds
        processes: list[subprocess.Popen[bytes]] = []
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for member in self._members:
                with member.log.open("ab") as log:
                    command = self._command(member)
                    processes.append(
                        subprocess.Popen(
                            command,
                            stdin=subprocess.DEVNULL,
                            stdout=log,
                            stderr=log,
                            start_new_session=True,
                        )
                    )
            self._await_answers(processes)
            console.print(
                f"running; watch it with `hotstuff watch {self._directory}`; Ctrl-C stops it",
                soft_wrap=True,
            )
            while stop_at is None or time.monotonic() < stop_at:
                self._check(processes)
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        finally:
            self._stop(processes)

    def _check(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for member, process in zip(self._members, processes, strict=True):
            if process.poll() is not None:
                tail = "".join(member.log.read_text(errors="replace").splitlines(True)[-5:])
                raise Failed(
                    f"replica {member.number} ended with exit code {process.returncode}; "
                    f"{member.log} ends:\n{tail}"
                )

    def _await_answers(self, processes: list[subprocess.Popen[bytes]]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for member in self._members:
            host, _, port = member.client.rpartition(":")
            while True:
                self._check(processes)
                try:
                    socket.create_connection((host, int(port)), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise Failed(f"replica {member.number} does not answer") from None
                    time.sleep(0.05)

    def _stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.terminate()
        for number, process in enumerate(processes):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                errors.print(f"replica {number} does not stop: killed")
                process.kill()
                process.wait()
        console.print("stopped")
