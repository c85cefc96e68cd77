#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of kv from the outside: its command line, its configuration, its line protocol, its promises.

    python3 examples-c/test_kv.py [--kv target/examples-c/kv] [-v] [TestCase.test ...]

--kv may be repeated, with kv in other languages: the replicas of a cluster then take turns, so that
each cluster is a mixed one. A single process is the first of them.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import demo

KVS = [os.path.join(demo.HERE, "..", "target", "examples-c", "kv")]
SECONDS = 30  # for anything that should happen soon; a slow machine is not a defect
ADDRESS = "ab" * 32
GOOD = f"""\
chain_id = 7
key_file = a.key
data_dir = a
listen = 127.0.0.1:9000
client_listen = 0
validator = {ADDRESS} 1 127.0.0.1:9000
"""
LINE_MAX = 200 + 8192 + 64 - 1
WINDOW = 16
SESSIONS = 4096


def until(what, holds, seconds=SECONDS):
    """Waits for something that can be seen, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        seen = holds()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.01)


def run_kv(*arguments, directory=None):
    return subprocess.run([KVS[0], *arguments], cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS)


class Connection:
    """A client; one line out, one line in."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.lines = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.lines.close()
        self.socket.close()

    def send(self, *requests):
        self.socket.sendall(b"".join(r.encode() + b"\n" for r in requests))

    def answer(self):
        """A line, or "" when the server has closed the connection."""
        return self.lines.readline().decode().rstrip("\n")

    def ask(self, request):
        self.send(request)
        return self.answer()

    def status(self):
        return dict(word.split("=", 1) for word in self.ask("STATUS").split()[1:])


class Cluster:
    """Replicas in a directory of their own; the first `validators` (all, if not said) begin the chain."""

    def __init__(self, count, extra="", validators=None):
        self.directory = tempfile.mkdtemp(prefix="hotstuff-test-kv-")
        ports = demo.free_ports(2 * count)
        self.replicas = [demo.Replica(KVS[i % len(KVS)], self.directory, i, ports[2 * i], ports[2 * i + 1])
                         for i in range(count)]
        self.extra, self.validators = extra, self.replicas[:validators]
        for r in self.replicas:
            r.make_key()
        self.configure(create=True)

    def configure(self, create):
        for r in self.replicas:
            r.write_config(self.validators, 7, create)
            with open(r.config) as file:
                text = file.read()
            overridden = [line.split("=")[0].strip() for line in self.extra.splitlines()]
            kept = [line for line in text.splitlines() if line.split("=")[0].strip() not in overridden]
            with open(r.config, "w") as file:
                file.write("\n".join(kept) + "\n" + self.extra)

    def start(self, *numbers):
        for r in [self.replicas[i] for i in numbers] if numbers else self.replicas:
            r.start()
        self.wait_for_answers()

    def wait_for_answers(self):
        for r in self.replicas:
            if r.wanted:
                until(f"replica {r.number} to answer; its log ends:\n{r.log_tail()}", lambda r=r: self.answers(r))

    @staticmethod
    def answers(replica):
        if replica.process.poll() is not None:
            raise AssertionError(f"replica {replica.number} ended, exit code {replica.process.returncode}:\n"
                                 f"{replica.log_tail()}")
        try:
            with Connection(replica.client_port) as c:
                return c.ask("STATUS").startswith("OK ")
        except OSError:
            return False

    def connect(self, number):
        return Connection(self.replicas[number].client_port)

    def height(self, number):
        with self.connect(number) as c:
            return int(c.status()["committed_height"])

    def wait_for_height(self, height):
        for r in self.replicas:
            if r.wanted:
                until(f"replica {r.number} to commit height {height}", lambda r=r: self.height(r.number) >= height)

    def stop(self):
        return [r.terminate(SECONDS) for r in self.replicas]

    def remove(self):
        for r in self.replicas:
            if r.process is not None and r.process.poll() is None:
                r.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class WithCluster(unittest.TestCase):
    """One cluster for all tests of a class; each test keeps to its own keys and sessions."""

    count, extra = 1, ""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.count, cls.extra)
        cls.addClassCleanup(cls.cluster.remove)
        cls.cluster.start()

    def connect(self, number=0):
        connection = self.cluster.connect(number)
        self.addCleanup(connection.close)
        return connection

    def open_session(self, connection):
        return int(self.ok(connection.ask("OPEN"))[1])

    def ok(self, answer):
        """The words after OK, numbers as numbers."""
        self.assertRegex(answer, r"^OK \d")
        return [int(word) for word in answer.split()[1:]]


# ---- command line and configuration ----------------------------------------------------------


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="hotstuff-test-kv-")
        self.addCleanup(shutil.rmtree, self.directory)

    def run_kv(self, *arguments):
        return run_kv(*arguments, directory=self.directory)

    def test_help_names_every_verb_every_key_and_every_request(self):
        done = self.run_kv("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("keygen address check genesis run --log-level --version chain_id key_file data_dir create listen "
                     "client_listen view_timeout_ms max_view_timeout_ms max_idle_ms commit_rule vote_to map_bytes "
                     "block_bytes_max block_commands_max pool_commands_max pool_bytes_max commit_timeout_ms "
                     "connections_max client_idle_ms max_listeners validator peer option.NAME SET DEL GET VALIDATOR "
                     "OPEN HASH EVIDENCE WHERE BLOCK PROOF EPOCH STATUS QUIT").split():
            self.assertIn(word, done.stdout)

    def test_wrong_usage_says_what_and_exits_with_2(self):
        for arguments, text in [([], "kv keygen"), (["fly"], "unknown command"), (["run"], "which configuration"),
                                (["keygen"], "which key file"), (["check", "a", "b"], "too many arguments"),
                                (["run", "a", "--log-level", "loud"], "expected off, error")]:
            with self.subTest(arguments=arguments):
                done = self.run_kv(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr + done.stdout)

    def test_keys_are_private_and_never_overwritten(self):
        done = self.run_kv("keygen", "a.key")
        self.assertRegex(done.stdout, r"^[0-9a-f]{64}\n$")
        path = os.path.join(self.directory, "a.key")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(self.run_kv("address", "a.key").stdout, done.stdout)
        again = self.run_kv("keygen", "a.key")
        self.assertEqual(again.returncode, 1)
        self.assertIn("a.key", again.stderr)
        self.assertEqual(self.run_kv("address", "a.key").stdout, done.stdout)
        os.chmod(path, 0o640)
        refused = self.run_kv("address", "a.key")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("mode 0600", refused.stderr)

    def test_a_key_file_of_another_kind_is_refused(self):
        for content in (b"", b"not a key", b"\x30" * 300):
            with self.subTest(content=content[:10]):
                path = os.path.join(self.directory, "bad.key")
                with open(path, "wb") as file:
                    file.write(content)
                os.chmod(path, 0o600)
                done = self.run_kv("address", "bad.key")
                self.assertEqual(done.returncode, 1)
                self.assertIn("not a key", done.stderr)

    def check(self, text):
        with open(os.path.join(self.directory, "kv.conf"), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return self.run_kv("check", "kv.conf")

    def test_good_configurations(self):
        for text in (GOOD, "# a comment\n\n" + GOOD.replace("\n", "  # why\r\n"), GOOD.replace(" = ", "="),
                     GOOD.rstrip("\n"), GOOD + "option.sync.limit = 10\noption.other = x y\n",
                     GOOD + "commit_rule = two_chain\nvote_to = next_leader\ncreate = true\n",
                     GOOD + f"peer = {'cd' * 32} 127.0.0.1:9001\n"):
            done = self.check(text)
            self.assertEqual((done.returncode, done.stderr), (0, ""), text)

    def test_a_bad_line_is_named_with_its_number_its_key_and_what_was_expected(self):
        lines = GOOD.count("\n")
        number = r'expected a whole number from \d+ to \d+, got "{}"'
        cases = [  # what is appended, the key, the text; the line is the first one appended
            ("nonsense = 1", "nonsense", "unknown key"),
            ("Chain_id = 1", "Chain_id", "unknown key"),
            ("chain_id = 8", "chain_id", "already set on line 1"),
            ("view_timeout_ms = fast", "view_timeout_ms", number.format("fast")),
            ("view_timeout_ms = 0", "view_timeout_ms", number.format("0")),
            ("view_timeout_ms = -1", "view_timeout_ms", number.format("-1")),
            ("view_timeout_ms = 10ms", "view_timeout_ms", number.format("10ms")),
            ("view_timeout_ms = 0x10", "view_timeout_ms", number.format("0x10")),
            ("pool_bytes_max = 18446744073709551616", "pool_bytes_max", number.format("18446744073709551616")),
            ("block_bytes_max = 10", "block_bytes_max", number.format("10")),
            ("max_idle_ms =", "max_idle_ms", "expected a value"),
            ("view_timeout_ms = 500\nview_timeout_ms = 500", "view_timeout_ms", "already set", 1),
            ("view_timeout_ms = 500\nmax_view_timeout_ms = 400", "max_view_timeout_ms",
             'expected at least view_timeout_ms, which is 500, got "400"', 1),
            ("commit_rule = four_chain", "commit_rule", 'expected three_chain or two_chain, got "four_chain"'),
            ("vote_to = none", "vote_to", "expected auto or all or next_leader"),
            ("create = yes", "create", 'expected false or true, got "yes"'),
            ("option. = 1", "option.", "expected `option.NAME = value`"),
            ("option.a = 1\noption.a = 2", "option.a", "already set on line 7", 1),
            ("validator = xyz 1 127.0.0.1:1", "validator", '64 hexadecimal digits.*the address is "xyz"'),
            (f"validator = {'g' * 64} 1 h:1", "validator", "64 hexadecimal digits"),
            (f"validator = {'cd' * 32} 0 h:1", "validator", 'the power is "0"'),
            (f"validator = {'cd' * 32} 1.5 h:1", "validator", 'the power is "1.5"'),
            (f"validator = {'cd' * 32} 1", "validator", "expected `address power host:port`"),
            (f"validator = {'cd' * 32} 1 h:1 extra", "validator", "expected `address power host:port`"),
            (f"validator = {'cd' * 32} 1 host", "validator", 'instead of host:port is "host"'),
            (f"validator = {ADDRESS.upper()} 1 h:1", "validator", "already on line 6"),
            ("peer = xyz 127.0.0.1:1", "peer", '64 hexadecimal digits.*the address is "xyz"'),
            (f"peer = {'cd' * 32}", "peer", "expected `address host:port`"),
            (f"peer = {'cd' * 32} 1 h:1", "peer", "expected `address host:port`"),
            (f"peer = {'cd' * 32} host", "peer", 'instead of host:port is "host"'),
            (f"peer = {ADDRESS} h:1", "peer", "already on line 6"),
        ]
        for text, key, expected, *below in cases:
            with self.subTest(text=text):
                done = self.check(GOOD + text + "\n")
                line = lines + 1 + (below[0] if below else 0)
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, rf"^kv: kv\.conf:{line}: {re.escape(key)}: .*{expected}")

    def test_lines_without_a_key_are_named_by_their_number(self):
        for text, expected in [("just words\n", "expected `key = value`"), ("= 1\n", "expected `key = value`"),
                               ("a" * 2000 + "\n", "line of less than 1024 bytes"), (b"chain_id = \0\n", "NUL")]:
            with self.subTest(text=text[:20]):
                text = text if isinstance(text, bytes) else text.encode()
                done = self.check(b"# first\n" + text + GOOD.encode())
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, rf"^kv: kv\.conf:2: .*{expected}")

    def test_missing_keys_are_named(self):
        for key in ("chain_id", "key_file", "data_dir", "listen", "client_listen", "validator"):
            with self.subTest(key=key):
                text = "".join(line for line in GOOD.splitlines(True) if not line.startswith(key + " "))
                done = self.check(text)
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, rf"^kv: kv\.conf:\d+: {key}: missing")

    def test_a_missing_file_is_named(self):
        done = self.run_kv("check", "nowhere.conf")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nowhere.conf", done.stderr)


class Starting(unittest.TestCase):
    """What keeps a replica from starting is said, and the exit code is not 0."""

    def setUp(self):
        self.cluster = Cluster(1)
        self.addCleanup(self.cluster.remove)
        self.replica = self.cluster.replicas[0]

    def refused(self, expected):
        done = run_kv("run", self.replica.config)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, expected)

    def test_a_data_directory_that_is_missing(self):
        self.cluster.configure(create=False)
        self.refused(r"(?i)replica-0\b.*(create|missing|not found|does not exist)")

    def test_a_data_directory_in_use(self):
        self.cluster.start()
        ports = demo.free_ports(2)
        other = os.path.join(self.cluster.directory, "other.conf")
        with open(self.replica.config) as file:
            text = file.read()
        with open(other, "w") as file:
            file.write(text.replace(f":{self.replica.client_port}", f":{ports[0]}")
                       .replace(f"listen = 127.0.0.1:{self.replica.port}", f"listen = 127.0.0.1:{ports[1]}"))
        done = run_kv("run", other)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "(?i)lock|in use")

    def test_a_client_port_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.replica.client_port))
            other.listen()
            self.refused("client_listen")

    def test_a_replica_port_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.replica.port))
            other.listen()
            self.refused("(?i)in use")

    def test_an_unknown_option_of_the_library(self):
        self.cluster.extra = "option.no-such-option = 1\n"
        self.cluster.configure(create=True)
        self.refused("option.no-such-option")

    def test_what_is_shipped_has_no_option_for_tests(self):
        self.cluster.extra = "option.test.panic = on purpose\n"
        self.cluster.configure(create=True)
        self.refused(r"option.test\.panic.*: unknown to this version")

    def test_both_signals_stop_it_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.cluster.start()
                self.replica.wanted = False
                self.replica.process.send_signal(number)
                self.assertEqual(self.replica.process.wait(timeout=SECONDS), 0)


# ---- the line protocol -----------------------------------------------------------------------


class Protocol(WithCluster):
    def test_set_get_delete(self):
        c = self.connect()
        self.assertEqual(c.ask("GET color"), "NONE")
        first = self.ok(c.ask("SET color dark blue\tand  more"))[0]
        self.assertEqual(c.ask("GET color"), "VALUE dark blue\tand  more")
        second = self.ok(c.ask("DEL color"))[0]
        self.assertGreater(second, first)
        self.assertEqual(c.ask("GET color"), "NONE")
        self.ok(c.ask("DEL color"))

    def test_limits_of_keys_and_values(self):
        c = self.connect()
        key, value = "k" * 200, "v" * 8192
        self.ok(c.ask(f"SET {key} {value}"))
        self.assertEqual(c.ask(f"GET {key}"), f"VALUE {value}")
        self.assertRegex(c.ask(f"SET {key}k v"), "^ERR syntax a key has at most 200 bytes")
        self.assertRegex(c.ask(f"SET k {value}v"), "^ERR syntax a value has at most 8192 bytes")
        self.assertRegex(c.ask(f"GET {key}k"), "^ERR syntax")

    def test_bad_requests_are_answered_and_the_connection_goes_on(self):
        c = self.connect()
        for request in ["", " ", "FOO", "set a b", "SET", "SET ", "SET a", "SET a ", "SET  a b", "SET \x01 b", "GET",
                        "GET ", "GET a b", "DEL", "DEL a b", "HASH", "HASH x", "HASH -1", "HASH 1 2", "STATUS now",
                        "HASH 99999999999999999999999", "OPEN 0", "OPEN xyz", "OPEN 11112222333344445", "@", "@1",
                        "@1: SET a b", "@:1 SET a b", "@0:1 SET a b", "@1:0 SET a b", "@1:1", "@1:1 GET a",
                        "@1:1x SET a b", "@-1:1 SET a b", "@99999999999999999999:1 SET a b", "@" + "1" * 100]:
            with self.subTest(request=request):
                self.assertRegex(c.ask(request), "^ERR syntax ")
        c.socket.sendall(b"SET nul a\0b\n")
        self.assertRegex(c.answer(), "^ERR syntax a NUL byte")
        self.assertEqual(c.ask("GET nul"), "NONE")

    def test_carriage_returns_are_taken_off(self):
        c = self.connect()
        self.ok(c.ask("SET crlf v\r"))
        self.assertEqual(c.ask("GET crlf\r"), "VALUE v")
        self.assertRegex(c.ask("SET crlf a\rb"), "^ERR syntax")

    def test_a_line_that_is_too_long_is_answered_once_and_skipped(self):
        for length in (LINE_MAX + 1, LINE_MAX + 2, 1 << 20):
            with self.subTest(length=length):
                c = self.connect()
                c.socket.sendall(b"G" * length + b"\nGET x\n")
                self.assertRegex(c.answer(), f"^ERR syntax a line has at most {LINE_MAX} bytes")
                self.assertEqual(c.answer(), "NONE")
                c.close()

    def test_requests_in_pieces(self):
        c = self.connect()
        for byte in b"SET pieces of bytes\nGET pieces\n":
            c.socket.sendall(bytes([byte]))
        self.ok(c.answer())
        self.assertEqual(c.answer(), "VALUE of bytes")

    def test_many_requests_at_once_are_answered_in_order(self):
        c = self.connect()
        c.send(*[line for i in range(100) for line in (f"SET order {i}", "GET order")])
        heights = []
        for i in range(100):
            heights += self.ok(c.answer())
            self.assertEqual(c.answer(), f"VALUE {i}")
        self.assertEqual(heights, sorted(heights))

    def test_a_client_that_has_said_all_still_gets_its_answers(self):
        c = self.connect()
        c.send(*[f"SET half {i}" for i in range(40)])
        c.socket.shutdown(socket.SHUT_WR)
        for _ in range(40):
            self.ok(c.answer())
        self.assertEqual(c.answer(), "")

    def test_a_client_that_leaves_costs_nothing(self):
        for i in range(20):
            with self.cluster.connect(0) as c:
                c.send(f"SET leaving {i}", "GET leaving")
        c = self.connect()
        until("their connections to be closed", lambda: int(c.status()["connections"]) == 1)
        until("the pool to be empty", lambda: int(c.status()["pool"]) == 0)

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        c, other = self.connect(), self.connect()
        self.ok(c.ask("SET large " + "x" * 8192))
        requests, answers = b"GET large\n" * 4000, 0  # 32 MB of answers
        c.socket.settimeout(0.2)
        sent = 0
        try:
            while sent < len(requests):
                sent += c.socket.send(requests[sent:])
        except socket.timeout:
            pass
        self.assertEqual(other.ask("GET nobody"), "NONE")
        c.socket.settimeout(SECONDS)
        for _ in range(sent // len(b"GET large\n")):
            self.assertEqual(len(c.lines.readline()), len("VALUE \n") + 8192)
            answers += 1
        self.assertGreater(answers, 0)

    def test_quit(self):
        c = self.connect()
        self.assertEqual(c.ask("QUIT"), "OK bye")
        self.assertEqual(c.answer(), "")

    def test_hash(self):
        c = self.connect()
        height = self.ok(c.ask("SET hash 1"))[0]
        words = c.ask(f"HASH {height}").split()
        self.assertEqual(words[:2], ["OK", str(height)])
        self.assertRegex(words[2] + " " + words[3], "^[0-9a-f]{32} [0-9a-f]{64}$")
        later = self.ok(c.ask("SET hash 2"))[0]
        self.assertNotEqual(c.ask(f"HASH {later}").split()[2], words[2])
        self.assertEqual(c.ask(f"HASH {height}").split(), words)
        self.assertRegex(c.ask("HASH 0"), "^OK 0 [0-9a-f]{32} 0{64}$")
        self.assertRegex(c.ask(f"HASH {later + 1000000}"), "^ERR notfound")


class Sessions(WithCluster):
    def test_opening_twice_under_one_name_opens_one(self):
        c = self.connect()
        first = self.ok(c.ask("OPEN 00c0ffee"))
        self.assertEqual(self.ok(c.ask("OPEN c0ffee")), first)
        self.assertNotEqual(self.ok(c.ask("OPEN c0ffef"))[1], first[1])

    def test_a_repeated_command_is_answered_with_its_height_and_not_applied(self):
        c = self.connect()
        s = self.open_session(c)
        height = self.ok(c.ask(f"@{s}:1 SET once a"))
        self.ok(c.ask(f"@{s}:2 SET once b"))
        before = c.status()["commands"]
        self.assertEqual(self.ok(c.ask(f"@{s}:1 SET once a")), height)
        self.assertEqual(c.ask("GET once"), "VALUE b")
        self.assertEqual(c.status()["commands"], before)

    def test_a_repeated_delete_does_not_delete_what_came_after_it(self):
        c = self.connect()
        s = self.open_session(c)
        self.ok(c.ask(f"@{s}:1 SET again a"))
        height = self.ok(c.ask(f"@{s}:2 DEL again"))
        self.ok(c.ask(f"@{s}:3 SET again b"))
        self.assertEqual(self.ok(c.ask(f"@{s}:2 DEL again")), height)
        self.assertEqual(c.ask("GET again"), "VALUE b")

    def test_copies_in_one_breath_get_one_height(self):
        c = self.connect()
        s = self.open_session(c)
        before = int(c.status()["commands"])
        c.send(*[f"@{s}:1 SET copies x"] * 50)
        self.assertEqual(len({c.answer() for _ in range(50)}), 1)
        self.assertEqual(int(c.status()["commands"]), before + 1)

    def test_sequences_may_come_in_any_order_within_the_window(self):
        c = self.connect()
        s = self.open_session(c)
        order = [5, 1, 16, 2, 3, 4, 15, 6]
        heights = {i: self.ok(c.ask(f"@{s}:{i} SET order-{i} x")) for i in order}
        for i in order:
            self.assertEqual(self.ok(c.ask(f"@{s}:{i} SET order-{i} y")), heights[i])

    def test_what_the_window_has_passed_is_refused_and_never_applied(self):
        c = self.connect()
        s = self.open_session(c)
        self.ok(c.ask(f"@{s}:{WINDOW + 1} SET stale new"))
        self.assertRegex(c.ask(f"@{s}:1 SET stale old"), "^ERR stale ")
        self.ok(c.ask(f"@{s}:2 SET other x"))
        self.assertEqual(c.ask("GET stale"), "VALUE new")

    def test_the_oldest_session_makes_room(self):
        c = self.connect()
        s = self.open_session(c)
        self.ok(c.ask(f"@{s}:1 SET expired a"))
        opened = 0
        connections = [self.connect() for _ in range(32)]
        while opened < SESSIONS:
            for other in connections:
                other.send(*["OPEN"] * WINDOW)
            for other in connections:
                for _ in range(WINDOW):
                    self.ok(other.answer())
                    opened += 1
        self.assertRegex(c.ask(f"@{s}:1 SET expired b"), "^ERR expired ")
        self.assertRegex(c.ask(f"@{s}:2 SET expired b"), "^ERR expired ")
        self.assertEqual(c.ask("GET expired"), "VALUE a")


class Bounds(WithCluster):
    """Small limits, to stand at their edges."""

    extra = "pool_commands_max = 3\ncommit_timeout_ms = 1500\nclient_idle_ms = 2500\n"

    def test_a_full_pool_says_so_and_a_command_without_its_session_times_out(self):
        c, other = self.connect(), self.connect()
        c.send(*[f"@{1 << 60}:{i} SET a b" for i in (1, 2, 3)])  # that session does not exist yet: they wait
        until("the pool to be full", lambda: other.status()["pool"] == "3")
        self.assertRegex(other.ask("SET a b"), "^ERR busy ")
        self.assertRegex(other.ask("OPEN"), "^ERR busy ")
        for _ in range(3):
            self.assertRegex(c.answer(), "^ERR timeout ")
        self.ok(other.ask("SET a b"))

    def test_a_silent_client_is_sent_away_and_nobody_waits_for_it(self):
        silent, partial = self.connect(), self.connect()
        partial.socket.sendall(b"SET half-a-line ")
        other = self.connect()
        self.ok(other.ask("SET b c"))
        self.assertEqual(silent.answer(), "")
        self.assertEqual(partial.answer(), "")


class Connections(WithCluster):
    extra = "connections_max = 8\n"

    def test_too_many_connections(self):
        connections = [self.connect() for _ in range(8)]
        for c in connections:
            self.assertEqual(c.ask("GET nothing"), "NONE")
        extra = self.connect()
        self.assertRegex(extra.answer(), "^ERR busy too many connections")
        self.assertEqual(extra.answer(), "")
        connections[0].close()
        until("room for another", lambda: connections[1].status()["connections"] == "7")
        self.assertEqual(self.connect().ask("GET nothing"), "NONE")


# ---- four replicas ---------------------------------------------------------------------------


class Validators(WithCluster):
    """One replica, and changes of the set that it can carry alone."""

    def setUp(self):
        self.own = self.cluster.replicas[0].address

    def change(self, connection, address, power):
        """Returns the epoch."""
        height, epoch = self.ok(connection.ask(f"VALIDATOR {address} {power}"))
        status = until("the epoch to begin", lambda: self.in_epoch(connection, epoch))
        self.assertGreaterEqual(int(status["committed_height"]), height)
        return epoch

    @staticmethod
    def in_epoch(connection, epoch):
        status = connection.status()
        return int(status["epoch"]) >= epoch and status

    def test_powers_change_and_a_validator_that_is_not_there_can_be_added_and_removed(self):
        c = self.connect()
        first = self.change(c, self.own, 5)
        self.assertEqual(self.change(c, ADDRESS, 1), first + 1)
        self.assertEqual(c.status()["validators"], "2")
        self.ok(c.ask("SET a b"))
        self.assertEqual(self.change(c, ADDRESS.upper(), 0), first + 2)
        self.assertEqual(c.status()["validators"], "1")
        self.assertEqual(c.ask("GET a"), "VALUE b")

    def test_a_repeated_change_is_answered_with_its_height_and_epoch_and_not_made(self):
        c = self.connect()
        session = self.open_session(c)
        request = f"@{session}:1 VALIDATOR {self.own} 7"
        first = self.ok(c.ask(request))
        self.assertEqual(self.ok(c.ask(request)), first)
        c.send(*[f"@{session}:2 VALIDATOR {self.own} 8"] * 3)
        second = self.ok(c.answer())
        self.assertEqual([self.ok(c.answer()) for _ in range(2)], [second] * 2)
        self.assertEqual(second[1], first[1] + 1)

    def test_changes_in_one_breath_are_all_made(self):
        c = self.connect()
        session = self.open_session(c)
        c.send(*[f"@{session}:{i} VALIDATOR {self.own} {i}" for i in range(1, 5)])
        answers = [self.ok(c.answer()) for _ in range(4)]
        self.assertEqual(len({epoch for _, epoch in answers}), 4)  # of one validator: one a block

    def test_what_would_leave_no_set_is_refused(self):
        c = self.connect()
        self.assertRegex(c.ask(f"VALIDATOR {self.own} 0"), "^ERR refused")
        self.assertRegex(c.ask(f"VALIDATOR {ADDRESS} {2 ** 64 - 1}"), "^ERR refused")
        self.ok(c.ask("SET still here"))

    def test_nobody_has_lied(self):
        c = self.connect()
        self.assertRegex(c.ask("EVIDENCE 0"), "^ERR notfound")
        for request in ("EVIDENCE", "EVIDENCE x", "EVIDENCE -1", "EVIDENCE 99999999999999999999"):
            with self.subTest(request=request):
                self.assertRegex(c.ask(request), "^ERR syntax ")

    def test_bad_requests(self):
        c = self.connect()
        for words in ("", " ", "x", f"{ADDRESS}", f"{ADDRESS} ", f"{ADDRESS} x", f"{ADDRESS} -1", f"{ADDRESS} 1 2",
                      f"{ADDRESS}ab 1", f"{ADDRESS[:-1]}g 1", f"{ADDRESS} {2 ** 64}", f"{ADDRESS} 0x1"):
            with self.subTest(words=words):
                self.assertRegex(c.ask(f"VALIDATOR {words}"), "^ERR syntax ")
        self.assertRegex(c.ask(f"@1:1 VALIDATOR {ADDRESS}"), "^ERR syntax ")


class JoiningAndLeaving(unittest.TestCase):
    """Four validators, and a fifth replica that they have never heard of."""

    def setUp(self):
        self.cluster = Cluster(5, "max_listeners = 2\ncommit_timeout_ms = 20000\n", validators=4)
        self.addCleanup(self.cluster.remove)

    def change(self, number, power):
        with self.cluster.connect(1) as c:
            answer = c.ask(f"VALIDATOR {self.cluster.replicas[number].address} {power}")
            self.assertRegex(answer, "^OK ")
            height, epoch = map(int, answer.split()[1:])
        self.cluster.wait_for_height(height)
        return epoch

    def status(self, number):
        with self.cluster.connect(number) as c:
            return c.status()

    def until_it_is(self, number, role):
        until(f"replica {number} to be a {role}", lambda: self.status(number)["role"] == role)

    def test_a_fifth_joins_one_leaves_and_all_agree_also_after_a_crash(self):
        self.cluster.start()
        with self.cluster.connect(4) as c:
            self.assertRegex(c.ask("SET a b"), "^ERR listener")
        self.assertEqual(self.change(4, 1), 1)
        self.until_it_is(4, "validator")
        with self.cluster.connect(4) as c:
            self.assertRegex(c.ask("SET from five"), "^OK ")
        self.assertEqual(self.change(0, 0), 2)
        self.until_it_is(0, "listener")
        with self.cluster.connect(0) as c:
            self.assertRegex(c.ask("SET a b"), "^ERR listener")
        for r in self.cluster.replicas:
            r.kill()
        self.cluster.configure(create=False)
        self.cluster.start()
        with self.cluster.connect(4) as c:
            answer = c.ask("SET after crash")
        self.assertRegex(answer, "^OK ")
        height = answer.split()[1]
        self.cluster.wait_for_height(int(height))
        hashes = set()
        for number, role in enumerate(["listener"] + 4 * ["validator"]):
            status = self.status(number)
            self.assertEqual((status["epoch"], status["role"], status["validators"]), ("2", role, "4"))
            with self.cluster.connect(number) as c:
                self.assertEqual(c.ask("GET from"), "VALUE five")
                hashes.add(c.ask(f"HASH {height}"))
        self.assertEqual(len(hashes), 1)
        self.assertEqual(self.cluster.stop(), 5 * [0])


class UnderFire(unittest.TestCase):
    """Powers change all the time, one validator comes and goes, and replicas are killed meanwhile."""

    COUNT, FIRE_SECONDS = 5, 6

    def setUp(self):
        self.cluster = Cluster(self.COUNT, "max_listeners = 2\nview_timeout_ms = 150\n", validators=4)
        self.addCleanup(self.cluster.remove)
        self.random = random.Random(self.id())  # the same victims each time
        self.over, self.acknowledged, self.epoch = threading.Event(), {}, 0

    def ask_any(self, request):
        """The answer of some replica that lives, or "" if it does not."""
        try:
            with self.cluster.connect(random.randrange(self.COUNT)) as c:
                return c.ask(request)
        except OSError:
            return ""

    def write(self):
        for i in range(1 << 30):
            if self.over.is_set():
                return
            if self.ask_any(f"SET fire/{i} {i}").startswith("OK "):
                self.acknowledged[f"fire/{i}"] = str(i)

    def change(self, number):
        powers = (0, 1, 2) if number == 4 else (1, 2, 3)
        while not self.over.is_set():
            answer = self.ask_any(f"VALIDATOR {self.cluster.replicas[number].address} {random.choice(powers)}")
            if answer.startswith("OK "):
                self.epoch = max(self.epoch, int(answer.split()[2]))
            self.over.wait(0.1)

    def test_nothing_acknowledged_is_lost_and_all_agree(self):
        self.cluster.start()
        threads = [threading.Thread(target=self.write)]
        threads += [threading.Thread(target=self.change, args=(i,)) for i in range(self.COUNT)]
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + self.FIRE_SECONDS
            while time.monotonic() < end:
                victim = self.random.choice(self.cluster.replicas)
                victim.kill()
                self.over.wait(0.4)
                victim.start()
                self.over.wait(0.6)
        finally:
            self.over.set()
            for thread in threads:
                thread.join(SECONDS)
        self.cluster.wait_for_answers()
        answer = until("a last write", lambda: next((a for a in [self.ask_any("SET the end")] if a[:2] == "OK"), None))
        height = answer.split()[1]
        self.cluster.wait_for_height(int(height))
        self.assertGreater(self.epoch, 5)
        self.assertGreater(len(self.acknowledged), 10)
        hashes = set()
        for number in range(self.COUNT):
            with self.cluster.connect(number) as c:
                hashes.add(c.ask(f"HASH {height}"))
                for key, value in self.acknowledged.items():
                    self.assertEqual(c.ask(f"GET {key}"), f"VALUE {value}")
        self.assertEqual(len(hashes), 1)


class FourReplicas(WithCluster):
    count = 4

    def test_one_command_sent_to_all_four_is_applied_once(self):
        connections = [self.connect(i) for i in range(4)]
        s = self.open_session(connections[0])
        self.cluster.wait_for_height(self.cluster.height(0))
        before = int(connections[0].status()["commands"])
        for c in connections:
            c.send(f"@{s}:1 SET everywhere x")
        answers = {c.answer() for c in connections}
        self.assertEqual(len(answers), 1, answers)
        height = self.ok(answers.pop())[0]
        self.cluster.wait_for_height(height)
        for c in connections:
            self.assertEqual(c.ask("GET everywhere"), "VALUE x")
            self.assertEqual(int(c.status()["commands"]), before + 1)

    def test_a_session_opened_at_one_replica_is_good_at_another_at_once(self):
        for i in range(8):
            s = self.open_session(self.connect(i % 4))
            self.ok(self.connect((i + 1) % 4).ask(f"@{s}:1 SET travel {i}"))

    def test_all_replicas_have_the_same_hashes_at_the_same_heights(self):
        connections = [self.connect(i) for i in range(4)]
        heights = [self.ok(connections[i % 4].ask(f"SET same-{i} {i}"))[0] for i in range(12)]
        self.cluster.wait_for_height(max(heights))
        for height in sorted(set(heights)):
            self.assertEqual(len({c.ask(f"HASH {height}") for c in connections}), 1)

    def test_no_replica_calls_a_block_of_another_invalid(self):
        connections = [self.connect(i) for i in range(4)]
        for round in range(50):
            for c in connections:
                c.send(*[f"SET valid-{round}-{i} x" for i in range(4)])
            for c in connections:
                for _ in range(4):
                    self.ok(c.answer())
        self.assertEqual([c.status()["blocks_refused"] for c in connections], ["0"] * 4)


class Crashes(unittest.TestCase):
    """Each test has a cluster of its own, because it kills."""

    def setUp(self):
        self.cluster = Cluster(4)
        self.addCleanup(self.cluster.remove)
        self.cluster.start()

    def test_a_command_whose_replica_dies_is_repeated_at_another_and_applied_once(self):
        with self.cluster.connect(0) as c, self.cluster.connect(1) as other:
            session = int(c.ask("OPEN").split()[2])
            self.cluster.wait_for_height(self.cluster.height(0))
            before = int(other.status()["commands"])
            c.send(*[f"@{session}:{i} SET crash-{i} x" for i in range(1, 11)])
            self.cluster.replicas[0].kill()
            for i in range(1, 11):
                self.assertRegex(other.ask(f"@{session}:{i} SET crash-{i} x"), r"^OK \d+$")
            self.assertEqual(int(other.status()["commands"]), before + 10)
        self.cluster.configure(create=False)
        self.cluster.start(0)
        self.cluster.wait_for_height(self.cluster.height(1))
        with self.cluster.connect(0) as c:
            self.assertEqual(int(c.status()["commands"]), before + 10)
            for i in range(1, 11):
                self.assertEqual(c.ask(f"GET crash-{i}"), "VALUE x")

    def test_everything_is_there_after_all_were_stopped_or_killed(self):
        with self.cluster.connect(0) as c:
            session = int(c.ask("OPEN").split()[2])
            answers = {i: c.ask(f"@{session}:{i} SET stay-{i} {i}") for i in range(1, WINDOW + 1)}
            height = int(answers[WINDOW].split()[1])
            state = c.ask(f"HASH {height}")
        self.cluster.configure(create=False)
        for stop in ("stopped", "killed"):
            with self.subTest(stop):
                self.cluster.wait_for_height(height)
                if stop == "stopped":
                    self.assertEqual(self.cluster.stop(), [0, 0, 0, 0])
                else:
                    for r in self.cluster.replicas:
                        r.kill()
                self.cluster.start()
                for number in range(4):
                    with self.cluster.connect(number) as c:
                        self.assertGreaterEqual(int(c.status()["committed_height"]), height)
                        self.assertEqual(c.ask(f"HASH {height}"), state)
                        for i, answer in answers.items():
                            self.assertEqual(c.ask(f"GET stay-{i}"), f"VALUE {i}")
                            self.assertEqual(c.ask(f"@{session}:{i} SET stay-{i} again"), answer)
                with self.cluster.connect(2) as c:
                    self.assertRegex(c.ask(f"SET after-{stop} x"), r"^OK \d+$")


if __name__ == "__main__":
    if "--kv" in sys.argv:
        KVS.clear()
    while "--kv" in sys.argv:
        at = sys.argv.index("--kv")
        KVS.append(os.path.abspath(sys.argv[at + 1]))
        del sys.argv[at:at + 2]
    for kv in KVS:
        if not os.access(kv, os.X_OK):
            sys.exit(f"{kv}: not there; `make build` makes it")
    unittest.main()
