#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Four replicas agree, lose one, go on, get it back; a fifth joins, one leaves; all end with the same state.

Makes keys and configurations with the `kv` program, starts four `kv` processes on loopback, writes a real
table and then a steady load, kills one replica with SIGKILL and restarts it, adds a fifth validator that the
four have never heard of, removes one of the first four, and checks that nothing that was acknowledged is
missing anywhere, that nothing was applied twice, and that all five agree. At last one validator is replaced
by an equivocator, which signs two votes in each view: the others go on, and have the evidence.
Exit code 0 only if all of that held.
"""

import argparse
import asyncio
import bisect
import collections
import ctypes
import hashlib
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VALIDATORS = 4  # at first
CLIENTS = 24
WINDOW = 16  # kv remembers the outcome of the last 16 commands of a session
ANSWER_SECONDS = 15
POLL_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CONFIG = """\
# Replica {number} of the demo.
chain_id = {chain_id}
key_file = {directory}/replica-{number}.key
data_dir = {directory}/replica-{number}
create = {create}
listen = 127.0.0.1:{port}
client_listen = 127.0.0.1:{client_port}
view_timeout_ms = 250
max_view_timeout_ms = 4000
max_idle_ms = 2000
commit_timeout_ms = 5000
max_listeners = 2
"""


class Failure(Exception):
    """A criterion did not hold, or something did not happen in time. The text is for a person; `replica`, if
    given, is the number of the one whose log may tell more."""

    def __init__(self, text, replica=None):
        super().__init__(text)
        self.replica = replica


class Stopped(Exception):
    """Somebody wants the demo to end."""


# ---- processes -------------------------------------------------------------------------------


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with(parent):
    """What a child does first: it will get SIGKILL when its parent dies, however that dies. Linux has this;
    elsewhere the `finally` of main() must do."""

    def in_child():
        if sys.platform.startswith("linux"):
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)  # it has died already

    return in_child


def free_ports(count):
    """Ports that nobody listens on, below those that the kernel hands out to outgoing connections: a replica
    that is down must find its port free when it comes back."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            lowest_ephemeral = int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        lowest_ephemeral = 32768
    candidates = list(range(min(20000, lowest_ephemeral // 2), lowest_ephemeral))
    random.shuffle(candidates)
    sockets = []
    try:
        for port in candidates:
            if len(sockets) == count:
                break
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
                sockets.append(probe)
            except OSError:
                probe.close()
        if len(sockets) < count:
            raise Failure(f"found only {len(sockets)} free ports on loopback, wanted {count}")
        return [probe.getsockname()[1] for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()


class Replica:
    """One kv process and what the monitor knows of it."""

    def __init__(self, kv, directory, number, port, client_port):
        self.kv, self.directory, self.number = kv, directory, number
        self.port, self.client_port = port, client_port
        self.key = os.path.join(directory, f"replica-{number}.key")
        self.config = os.path.join(directory, f"replica-{number}.conf")
        self.log = os.path.join(directory, f"replica-{number}.log")
        self.process, self.wanted = None, False
        self.starts, self.up, self.status = 0, False, {}

    def make_key(self):
        self.address = run([self.kv, "keygen", self.key]).strip()
        if os.stat(self.key).st_mode & 0o077:
            raise Failure(f"{self.key}: others can read it")

    def write_config(self, validators, chain_id, create):
        """`validators` are those of the genesis; who is not among them is a peer that listens at first."""
        text = CONFIG.format(number=self.number, chain_id=chain_id, directory=self.directory, port=self.port,
                             client_port=self.client_port, create="true" if create else "false")
        text += "".join(f"validator = {r.address} 1 127.0.0.1:{r.port}\n" for r in validators)
        if self not in validators:
            text += f"peer = {self.address} 127.0.0.1:{self.port}\n"
        with open(self.config, "w") as file:
            file.write(text)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.kv, "run", self.config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            preexec_fn=die_with(os.getpid()))
        self.starts, self.wanted = self.starts + 1, True

    def start_liar(self, program, genesis, replicas):
        """In its place, and with its key, a program that votes twice."""
        peers = [f"{r.address}@127.0.0.1:{r.port}" for r in replicas if r is not self]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program, self.key, genesis, f"127.0.0.1:{self.port}", *peers],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=die_with(os.getpid()))
        self.wanted = True

    def kill(self):
        """As a power cut would, for the process: no chance to tidy up."""
        self.wanted = False
        self.process.kill()
        return self.process.wait(timeout=10)

    def terminate(self, seconds):
        """Asks, waits, insists. The exit code, or None if it never ran."""
        self.wanted = False
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def check_alive(self):
        if self.wanted and self.process.poll() is not None:
            raise Failure(f"replica {self.number} ended by itself, exit code {self.process.returncode}",
                          self.number)

    @property
    def height(self):
        return self.number_of("committed_height")

    def number_of(self, name):
        return int(self.status.get(name, 0))

    def log_tail(self, lines=15):
        try:
            with open(self.log, errors="replace") as file:
                return "".join(collections.deque(file, maxlen=lines))
        except OSError as error:
            return f"{error}\n"


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=30, universal_newlines=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


# ---- the line protocol -----------------------------------------------------------------------


async def request_lines(replica, requests, chunk=256):
    """Sends all requests over one connection and returns the answers, in order."""

    async def read_all(count):
        return [await reader.readline() for _ in range(count)]

    reader, writer = await connect(replica)
    answers = []
    try:
        for at in range(0, len(requests), chunk):
            part = requests[at:at + chunk]
            writer.write("".join(request + "\n" for request in part).encode())
            answers += await asyncio.wait_for(read_all(len(part)), ANSWER_SECONDS)
    finally:
        writer.close()
    return [answer.decode().rstrip("\n") for answer in answers]


def parse_status(answer):
    """Of "OK name=value ..."."""
    return dict(word.split("=", 1) for word in answer.split()[1:])


async def connect(replica):
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", replica.client_port, limit=1 << 16), 5)


async def read_answer(reader, seconds=ANSWER_SECONDS):
    line = await asyncio.wait_for(reader.readline(), seconds)
    if not line.endswith(b"\n"):
        raise ConnectionError("the replica closed the connection")
    return line[:-1].decode()


# ---- clients ---------------------------------------------------------------------------------

Job = collections.namedtuple("Job", "key value due")
Ack = collections.namedtuple("Ack", "key value due time height")


class Client:
    """A session that survives its replica: what was not acknowledged is repeated at the next one, under the
    same sequence number, so that it takes effect once."""

    def __init__(self, world, number):
        self.world, self.at = world, world.validators[number % len(world.validators)]
        self.nonce, self.session = random.getrandbits(64) or 1, None
        self.next_sequence, self.in_flight = 1, {}  # sequence -> Job
        self.sent = collections.deque()  # the sequences whose answers this connection owes
        self.applied = collections.deque(maxlen=WINDOW)  # (request, answer) of the last ones
        self.room = asyncio.Event()

    async def run(self):
        while True:
            try:
                reader, writer = await connect(self.at)
            except (OSError, asyncio.TimeoutError):
                await self.move_on()
                continue
            try:
                await self.converse(reader, writer)
            except (OSError, asyncio.TimeoutError):
                await self.move_on()
            finally:
                writer.close()

    async def move_on(self):
        self.at = self.world.validator_after(self.at)
        self.world.moves += 1
        await asyncio.sleep(0.05)  # all may be down: do not spin

    async def converse(self, reader, writer):
        while self.session is None:
            writer.write(f"OPEN {self.nonce:x}\n".encode())
            words = (await read_answer(reader)).split()
            if words[0] == "OK":
                self.session = int(words[2])
            elif words[1] not in ("busy", "timeout"):
                raise ConnectionError(" ".join(words))
        self.sent.clear()
        for sequence in sorted(self.in_flight):
            self.world.repeats += 1
            self.send(writer, sequence)
        tasks = [asyncio.ensure_future(self.read_answers(reader, writer)),
                 asyncio.ensure_future(self.write_jobs(writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()  # raises why the conversation ended

    def request(self, sequence):
        job = self.in_flight[sequence]
        return f"@{self.session}:{sequence} SET {job.key} {job.value}"

    def send(self, writer, sequence):
        self.sent.append(sequence)
        writer.write(self.request(sequence).encode() + b"\n")

    def may_send(self):
        return not self.in_flight or self.next_sequence - min(self.in_flight) < WINDOW

    async def write_jobs(self, writer):
        while True:
            while not self.may_send():
                self.room.clear()
                await self.room.wait()
            job = await self.world.jobs.get()
            sequence, self.next_sequence = self.next_sequence, self.next_sequence + 1
            self.in_flight[sequence] = job
            self.send(writer, sequence)
            await writer.drain()

    async def read_answers(self, reader, writer):
        while True:
            words = (await read_answer(reader, ANSWER_SECONDS if self.sent else None)).split()
            sequence = self.sent.popleft()
            if words[0] == "OK":
                self.applied.append((self.request(sequence), " ".join(words)))
                job = self.in_flight.pop(sequence)
                self.world.acknowledge(Ack(job.key, job.value, job.due, time.monotonic(), int(words[1])))
                self.room.set()
            elif words[1] in ("busy", "timeout"):
                self.world.repeats += 1
                await asyncio.sleep(0.02)
                self.send(writer, sequence)
            elif words[1] in ("stopping", "listener"):
                raise ConnectionError(words[1])
            else:
                raise Failure(f"a command was refused: {' '.join(words)}")


# ---- the world -------------------------------------------------------------------------------


class World:
    """The replicas, the load, and what has been seen of both."""

    def __init__(self, replicas, options):
        self.replicas, self.options = replicas, options
        self.founders, self.joiner = replicas[:VALIDATORS], replicas[VALIDATORS]
        self.leaver, self.liar, self.victim = self.founders[0], self.founders[2], self.founders[-1]
        self.validators = list(self.founders)  # whom clients turn to
        self.epochs = [f"epoch 0: validators {' '.join(str(r.number) for r in self.founders)}"]
        self.changes = 0  # commands of our own that have changed the validators
        self.jobs = asyncio.Queue()
        self.acks, self.ack_times = [], []
        self.heights, self.height_times = [], []  # the greatest height, whenever somebody was asked
        self.offered = self.repeats = self.moves = self.loaded = 0
        self.phase, self.began = "", time.monotonic()
        self.display_width = 0

    def validator_after(self, replica):
        """The next one in a ring; the first, for one that is no validator any more."""
        at = self.validators.index(replica) + 1 if replica in self.validators else 0
        return self.validators[at % len(self.validators)]

    def offer(self, key, value):
        self.offered += 1
        self.jobs.put_nowait(Job(key, value, time.monotonic()))

    def acknowledge(self, ack):
        self.acks.append(ack)
        self.ack_times.append(ack.time)

    async def monitor(self, replica):
        """Asks one replica for its status, again and again; a replica that does not answer is down."""
        while True:
            try:
                reader, writer = await connect(replica)
            except (OSError, asyncio.TimeoutError):
                replica.up = False
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                while True:
                    writer.write(b"STATUS\n")
                    answer = await read_answer(reader)
                    if answer.startswith("OK "):
                        replica.status, replica.up = parse_status(answer), True
                        self.heights.append(max(r.height for r in self.replicas))
                        self.height_times.append(time.monotonic())
                    await asyncio.sleep(POLL_SECONDS)
            except (OSError, asyncio.TimeoutError):
                pass
            finally:
                replica.up = False
                writer.close()

    async def offer_steadily(self):
        """Open loop: commands are due by the clock, whether or not the earlier ones were answered."""
        start, count = time.monotonic(), 0
        while True:
            while count < (time.monotonic() - start) * self.options.load:
                count, self.loaded = count + 1, self.loaded + 1
                key = f"load/{self.loaded}"
                self.offer(key, hashlib.sha256(key.encode()).hexdigest())
            await asyncio.sleep(0.01)

    def acks_between(self, since, until):
        return self.acks[bisect.bisect_left(self.ack_times, since):bisect.bisect_left(self.ack_times, until)]

    def height_by(self, when):
        at = bisect.bisect_right(self.height_times, when)
        return self.heights[at - 1] if at > 0 else 0

    def rates(self, since, until):
        """Blocks and commands per second between two times."""
        span = max(until - since, 1e-9)
        return ((self.height_by(until) - self.height_by(since)) / span,
                len(self.acks_between(since, until)) / span)

    async def display(self):
        is_terminal = sys.stdout.isatty()
        while True:
            self.show_line(is_terminal)
            await asyncio.sleep(0.25 if is_terminal else 1)

    def show_line(self, is_terminal):
        now = time.monotonic()
        blocks, commands = self.rates(now - 1, now)
        heights = " ".join(f"{r.height if r.up else 'down' if r.starts > 0 else '-':>6}" for r in self.replicas)
        up = sum(r.up for r in self.replicas)
        line = (f"{now - self.began:5.1f} s  {self.phase:<12} heights {heights}  {blocks:5.0f} blocks/s "
                f"{commands:6.0f} commands/s  {len(self.acks):6} acknowledged  {up} of {len(self.replicas)} up")
        if is_terminal:
            columns = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r" + line[:columns].ljust(min(self.display_width, columns)))
            self.display_width = len(line)
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def say(self, text):
        """A line of its own, above the live line."""
        if sys.stdout.isatty():
            sys.stdout.write("\r" + " " * min(self.display_width, shutil.get_terminal_size().columns - 1) + "\r")
        print(text, flush=True)

    async def until(self, what, holds, seconds, replica=None):
        """Waits for something that can be seen; says what was awaited if it does not come."""
        deadline = time.monotonic() + seconds
        while not holds():
            for r in self.replicas:
                r.check_alive()
            if time.monotonic() > deadline:
                raise Failure(f"waited {seconds} s for: {what}", replica)
            await asyncio.sleep(0.02)

    async def for_seconds(self, seconds):
        """Lets the load run, and minds the processes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for r in self.replicas:
                r.check_alive()
            await asyncio.sleep(0.05)


# ---- the story -------------------------------------------------------------------------------


def read_data_set(path):
    """The rows of zone1970.tab: (key, value), named by the third column."""
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            columns = line.rstrip("\n").split("\t")
            rows.append((f"tz/{columns[2]}", "\t".join(columns[:2] + columns[3:])))
    return rows


class Criteria:
    def __init__(self):
        self.lines, self.held = [], True

    def check(self, text, holds):
        self.held = self.held and bool(holds)
        self.lines.append(f"  {'ok    ' if holds else 'FAILED'}  {text}")


async def story(world, rows):
    """From the first start to the last check. The first task that fails ends it."""
    clients = [Client(world, number) for number in range(CLIENTS)]
    acts = asyncio.ensure_future(all_acts(world, rows, clients))
    tasks = [acts, asyncio.ensure_future(world.display())]
    tasks += [asyncio.ensure_future(world.monitor(r)) for r in world.replicas]
    tasks += [asyncio.ensure_future(c.run()) for c in clients]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # raises what ended it
        return acts.result()
    finally:
        await cancel_all(tasks)


async def cancel_all(tasks):
    """Before Python 3.12 wait_for() may swallow a cancellation that comes with its result: insist."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)
    await asyncio.gather(*tasks, return_exceptions=True)  # what they died of has been looked at


async def all_acts(world, rows, clients):
    criteria, spans = Criteria(), {}
    await act_start(world)
    await act_data_set(world, rows, criteria)
    load = asyncio.ensure_future(world.offer_steadily())
    try:
        await act_steady(world, spans)
        await act_kill(world, spans, criteria)
        await act_restart(world, spans, criteria)
        await act_join(world, spans, criteria)
        await act_leave(world, spans, criteria)
    finally:
        await cancel_all([load])
    await act_check(world, spans, criteria, clients)
    await act_lie(world, criteria)
    return criteria


async def act_start(world):
    world.phase = "starting"
    for r in world.founders:
        r.start()
    for r in world.founders:
        await world.until(f"replica {r.number} to answer its clients", lambda r=r: r.up, 15, r.number)


async def act_data_set(world, rows, criteria):
    world.phase = "data set"
    for key, value in rows:
        world.offer(key, value)
    await world.until(f"{len(rows)} rows to be committed", lambda: len(world.acks) == len(rows), 20)
    world.say(f"The table of {len(rows)} time zones is committed, at height {max(a.height for a in world.acks)}.")
    criteria.check(f"the {len(rows)} rows of the data set were committed", True)


async def act_steady(world, spans):
    world.phase = "steady load"
    await world.for_seconds(1)  # the first second settles; it is not measured
    spans["before"] = await measured(world, world.options.seconds * 0.25)


async def act_kill(world, spans, criteria):
    victim = world.victim
    world.phase = "one is down"
    height = max(r.height for r in world.replicas)
    exit_code = victim.kill()
    world.say(f"Replica {victim.number} is killed (SIGKILL) at height {victim.height}.")
    spans["one down"] = await measured(world, world.options.seconds * 0.3)
    others_up = all(r.up for r in world.founders if r is not victim)
    later, rate = max(r.height for r in world.replicas), spans["one down"]["commands"]
    criteria.check(f"replica {victim.number} was killed (exit code {exit_code}), and the others stayed up",
                   exit_code == -signal.SIGKILL and not victim.up and others_up)
    criteria.check(f"commits went on without it: from height {height} to {later}, at {rate:.0f} of "
                   f"{world.options.load} commands/s", later > height and rate >= 0.5 * world.options.load)


async def act_restart(world, spans, criteria):
    victim, goal = world.victim, max(r.height for r in world.replicas)
    world.phase = "catching up"
    victim.write_config(world.founders, world.options.chain_id, create=False)  # it must find its own data
    victim.start()
    started = time.monotonic()
    world.say(f"Replica {victim.number} is restarted; the others are at height {goal}.")
    await world.until(f"replica {victim.number} to catch up with height {goal}",
                      lambda: victim.up and victim.height >= goal, 20, victim.number)
    seconds = time.monotonic() - started
    world.say(f"Replica {victim.number} has caught up after {seconds:.1f} s.")
    criteria.check(f"restarted on its own data, it caught up with height {goal} in {seconds:.1f} s", True)
    world.phase = "all are back"
    spans["after"] = await measured(world, world.options.seconds * 0.15)


async def change_validator(world, at, replica, power):
    """Gives a replica a power, through a client of another; returns the height and the new epoch."""
    answer = (await request_lines(at, [f"VALIDATOR {replica.address} {power}"]))[0]
    if not answer.startswith("OK "):
        raise Failure(f"VALIDATOR {replica.number} {power}: {answer}", at.number)
    world.changes += 1
    height, epoch = map(int, answer.split()[1:])
    await world.until(f"all replicas to be in epoch {epoch}",
                      lambda: all(r.up and r.number_of("epoch") == epoch for r in world.replicas), 20)
    return height, epoch


async def act_join(world, spans, criteria):
    joiner, goal = world.joiner, max(r.height for r in world.replicas)
    world.phase = "a fifth comes"
    joiner.start()
    await world.until(f"replica {joiner.number} to catch up with height {goal}",
                      lambda: joiner.up and joiner.height >= goal, 20, joiner.number)
    was = joiner.status["role"]
    height, epoch = await change_validator(world, world.founders[1], joiner, 1)
    world.say(f"Replica {joiner.number}, a {was} so far, is made a validator at height {height}: epoch {epoch}.")
    world.validators.append(joiner)
    world.epochs.append(f"epoch {epoch}, from height {height}: {joiner.number} has joined")
    await world.until(f"replica {joiner.number} to vote", lambda: joiner.number_of("votes") > 0, 20, joiner.number)
    world.phase = "five validators"
    spans["five"] = await measured(world, world.options.seconds * 0.15)
    sets = [r.number_of("validators") for r in world.replicas]
    rate, proposals = spans["five"]["commands"], joiner.number_of("proposals")
    criteria.check(f"replica {joiner.number} followed as a listener, joined in epoch {epoch} (validators: {sets}), "
                   f"has voted {joiner.number_of('votes')} times and proposed {proposals} blocks",
                   was == "listener" and joiner.status["role"] == "validator" and set(sets) == {VALIDATORS + 1}
                   and proposals > 0)
    criteria.check(f"commits went on with five: {rate:.0f} of {world.options.load} commands/s",
                   rate >= 0.5 * world.options.load)


async def act_leave(world, spans, criteria):
    leaver = world.leaver
    world.phase = "one leaves"
    height, epoch = await change_validator(world, world.founders[1], leaver, 0)
    world.say(f"Replica {leaver.number} is a validator no longer, from height {height} on: epoch {epoch}.")
    world.validators.remove(leaver)
    world.epochs.append(f"epoch {epoch}, from height {height}: {leaver.number} has left")
    votes = leaver.number_of("votes")
    spans["one left"] = await measured(world, world.options.seconds * 0.15)
    rate, later = spans["one left"]["commands"], leaver.number_of("votes")
    criteria.check(f"replica {leaver.number} left in epoch {epoch}, listens, and has voted no more ({votes}, {later})",
                   leaver.status["role"] == "listener" and later <= votes + 1)
    criteria.check(f"commits went on without it: {rate:.0f} of {world.options.load} commands/s",
                   rate >= 0.5 * world.options.load)


async def act_check(world, spans, criteria, clients):
    replicas = world.replicas
    world.phase = "draining"
    await world.until("every offered command to be acknowledged", lambda: len(world.acks) == world.offered, 20)
    height = max(max(a.height for a in world.acks), max(r.height for r in replicas))
    for r in replicas:
        await world.until(f"replica {r.number} to commit height {height}", lambda r=r: r.height >= height, 20,
                          r.number)

    world.phase = "repeating"
    changed = repeated = 0
    for client in clients:
        requests, answers = zip(*client.applied) if client.applied else ((), ())
        again = await request_lines(world.validator_after(client.at), requests)
        repeated += len(requests)
        changed += sum(a != b for a, b in zip(answers, again))

    world.phase = "checking"
    hashes = [(await request_lines(r, [f"HASH {height}"]))[0] for r in replicas]
    missing = await asyncio.gather(*[count_missing(r, world.acks) for r in replicas])
    for r in replicas:
        r.status = parse_status((await request_lines(r, ["STATUS"]))[0])
    commands = [int(r.status["commands"]) for r in replicas]
    sessions = sum(c.session is not None for c in clients) + world.changes  # each change opens one of its own
    expected = world.offered + sessions + world.changes

    world.say("")
    print_spans(spans)
    print_replicas(world, height, hashes, missing)
    criteria.check(f"every command offered ({world.offered}) was acknowledged", len(world.acks) == world.offered)
    criteria.check(f"every command acknowledged is in each replica (missing: {missing})", not any(missing))
    criteria.check(f"{repeated} commands repeated at another replica were answered with their first height",
                   repeated > 0 and changed == 0)
    criteria.check(f"none was applied twice: {world.offered} writes, {sessions} sessions and {world.changes} changes "
                   f"of the validators, applied: {commands}", all(count == expected for count in commands))
    refused = [int(r.status["blocks_refused"]) for r in replicas]
    criteria.check(f"no replica called a block of another invalid ({refused})", not any(refused))
    criteria.check(f"the state hashes of all {len(replicas)} at height {height} are equal",
                   all(answer.startswith("OK ") for answer in hashes) and len(set(hashes)) == 1)


async def act_lie(world, criteria):
    """After the check, because nothing is left to compare at the one that lies."""
    liar = world.liar
    world.phase = "one lies"
    world.validators.remove(liar)
    code = liar.terminate(15)
    liar.start_liar(world.options.equivocator, world.options.genesis, world.replicas)
    world.say(f"Replica {liar.number} is replaced by an equivocator, which votes twice in each view.")
    load = asyncio.ensure_future(world.offer_steadily())
    try:
        span = await measured(world, world.options.seconds * 0.15)
    finally:
        await cancel_all([load])
    liar.kill()
    others = [r for r in world.replicas if r is not liar]
    accused = {r.number: await convicted(r) for r in others}
    await world.until("every offered command to be acknowledged", lambda: len(world.acks) == world.offered, 20)
    height = max(a.height for a in world.acks)
    for r in others:
        await world.until(f"replica {r.number} to commit height {height}", lambda r=r: r.height >= height, 20, r.number)
    hashes = [(await request_lines(r, [f"HASH {height}"]))[0] for r in others]
    criteria.check(f"replica {liar.number} stopped cleanly (exit code {code}), and an equivocator lied with its key: "
                   f"commits went on, at {span['commands']:.0f} of {world.options.load} commands/s",
                   code == 0 and span["commands"] >= 0.5 * world.options.load)
    holders = [number for number, found in accused.items() if ("double-vote", liar.address) in found]
    criteria.check(f"replicas {holders} hold evidence of two votes in one view by {liar.number}, verified, and "
                   "none against anybody else", len(holders) == len(others)
                   and all(address == liar.address for found in accused.values() for _, address in found))
    criteria.check(f"the state hashes of the other {len(others)} at height {height} are equal",
                   all(answer.startswith("OK ") for answer in hashes) and len(set(hashes)) == 1)


async def convicted(replica):
    """Whom this replica has evidence against, as (kind, address)."""
    found = []
    while True:
        answer = (await request_lines(replica, [f"EVIDENCE {len(found)}"]))[0]
        if answer.startswith("ERR notfound"):
            return found
        words = answer.split()
        if words[0] != "OK":
            raise Failure(f"EVIDENCE: {answer}", replica.number)
        found.append((words[1], words[4].split("=")[1]))


async def measured(world, seconds):
    """Lets the load run for a while: rates, and the latencies of what was acknowledged in it."""
    since = time.monotonic()
    offered = world.offered
    await world.for_seconds(seconds)
    until = time.monotonic()
    blocks, commands = world.rates(since, until)
    latencies = sorted(a.time - a.due for a in world.acks_between(since, until))
    return {"seconds": until - since, "blocks": blocks, "commands": commands, "latencies": latencies,
            "offered": (world.offered - offered) / (until - since)}


async def count_missing(replica, acks):
    """How many acknowledged writes this replica does not have. Keys are written once each."""
    answers = await request_lines(replica, [f"GET {ack.key}" for ack in acks])
    return sum(answer != f"VALUE {ack.value}" for answer, ack in zip(answers, acks))


def print_spans(spans):
    print(f"{'':10} {'seconds':>8} {'blocks/s':>9} {'offered/s':>10} {'commands/s':>11} "
          f"{'median ms':>10} {'p99 ms':>8} {'worst ms':>9}")
    for name, span in spans.items():
        ms = [1000 * latency for latency in span["latencies"]] or [float("nan")]
        print(f"{name:10} {span['seconds']:8.1f} {span['blocks']:9.1f} {span['offered']:10.1f} "
              f"{span['commands']:11.1f} {statistics.median(ms):10.1f} {ms[int(0.99 * (len(ms) - 1))]:8.1f} "
              f"{ms[-1]:9.1f}")
    print()


def print_replicas(world, height, hashes, missing):
    print(f"{'replica':8} {'height':>8} {'state hash at ' + str(height):34} {'data blocks':>12} {'commands':>9} "
          f"{'keys':>8} {'time-outs':>10} {'starts':>7} {'missing':>8} {'epoch':>6}  role")
    for r, answer, count in zip(world.replicas, hashes, missing):
        words = answer.split()
        state_hash = words[2] if words[0] == "OK" else answer
        print(f"{r.number:<8} {r.height:>8} {state_hash:34} {r.status['data_blocks']:>12} "
              f"{r.status['commands']:>9} {r.status['keys']:>8} {r.status['view_timeouts']:>10} {r.starts:>7} "
              f"{count:>8} {r.status['epoch']:>6}  {r.status['role']}")
    print("\n" + "\n".join(world.epochs) + "\n")


# ---- the program -----------------------------------------------------------------------------


def prepare(options, directory):
    count = VALIDATORS + 1  # and the one that joins
    ports = free_ports(2 * count)
    replicas = [Replica(options.kv, directory, number, ports[2 * number], ports[2 * number + 1])
                for number in range(count)]
    for r in replicas:
        r.make_key()
    options.chain_id = random.getrandbits(63)
    for r in replicas:
        r.write_config(replicas[:VALIDATORS], options.chain_id, create=True)
    genesis = {run([options.kv, "genesis", r.config]).strip() for r in replicas}
    if len(genesis) != 1:
        raise Failure(f"the configurations have different genesis hashes: {genesis}")
    options.genesis = genesis.pop()
    print(f"{count} keys and configurations in {directory}; genesis {options.genesis[:16]}...", flush=True)
    return replicas


async def perform(replicas, rows, options):
    """The story; a signal ends it like a failure."""
    task = asyncio.ensure_future(story(World(replicas, options), rows))
    caught = []

    def stop(number):
        caught.append(signal.Signals(number).name)
        task.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    done, _ = await asyncio.wait([task], timeout=options.deadline)
    if not done:
        await cancel_all([task])
        raise Failure(f"not finished after {options.deadline:.0f} s")
    if task.cancelled():
        raise Stopped(caught[0] if caught else "cancelled")
    return task.result()


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kv", default=os.path.join(HERE, "..", "target", "examples-c", "kv"),
                        help="the kv program [%(default)s]")
    parser.add_argument("--load", type=int, default=400, metavar="N",
                        help="commands per second offered [%(default)s]")
    parser.add_argument("--seconds", type=float, default=15, metavar="S",
                        help="of steady load that is measured [%(default)s]")
    parser.add_argument("--keep", action="store_true", help="keep the directory with data and logs")
    options = parser.parse_args()
    if options.load < 1 or options.seconds <= 0:
        parser.error("--load and --seconds are positive")
    options.kv = os.path.abspath(options.kv)
    options.equivocator = os.path.join(os.path.dirname(options.kv), "equivocator")
    for program in (options.kv, options.equivocator):
        if not os.access(program, os.X_OK):
            parser.error(f"{program}: not there; `make build` makes it")
    options.deadline = options.seconds + 45
    return options


def report_failure(error, replicas):
    print(f"\nFAILED: {error if isinstance(error, Failure) else repr(error)}", file=sys.stderr)
    suspect = getattr(error, "replica", None)
    for r in replicas:
        if r.starts > 0 and suspect in (None, r.number):
            print(f"---- the end of {r.log}\n{r.log_tail()}", end="", file=sys.stderr)


def tidy_up(replicas, directory, keep):
    """No process stays behind, whatever happens meanwhile."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for r in replicas:
        if r.process is not None and r.process.poll() is None:
            r.kill()
    if keep:
        print(f"Data and logs are kept in {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)


def stop_by_signal(number, _):
    raise Stopped(signal.Signals(number).name)


def main():
    options = parse_options()
    rows = read_data_set(os.path.join(HERE, "data", "zone1970.tab"))
    for number in SIGNALS:
        signal.signal(number, stop_by_signal)
    directory = tempfile.mkdtemp(prefix="hotstuff-demo-")
    replicas, held, keep = [], False, True
    try:
        replicas += prepare(options, directory)
        criteria = asyncio.run(perform(replicas, rows, options))
        for number in SIGNALS:
            signal.signal(number, stop_by_signal)  # asyncio has taken its own handlers away
        for r in [r for r in replicas if r.wanted]:
            code = r.terminate(15)
            criteria.check(f"replica {r.number} stopped cleanly on SIGTERM (exit code {code})", code == 0)
        print("\n".join(criteria.lines))
        held, keep = criteria.held, options.keep or not criteria.held
    except Stopped as stopped:
        print(f"\nStopped by {stopped}.", file=sys.stderr)
        keep = options.keep
    except Exception as error:  # of any kind: it is told, with what the replicas said last
        report_failure(error, replicas)
    finally:
        tidy_up(replicas, directory, keep)
    print("\nFive replicas agree." if held else "\nThe demo FAILED.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
