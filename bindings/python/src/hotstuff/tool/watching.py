# SPDX-License-Identifier: Apache-2.0
"""A live view of a running kv cluster, asked over the client protocol."""

from __future__ import annotations

import pathlib
import socket
import time
from dataclasses import dataclass, field

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from . import events
from .console import console
from .localnet import Failed, Member, read_members

ANSWER_SECONDS = 1.0
STATUS_MAX = 4096
LAGS_BY = 10
"""Blocks behind the highest from which on a replica is said to lag."""
CHART_SECONDS = 60
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass
class Seen:
    """What a replica has said of itself, and what it said before."""

    name: str
    client: str
    member: Member | None = None
    status: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    down_since: float | None = None

    def ask(self) -> None:
        """Asks for STATUS; a replica that does not answer is down."""
        self.before = self.status
        try:
            host, _, port = self.client.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as asked:
                asked.sendall(b"STATUS\n")
                answer = b""
                while not answer.endswith(b"\n") and len(answer) < STATUS_MAX:
                    received = asked.recv(STATUS_MAX)
                    if not received:
                        raise OSError("closed")
                    answer += received
        except OSError:
            self.down_since = self.down_since or time.monotonic()
            return
        self.down_since = None
        words = answer.decode(errors="replace").split()
        self.status = dict(word.split("=", 1) for word in words if "=" in word)

    def number(self, name: str) -> int:
        return int(self.status.get(name, 0))

    def change(self, name: str) -> int:
        return self.number(name) - int(self.before.get(name, self.number(name)))


def members(where: list[str]) -> list[Seen]:
    """Whom to ask: the replicas of a directory, or of addresses."""
    if len(where) == 1 and pathlib.Path(where[0]).is_dir():
        found = read_members(pathlib.Path(where[0]))
        if not found:
            raise Failed(f"{where[0]} holds no configurations of kv")
        return [Seen(f"{its.number} {its.address[:8]}", its.client, its) for its in found]
    for address in where:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdigit()):
            raise Failed(f"{address}: expected a directory, or host:port of clients")
    return [Seen(address, address) for address in where]


class Cluster:
    """All replicas, and what the cluster has done of late."""

    def __init__(self, seen: list[Seen]) -> None:
        self.seen = seen
        self.asked = time.monotonic()
        self.passed = 0.0
        self.rates: list[float] = []
        """Commands a second, the latest last."""
        self.block_rate = 0.0

    def ask(self) -> None:
        height, done = self.most("committed_height"), self.most("commands")
        is_first = not any(its.status for its in self.seen)
        for its in self.seen:
            its.ask()
        now = time.monotonic()
        self.passed, self.asked = max(now - self.asked, 1e-3), now
        if is_first:
            return
        self.block_rate = (self.most("committed_height") - height) / self.passed
        self.rates = [*self.rates, (self.most("commands") - done) / self.passed][-CHART_SECONDS:]

    def most(self, name: str) -> int:
        return max((its.number(name) for its in self.seen), default=0)

    def leader(self) -> tuple[int, int, str] | None:
        """The newest epoch and view that any replica has entered, and who leads it, where events
        tell."""
        told = [events.last_leader(its.member) for its in self.seen if its.member]
        return max((entered for entered in told if entered), default=None)


def watch(seen: list[Seen], interval: float, count: int | None) -> None:
    """Asks and draws, until Ctrl-C or `count` times."""
    cluster = Cluster(seen)
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            looks = 0
            while count is None or looks < count:
                if looks:
                    time.sleep(interval)
                cluster.ask()
                live.update(drawn(cluster), refresh=True)
                looks += 1
    except KeyboardInterrupt:
        pass


def drawn(cluster: Cluster) -> Group:
    return Group(_headline(cluster), _table(cluster))


def _headline(cluster: Cluster) -> Panel:
    up = sum(its.down_since is None for its in cluster.seen)
    hashes = {
        its.status.get("state_hash")
        for its in cluster.seen
        if its.down_since is None
        and its.number("committed_height") == cluster.most("committed_height")
    }
    grid = Table.grid(padding=(0, 3))
    leader = cluster.leader()
    agreement = "[green]one state[/]" if len(hashes) == 1 else "[bold red]states differ[/]"
    grid.add_row(
        f"[bold]{up}[/] of {len(cluster.seen)} up",
        f"epoch [bold]{cluster.most('epoch')}[/]",
        f"height [bold]{cluster.most('committed_height'):,}[/]",
        f"[bold]{cluster.block_rate:,.1f}[/] blocks/s",
        f"[bold]{cluster.rates[-1] if cluster.rates else 0:,.0f}[/] commands/s",
        agreement if up else "[bold red]nobody answers[/]",
    )
    parts: list[Table | Text] = [grid]
    if leader is not None:
        parts.append(Text(f"view {leader[1]:,} is led by {leader[2][:8]}"))
    if any(cluster.rates):
        parts.append(Text.assemble("commands/s  ", (_chart(cluster.rates), "cyan")))
    return Panel(Group(*parts), title="hotstuff watch", title_align="left")


def _chart(rates: list[float]) -> str:
    top = max(rates) or 1
    return "".join(_BARS[round(rate / top * (len(_BARS) - 1))] for rate in rates)


def _table(cluster: Cluster) -> Table:
    table = Table(expand=True)
    table.add_column("replica", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for name in ("view", "height", "behind"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("led of late", no_wrap=True, min_width=12)
    for name in ("time-outs", "waiting", "clients"):
        table.add_column(name, justify="right", no_wrap=True)
    leader = cluster.leader()
    proposed = sum(max(0, its.change("proposals")) for its in cluster.seen) or 1
    for its in cluster.seen:
        table.add_row(*_row(cluster, its, proposed, leader[2] if leader else ""))
    return table


def _row(cluster: Cluster, its: Seen, proposed: int, leader: str) -> list[Text | ProgressBar]:
    is_leader = its.member is not None and its.member.address == leader
    name = Text(("▶ " if is_leader else "  ") + its.name, "bold" if is_leader else "")
    if its.down_since is not None:
        ago = f"down for {time.monotonic() - its.down_since:.0f} s"
        return [name, Text(ago, "bold red"), *[Text("")] * 7]
    behind = cluster.most("committed_height") - its.number("committed_height")
    timeouts = its.change("view_timeouts")
    role = its.status.get("role", "?")
    if its.number("halted"):
        role = "halted"
    lagging = "bold red" if behind >= LAGS_BY else "green" if behind == 0 else "yellow"
    more = f" (+{timeouts})" if timeouts else ""
    return [
        name,
        Text(role, {"validator": "", "listener": "cyan"}.get(role, "bold red")),
        Text(f"{its.number('view'):,}"),
        Text(f"{its.number('committed_height'):,}"),
        Text(f"{behind:,}", lagging),
        ProgressBar(
            total=proposed,
            completed=max(0, its.change("proposals")),
            width=12,
            complete_style="cyan",
            finished_style="cyan",
        ),
        Text(f"{its.number('view_timeouts'):,}{more}", "yellow" if timeouts else ""),
        Text(f"{its.number('pool'):,}"),
        Text(f"{max(0, its.number('connections') - 1):,}"),
    ]
