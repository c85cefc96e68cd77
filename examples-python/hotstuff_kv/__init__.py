# SPDX-License-Identifier: Apache-2.0
"""kv: a replicated key-value server, an example of the hotstuff package.

The same app as examples-c/kv, byte for byte: configuration, client protocol, blocks and state. A
chain may have replicas of both.

    __main__.py   the program; from a configuration to a replica; the thread that follows commits
    app.py        the two callbacks: a batch from the pool becomes a block, a block becomes updates
    store.py      the replicated state: sessions, values, the state hash; execution over an overlay
    pool.py       the commands of this replica's clients, bounded
    server.py     connections, one asyncio loop; what is read and answered
    command.py    commands, their encoding, their limits
    config.py     the configuration, and what is said about a wrong one
    digest.py     SipHash, of one pair or of many at once
    keys.py       key files
"""
