# SPDX-License-Identifier: Apache-2.0
"""The events of a replica as lines of JSON, for `hotstuff plot` and `hotstuff watch`."""

from __future__ import annotations

import json

import hotstuff


class EventFile:
    """Appends each event to a file. Called on the library's own thread: what is slow here loses
    events, and holds up nobody."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115  (closed by close)

    def __call__(self, event: hotstuff.Event) -> None:
        kind = event.kind
        line = {
            "time_ns": event.time_ns,
            "kind": kind.name if isinstance(kind, hotstuff.EventKind) else str(kind),
            "epoch": event.epoch,
            "view": event.view,
            "height": event.height,
            "count": event.count,
            "block": event.block.hex() if event.block else "",
            "peer": event.peer.hex() if event.peer else "",
        }
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()
