# SPDX-License-Identifier: Apache-2.0
"""Clients: one thread, one asyncio loop, lines of text. examples-c/kv/server.h has the protocol.

    socket -> input -> take_lines -> requests -> answer_heads -> socket
                           |  ^
                    pool.submit  pool.take_done

A connection moves whenever bytes arrive, bytes leave, or a command of its own is finished;
advance() then does all that can be done now. Reads of one pass share one snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import re
import secrets
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import hotstuff

from . import command as commands
from . import store
from .app import KvApp
from .command import KEY_MAX, VALUE_MAX, Command
from .config import Config
from .pool import Item, Pool, Resolution, Verdict
from .store import Outcome

log = logging.getLogger("kv")

LINE_MAX = KEY_MAX + VALUE_MAX + 64 - 1
PIPELINE_MAX = store.WINDOW
"""Requests under way in a connection: a session knows the outcome of so many commands."""
NOTIFY_AGAIN_SECONDS = 0.25
UNREAD_MAX = 4 * (VALUE_MAX + 1024)
"""Bytes of answers that a client has not fetched; then its requests wait."""
_U64_MAX = 2**64 - 1
_NAME = re.compile(rb"@(\d{1,20}):(\d{1,20})")
_KINDS = {b"SET": commands.SET, b"DEL": commands.DELETE, b"VALIDATOR": commands.VALIDATOR}
_HELP = (
    b"OK SET key value | DEL key | GET key | VALIDATOR address power | OPEN [nonce] | "
    b"@session:sequence SET key value | HASH height | EVIDENCE index | STATUS | QUIT"
)
_FAILURES = {
    Verdict.STALE: "ERR stale applied long ago or never: sequence + "
    f"{store.WINDOW} has been applied",
    Verdict.EXPIRED_SESSION: "ERR expired the session is gone: "
    f"{store.SESSIONS} younger ones were opened",
    Verdict.REFUSED: "ERR refused there would be no validators, too many, or too much power",
    Verdict.LISTENER: "ERR listener this replica has left the validators: repeat it at one of them",
    Verdict.TIMEOUT: "ERR timeout not committed in time; it may still be: repeat the same sequence",
    Verdict.STOPPED: "ERR stopping it may still be committed: repeat it at another replica",
}
_VERDICTS = {
    Outcome.DUPLICATE: Verdict.COMMITTED,
    Outcome.STALE: Verdict.STALE,
    Outcome.EXPIRED: Verdict.EXPIRED_SESSION,
    Outcome.REFUSED: Verdict.REFUSED,
}
_EVIDENCE_WORDS = {
    hotstuff.EvidenceKind.DOUBLE_VOTE: "double-vote",
    hotstuff.EvidenceKind.DOUBLE_PROPOSAL: "double-proposal",
    hotstuff.EvidenceKind.LYING_TIMEOUT: "lying-timeout",
}


class State(enum.Enum):
    READ = enum.auto()
    """Answered when all before it are."""
    WAITING = enum.auto()
    """For its commit."""
    ANSWERED = enum.auto()


@dataclass(slots=True)
class Request:
    state: State
    text: bytes = b""
    """READ: the request; ANSWERED: the answer; without a line end."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where an answer goes; without a request, the OPEN that no client has asked for."""

    connection: Connection
    request: Request | None


def _answer(item: Item) -> bytes:
    if item.verdict is not Verdict.COMMITTED:
        return _FAILURES[item.verdict].encode()
    if item.command.kind in (commands.OPEN, commands.VALIDATOR):
        return b"OK %d %d" % (item.height, item.made)
    return b"OK %d" % item.height


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._input = bytearray()
        self._discarding = False  # up to the end of a line that was too long
        self._is_reading = True
        self._may_write = True
        self._eof = False  # no more requests; what is under way is still answered
        self._requests: deque[Request] = deque()
        self._reads = 0  # how many of them are READ
        self.session = 0  # for writes without a session of their own; 0: none yet
        self._next_sequence = 1
        self._opening = False  # that session: lines wait
        self._open_failed = b""  # the answer for the line that waited
        self.waiting = 0  # how many requests are WAITING
        self.moved = 0.0  # when bytes last came or went

    # ---- what asyncio calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=UNREAD_MAX)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.moved = self._server.loop.time()
        if not self._server.admit(self):
            transport.write(b"ERR busy too many connections\n")
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        self._input += data
        self.moved = self._server.loop.time()
        self._server.advance([self])

    def eof_received(self) -> bool:
        self._eof = True
        self._server.advance([self])
        return True  # its answers still leave

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self.moved = self._server.loop.time()
        self._server.advance([self])

    # ---- the life of a connection --------------------------------------------------------------

    def advance(self) -> None:
        """Does all that can be done now."""
        while self._take_lines() | self._answer_heads():
            pass
        self._pause_or_resume()
        if self._eof and not self._requests and not self._opening:
            self._transport.close()  # after what is still to be written

    def _pause_or_resume(self) -> None:
        """Reads no further while a whole buffer of requests waits."""
        wants = len(self._input) <= LINE_MAX
        if wants == self._is_reading or self._transport.is_closing():
            return
        self._is_reading = wants
        if wants:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def drop_if_idle(self, now: float, idle_seconds: float) -> None:
        is_idle = self.waiting == 0 and not self._opening
        if is_idle and now - self.moved >= idle_seconds:
            self._transport.abort()

    def stop(self) -> None:
        """Answers what it can, and closes."""
        self._input.clear()
        self.advance()
        self._transport.close()

    def deliver(self, ticket: Ticket, item: Item) -> None:
        """A command of this connection is finished."""
        if ticket.request is None:
            self._session_opened(item)
            return
        ticket.request.text = _answer(item)
        ticket.request.state = State.ANSWERED
        self.waiting -= 1
        if item.verdict is Verdict.EXPIRED_SESSION and item.command.client == self.session:
            self.session = 0  # the next write opens another

    def _session_opened(self, item: Item) -> None:
        self._opening = False
        if item.verdict is Verdict.COMMITTED:
            self.session, self._next_sequence = item.made, 1
        else:
            self._open_failed = _answer(item)

    def _answer_heads(self) -> bool:
        """Writes answers, in order, as far as they are known."""
        answers: list[bytes] = []
        while self._requests and self._may_write and len(answers) < PIPELINE_MAX:
            request = self._requests[0]
            if request.state is State.WAITING:
                break
            if request.state is State.READ:
                self._reads -= 1
                request.text = self._server.answer_read(request.text)
            answers.append(request.text + b"\n")
            self._requests.popleft()
        if answers and not self._transport.is_closing():
            self._transport.write(b"".join(answers))
            self.moved = self._server.loop.time()
        return bool(answers)

    # ---- lines ---------------------------------------------------------------------------------

    def _take_lines(self) -> bool:
        """Turns lines of the input into requests, while there is room for them."""
        at = 0
        any_taken = False
        while len(self._requests) < PIPELINE_MAX:
            end = self._input.find(b"\n", at)
            if end < 0:
                at = self._take_partial(at)
                break
            if self._discarding:
                self._discarding = False
            elif end - at > LINE_MAX:
                self._refuse_long_line()
                self._discarding = False
            else:
                stop = end - 1 if end > at and self._input[end - 1] == 0x0D else end
                if not self._take_line(bytes(self._input[at:stop])):
                    break
                any_taken = True
            at = end + 1
        del self._input[:at]
        return any_taken

    def _take_partial(self, at: int) -> int:
        """Where the beginning of a line that is to be kept begins."""
        if self._discarding:
            return len(self._input)
        if len(self._input) - at > LINE_MAX:
            self._refuse_long_line()
            return len(self._input)
        return at

    def _refuse_long_line(self) -> None:
        """Answered once, and skipped to its end."""
        self._answer_now(b"ERR syntax a line has at most %d bytes" % LINE_MAX)
        self._discarding = True

    def _answer_now(self, text: bytes) -> None:
        self._requests.append(Request(State.ANSWERED, text))

    def _answer_in_turn(self, line: bytes) -> None:
        self._requests.append(Request(State.READ, line))
        self._reads += 1

    def _take_line(self, line: bytes) -> bool:
        """One whole line. False: it must wait (for reads, or the connection's session)."""
        if b"\0" in line:
            self._answer_now(b"ERR syntax a NUL byte")
            return True
        word, _, rest = line.partition(b" ")
        if word in _KINDS and len(line) > len(word):
            return self._take_write(0, 0, _KINDS[word], rest)
        if line.startswith(b"@"):
            return self._take_named(word, rest)
        self._take_other(word, rest)
        return True

    def _take_named(self, word: bytes, rest: bytes) -> bool:
        """A write that begins with @session:sequence."""
        name = _NAME.fullmatch(word)
        client, sequence = (int(name[1]), int(name[2])) if name else (0, 0)
        if not (0 < client <= _U64_MAX and 0 < sequence <= _U64_MAX):
            self._answer_now(b"ERR syntax expected @session:sequence, two numbers from 1")
            return True
        verb, _, arguments = rest.partition(b" ")
        if verb in _KINDS and len(rest) > len(verb):
            return self._take_write(client, sequence, _KINDS[verb], arguments)
        self._answer_now(b"ERR syntax after @session:sequence comes SET, DEL or VALIDATOR")
        return True

    def _take_other(self, verb: bytes, rest: bytes) -> None:
        if verb == b"GET":
            if not rest or len(rest) > KEY_MAX or b" " in rest:
                text = b"ERR syntax GET takes a key: one word of at most 200 bytes"
                self._answer_now(text)
            else:
                self._answer_in_turn(b"GET " + rest)
        elif verb in (b"HASH", b"EVIDENCE") and 0 < len(rest) <= 20:
            self._answer_in_turn(verb + b" " + rest)
        elif verb == b"STATUS" and not rest:
            self._answer_in_turn(b"STATUS ")
        elif verb == b"OPEN":
            self._take_open(rest)
        elif verb == b"HELP":
            self._answer_now(_HELP)
        elif verb == b"QUIT" and not rest:
            self._answer_now(b"OK bye")
            self._eof = True
        else:
            self._answer_now(b"ERR syntax unknown request; HELP lists them")

    def _take_open(self, argument: bytes) -> None:
        nonce = _random_nonce()
        if argument:
            is_hex = re.fullmatch(rb"[0-9a-fA-F]{1,16}", argument)
            nonce = int(argument, 16) if is_hex else 0
        if nonce:
            self._submit_as_request(Command(commands.OPEN, nonce, 0))
        else:
            text = b"ERR syntax the nonce of OPEN is 1 to 16 hexadecimal digits, not all 0"
            self._answer_now(text)

    def _take_write(self, client: int, sequence: int, kind: int, arguments: bytes) -> bool:
        """SET, DEL and VALIDATOR. False: the line must wait."""
        if self._reads:
            return False  # an earlier read must not see a later write
        key, _, value = arguments.partition(b" ")
        if kind == commands.VALIDATOR:
            key, value = _read_change(key, value)
        if client:
            self._submit_as_request(Command(kind, client, sequence, key, value))
            return True
        # Nobody opens a session for a command that will be refused.
        command = Command(kind, 1, 1, key, value)
        if commands.complaint(command) is None:
            if not self.session:
                return self._await_session()
            command = command._replace(client=self.session, sequence=self._next_sequence)
            self._next_sequence += 1
        self._submit_as_request(command)
        return True

    def _await_session(self) -> bool:
        """The line waits for the connection's own session, or hears why there is none."""
        if self._opening:
            return False
        if not self._open_failed:
            command = Command(commands.OPEN, _random_nonce(), 0)
            refusal = self._server.submit(command, Ticket(self, None))
            self._opening = refusal is None
            self._open_failed = refusal or b""
        if self._opening:
            return False
        self._answer_now(self._open_failed)
        self._open_failed = b""
        return True

    def _submit_as_request(self, command: Command) -> None:
        request = Request(State.WAITING)
        self._requests.append(request)
        complaint = commands.complaint(command)
        if complaint is not None:
            refusal: bytes | None = b"ERR syntax " + complaint.encode()
        else:
            refusal = self._server.submit(command, Ticket(self, request))
        if refusal is None:
            self.waiting += 1
        else:
            request.state, request.text = State.ANSWERED, refusal


def _random_nonce() -> int:
    return secrets.randbelow(_U64_MAX) + 1


def _read_change(address: bytes, power: bytes) -> tuple[bytes, bytes]:
    """The words of a VALIDATOR command as bytes; without a key if they are wrong."""
    is_good = re.fullmatch(rb"[0-9a-fA-F]{64}", address) and re.fullmatch(rb"\d+", power)
    if not is_good or int(power) > _U64_MAX:
        return b"", bytes(8)
    return bytes.fromhex(address.decode()), int(power).to_bytes(8, "little")


class Pass:
    """What is looked up at most once while connections advance."""

    def __init__(self, replica: hotstuff.Replica) -> None:
        self._replica = replica
        self._tree: hotstuff.BlockTree | None = None
        self._may_propose: bool | None = None
        self.submitted: list[Command] = []

    @property
    def tree(self) -> hotstuff.BlockTree:
        if self._tree is None:
            self._tree = self._replica.snapshot()
        return self._tree

    @property
    def may_propose(self) -> bool:
        """Whether what this replica proposes is heard."""
        if self._may_propose is None:
            self._may_propose = self._replica.info.is_validator
        return self._may_propose

    def close(self) -> None:
        if self._tree is not None:
            self._tree.close()


class Server:
    def __init__(self, config: Config, pool: Pool, app: KvApp) -> None:
        self._config, self._pool, self._app = config, pool, app
        self._replica: hotstuff.Replica
        self.loop: asyncio.AbstractEventLoop
        self._pass: Pass
        self._connections: set[Connection] = set()
        self._notified = 0.0

    async def listen(self) -> str:
        """Opens the listening socket, and says where."""
        self.loop = asyncio.get_running_loop()
        host, _, port = self._config["client_listen"].rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        self._listener = await self.loop.create_server(
            lambda: Connection(self), host, int(port), reuse_address=True, start_serving=False
        )
        address = self._listener.sockets[0].getsockname()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"

    async def run(self, replica: hotstuff.Replica, stop: asyncio.Event) -> None:
        """Serves until `stop` is set; then answers what it can, and closes."""
        self._replica = replica
        await self._listener.start_serving()
        ticking = self.loop.create_task(self._tick())
        await stop.wait()
        ticking.cancel()
        self._listener.close()
        self._pool.expire(float("inf"), Verdict.STOPPED)
        self.deliver_done()
        with self._one_pass():
            for connection in list(self._connections):
                connection.stop()
        await asyncio.sleep(0)

    # ---- connections ---------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        if len(self._connections) >= self._config.number("connections_max"):
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def advance(self, connections: list[Connection]) -> None:
        with self._one_pass():
            for connection in connections:
                connection.advance()

    @contextlib.contextmanager
    def _one_pass(self) -> Iterator[None]:
        self._pass = Pass(self._replica)
        try:
            yield
            if self._pass.submitted:
                self._resolve_known(self._pass.submitted)
                self._notify()
        finally:
            self._pass.close()

    def deliver_done(self) -> None:
        """Hands finished commands to their connections."""
        moved = {}
        for item in self._pool.take_done():
            ticket = item.ticket
            assert isinstance(ticket, Ticket)
            if ticket.connection in self._connections:  # else nobody hears the answer
                ticket.connection.deliver(ticket, item)
                moved[ticket.connection] = True
        if moved:
            self.advance(list(moved))

    async def _tick(self) -> None:
        """What time alone brings about."""
        idle_seconds = self._config.number("client_idle_ms") / 1000
        while True:
            await asyncio.sleep(NOTIFY_AGAIN_SECONDS / 5)
            now = self.loop.time()
            self._pool.expire(now, Verdict.TIMEOUT)
            for connection in list(self._connections):
                connection.drop_if_idle(now, idle_seconds)
            if len(self._pool) and now - self._notified >= NOTIFY_AGAIN_SECONDS:
                if not self._replica.info.is_validator:
                    self._pool.expire(float("inf"), Verdict.LISTENER)
                self._notify()  # a block that held them may have been abandoned

    def _notify(self) -> None:
        self._notified = self.loop.time()
        try:
            self._replica.notify()
        except hotstuff.HotstuffError as failure:
            log.warning("notify: %s", failure)

    # ---- writes --------------------------------------------------------------------------------

    def submit(self, command: Command, ticket: Ticket) -> bytes | None:
        """Puts a command into the pool; or says why it does not go."""
        if not self._pass.may_propose:
            return b"ERR listener this replica proposes nothing: ask a validator"
        deadline = self.loop.time() + self._config.number("commit_timeout_ms") / 1000
        if not self._pool.submit(Item(command, ticket, deadline)):
            return b"ERR busy the pool is full: try again later"
        self._pass.submitted.append(command)
        return None

    def _resolve_known(self, submitted: list[Command]) -> None:
        """Answers from the committed state what the state already knows. The commands are in the
        pool by now, so a block that commits one later than this snapshot is the follower's to see:
        none is missed."""
        known = []
        with self._replica.snapshot() as tree:
            next_session = store.summary(tree).next_session
            for command in submitted:
                judged = store.judge(tree, next_session, command)
                verdict = _VERDICTS.get(judged.outcome)
                if verdict is not None:
                    identity = command.identity
                    known.append(Resolution(identity, verdict, judged.height, judged.made))
        self._pool.resolve(known)

    # ---- reads ---------------------------------------------------------------------------------

    def answer_read(self, line: bytes) -> bytes:
        verb, _, argument = line.partition(b" ")
        try:
            if verb == b"GET":
                value = store.value_of(self._pass.tree, argument)
                return b"NONE" if value is None else b"VALUE " + value[:VALUE_MAX]
            if verb == b"STATUS":
                return self._status().encode()
            if not argument.isdigit() or int(argument) > _U64_MAX:
                what = b"HASH takes a height" if verb == b"HASH" else b"EVIDENCE takes an index"
                return b"ERR syntax " + what + (b"" if verb == b"HASH" else b" from 0")
            number = int(argument)
            answer = self._hash(number) if verb == b"HASH" else self._evidence(number)
            return answer.encode()
        except (hotstuff.HotstuffError, store.Damaged) as failure:
            return f"ERR internal {failure}".encode()

    def _hash(self, height: int) -> str:
        tree = self._pass.tree
        if height > tree.committed_height:
            return f"ERR notfound height {height} is not committed here yet"
        state_hash = store.hash_at(tree, height)
        if state_hash is None:
            return f"ERR notfound only the last {store.HISTORY} blocks with data are remembered"
        block_hash = bytes(32)  # height 0 has no block
        block = tree.block_at(height) if height else None
        if block is not None:
            with block:
                block_hash = block.hash
        return f"OK {height} {state_hash.hex()} {block_hash.hex()}"

    def _evidence(self, index: int) -> str:
        for number, evidence in enumerate(self._replica.evidence()):
            if number == index:
                return self._tell_evidence(evidence)
        return "ERR notfound no more evidence is kept here"

    def _tell_evidence(self, evidence: bytes) -> str:
        """What a piece says, once it has been verified by the validators of its epoch."""
        claim = hotstuff.read_evidence(evidence)
        with self._pass.tree.validators(claim.epoch) as validators:
            offender = hotstuff.verify_evidence(self._app.genesis, validators, evidence)
        word = _EVIDENCE_WORDS[claim.kind]
        return f"OK {word} epoch={claim.epoch} view={claim.view} validator={offender.hex()}"

    def _status(self) -> str:
        info, metrics, tree = self._replica.info, self._replica.metrics, self._pass.tree
        summary = store.summary(tree)
        with tree.validators() as validators:
            count = len(validators)
        parts = {
            "epoch": info.epoch,
            "view": info.view,
            "committed_height": info.committed_height,
            "role": "validator" if info.is_validator else "listener",
            "halted": int(info.halted),
            "highest_qc_view": info.highest_qc_view,
            "sync_target": info.sync_target_height,
            "validators": count,
            "state_height": summary.height,
            "state_hash": summary.hash().hex(),
            "data_blocks": summary.data_blocks,
            "commands": summary.commands,
            "keys": summary.keys,
            "sessions_opened": summary.next_session - 1,
            "blocks_refused": self._app.refused,
            "pool": len(self._pool),
            "connections": len(self._connections),
            "proposals": metrics.proposals,
            "votes": metrics.votes,
            "view_timeouts": metrics.view_timeouts,
            "messages_in": metrics.messages_in,
            "messages_out": metrics.messages_out,
            "bytes_in": metrics.bytes_in,
            "bytes_out": metrics.bytes_out,
            "messages_rejected": metrics.messages_rejected,
            "events_dropped": metrics.events_dropped,
        }
        return "OK " + " ".join(f"{name}={value}" for name, value in parts.items())
