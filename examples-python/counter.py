#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The smallest application: four replicas in one process count to 100 together, over TCP.

    pip install dist/hotstuff-*.whl && python3 examples-python/counter.py

It shows the two methods of an app, and the calls from a configuration to a running replica. It ends
by itself, with exit code 0 if all four agree.
"""

import contextlib
import pathlib
import socket
import sys
import tempfile

import hotstuff

REPLICAS = 4
GOAL = 100


class Counter:
    """A block holds the next number. The state holds the last one."""

    def propose_block(self, request, updates):
        number = int(request.block_tree.state(b"count") or b"0") + 1
        if number > GOAL:
            return False
        return self.count(updates, number)

    def validate_block(self, request, updates):
        data = request.proposed_block.data
        if not data:
            return True  # the library's own: it carries nothing
        number = int(request.block_tree.state(b"count") or b"0") + 1
        return data == b"%d" % number and self.count(updates, number)

    def count(self, updates, number):
        updates.set_data(b"%d" % number)
        updates.set_state(b"count", b"%d" % number)
        return True


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def open_replica(directory, keys, addresses, number):
    key = keys[number]
    peers = {k.address: addresses[i] for i, k in enumerate(keys) if i != number}
    with hotstuff.Config(
        chain_id=1,
        validators={k.address: 1 for k in keys},
        key=key,
        data_dir=directory / str(number),
        create=True,
        max_idle_ms=100,
    ) as config:
        network = hotstuff.TcpNetwork(key, listen=addresses[number], peers=peers)
        return hotstuff.Replica(config, Counter(), network)


def reach_goal(replica):
    """The hash of the block that holds the goal."""
    for block in replica.committed_blocks():
        if block.data == b"%d" % GOAL:
            return block.hash
    sys.exit("the replica has stopped")


def main():
    keys = [hotstuff.KeyPair.generate() for _ in range(REPLICAS)]
    addresses = [f"127.0.0.1:{port}" for port in free_ports(REPLICAS)]
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        replicas = [
            stack.enter_context(open_replica(directory, keys, addresses, number))
            for number in range(REPLICAS)
        ]
        for replica in replicas:
            replica.start()
        hashes = {reach_goal(replica) for replica in replicas}
    if len(hashes) > 1:
        sys.exit("the replicas disagree")
    print(f"{REPLICAS} replicas have counted to {GOAL}: block {hashes.pop().hex()[:16]}")


if __name__ == "__main__":
    main()
