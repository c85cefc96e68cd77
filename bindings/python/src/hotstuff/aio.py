# SPDX-License-Identifier: Apache-2.0
"""For programs with an asyncio loop: nothing here blocks the loop.

    events = hotstuff.aio.EventStream()
    async with hotstuff.aio.running(hotstuff.Replica(config, app, network, events)) as replica:
        async for block in hotstuff.aio.committed_blocks(replica):
            ...

The waiting calls run on threads of `asyncio.to_thread`; cancelled, they end within a tenth of a
second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from .errors import Closed, Timeout
from .events import Event
from .replica import SLICE_MS, Replica
from .values import Block

EVENTS_MAX = 4096
"""Events that an EventStream holds, if nobody says otherwise."""


@contextlib.asynccontextmanager
async def running(replica: Replica) -> AsyncIterator[Replica]:
    """Starts a replica, and stops and closes it in the end, also when this task is cancelled."""
    try:
        replica.start()
        yield replica
    finally:
        await asyncio.shield(asyncio.to_thread(replica.close))


async def wait(replica: Replica) -> None:
    """Waits until the replica is stopped; Halted says why if it has stopped itself."""
    while True:
        with contextlib.suppress(Timeout):
            await asyncio.to_thread(replica.wait, SLICE_MS / 1000)
            return


async def wait_committed(replica: Replica, height: int) -> None:
    """Waits until a height is committed."""
    while True:
        with contextlib.suppress(Timeout):
            await asyncio.to_thread(replica.wait_committed, height, SLICE_MS / 1000)
            return


async def committed_blocks(replica: Replica, after_height: int = 0) -> AsyncIterator[Block]:
    """Every committed block after a height, until the replica is stopped."""
    while True:
        try:
            block = await asyncio.to_thread(replica.next_committed, after_height, SLICE_MS / 1000)
        except Timeout:
            continue
        except (Closed, ValueError):
            return
        after_height += 1
        yield block


class EventStream:
    """Events of a replica, to be given to it as `on_event`, and then iterated over in the loop in
    which this was made. If nobody reads, the oldest are dropped and counted."""

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event] = asyncio.Queue(events_max)
        self.dropped = 0
        """How many events nobody has read in time."""

    def __call__(self, event: Event) -> None:
        """On a thread of the library."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(event)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._queue.get()
