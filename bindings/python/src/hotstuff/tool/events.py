# SPDX-License-Identifier: Apache-2.0
"""The events that replicas of `hotstuff localnet` have written: a line of JSON each."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from .localnet import Failed, Member, read_members

Row = dict[str, Any]
TAIL_BYTES = 64 * 1024


def read(member: Member) -> list[Row]:
    """The events of one replica, in order; the last line may not be whole yet."""
    if not member.events.exists():
        return []
    rows = []
    with member.events.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                rows.append({"replica": member.number, **json.loads(line)})
    return rows


def read_all(directory: pathlib.Path) -> list[Row]:
    """The events of all replicas, by time."""
    members = read_members(directory)
    rows = [row for member in members for row in read(member)]
    if not rows:
        raise Failed(
            f"{directory} has no events: `hotstuff localnet` writes them when it runs the "
            "packaged kv, and `hotstuff-kv run CONFIG --events FILE` does"
        )
    return sorted(rows, key=lambda row: int(row["time_ns"]))


def last_leader(member: Member) -> tuple[int, int, str] | None:
    """The epoch and view that a replica entered last, and the address of its leader."""
    try:
        with member.events.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[1:-1]):
        if b'"START_VIEW"' in line:
            event = json.loads(line)
            return int(event["epoch"]), int(event["view"]), str(event["peer"])
    return None
