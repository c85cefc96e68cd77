# SPDX-License-Identifier: Apache-2.0
"""Replicas in an asyncio program."""

from __future__ import annotations

import asyncio

import pytest
from conftest import SECONDS, Counter, Home

import hotstuff
from hotstuff import aio


def test_blocks_and_events_are_awaited(home: Home) -> None:
    async def program() -> None:
        events = aio.EventStream()
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with aio.running(home.alone(Counter(), events)) as replica:
            first = await anext(aiter(events))
            assert isinstance(first, hotstuff.Event)
            await aio.wait_committed(replica, 10)
            async for block in aio.committed_blocks(replica):
                if block.height == 20:
                    break
        assert replica.closed
        ticking.cancel()
        assert ticks > 3, "the loop was not held up"

    asyncio.run(asyncio.wait_for(program(), SECONDS))


def test_a_cancelled_task_stops_its_replica(home: Home) -> None:
    async def program() -> None:
        replicas: list[hotstuff.Replica] = []

        async def serve() -> None:
            async with aio.running(home.alone()) as replica:
                replicas.append(replica)
                await aio.wait(replica)

        serving = asyncio.create_task(serve())
        while not replicas:
            await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert replicas[0].closed

    asyncio.run(asyncio.wait_for(program(), SECONDS))


def test_what_nobody_reads_is_dropped_and_counted(home: Home) -> None:
    async def program() -> None:
        events = aio.EventStream(events_max=4)
        async with aio.running(home.alone(Counter(), events)) as replica:
            await aio.wait_committed(replica, 20)
        await asyncio.sleep(0.1)
        assert events.dropped > 0

    asyncio.run(asyncio.wait_for(program(), SECONDS))
