#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of light_client: it proves what a cluster of kv says, over changes of its validators, and refuses every lie.

    python3 examples-c/test_light_client.py [--kv target/examples-c/kv] [-v] [TestCase.test ...]
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import demo
import test_kv
from test_kv import Cluster, SECONDS, until


def light_client(*arguments):
    program = os.path.join(os.path.dirname(test_kv.KVS[0]), "light_client")
    return subprocess.run([program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=4 * SECONDS)


class Liar:
    """A server between the client and a true one; `lie(request, answer)` gives what the client gets; None: no more."""

    def __init__(self, port, lie):
        self.port, self.lie, self.lied = port, lie, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            client, _ = self.socket.accept()
            with client, test_kv.Connection(self.port) as truth:
                for line in client.makefile("rb"):
                    request = line.decode().rstrip("\n")
                    answer = truth.ask(request)
                    said = self.lie(request, answer)
                    self.lied += said != answer
                    if said is None:
                        return
                    client.sendall(said if isinstance(said, bytes) else said.encode() + b"\n")
        except OSError:
            pass  # the client has heard enough

    def close(self):
        self.socket.close()


def flipped(hexadecimal, at):
    """One bit of it is another."""
    at %= len(hexadecimal)
    return hexadecimal[:at] + format(int(hexadecimal[at], 16) ^ 1, "x") + hexadecimal[at + 1:]


class Proving(unittest.TestCase):
    """One cluster whose validators change twice; keys of all three epochs."""

    extra = ""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(4, cls.extra)
        cls.addClassCleanup(cls.cluster.remove)
        cls.cluster.start()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.genesis = test_kv.run_kv("genesis", cls.cluster.replicas[0].config,
                                     directory=cls.cluster.directory).stdout.strip()
        addresses = [r.address for r in cls.cluster.replicas]
        cls.trust = cls.write_trust("trust", cls.genesis, [(a, 1) for a in addresses])
        cls.values = {"zero": "nought", "long": "x" * 8000}
        with cls.cluster.connect(0) as c:
            for key, value in cls.values.items():
                assert c.ask(f"SET {key} {value}").startswith("OK ")
            for epoch, key, power in ((1, "one", 2), (2, "two", 1)):
                answer = c.ask(f"VALIDATOR {addresses[1]} {power}").split()
                assert answer[0] == "OK" and answer[2] == str(epoch), answer
                assert c.ask(f"SET {key} of epoch {epoch}").startswith("OK ")
                cls.values[key] = f"of epoch {epoch}"
            cls.top = int(c.status()["committed_height"])
        cls.port = cls.cluster.replicas[0].client_port
        # The last blocks are proved by those above them: let there be some.
        cls.cluster.wait_for_height(cls.top + 4)

    @classmethod
    def write_trust(cls, name, genesis, validators, epoch=None):
        path = os.path.join(cls.folder.name, name)
        with open(path, "w") as file:
            file.write(f"# who is believed\ngenesis {genesis}\n")
            file.writelines(f"validator {address} {power}\n" for address, power in validators)
            if epoch is not None:
                file.write(f"epoch {epoch}\n")
        return path

    def prove(self, *keys, trust=None, server=None):
        return light_client(trust or self.trust, server or f"127.0.0.1:{self.port}", *keys)

    def assert_proved(self, done, *keys):
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for key in keys:
            self.assertIn(f"PROVED {key} {self.values[key]}\n", done.stdout)


class EveryKey:
    def test_every_key_of_every_epoch_is_proved_by_every_replica(self):
        for replica in self.cluster.replicas:
            done = self.prove(*self.values, server=f"127.0.0.1:{replica.client_port}")
            self.assert_proved(done, *self.values)
            for key, epoch in (("zero", 0), ("one", 1), ("two", 2)):
                line = done.stdout.splitlines()[2 * list(self.values).index(key) + 1]
                self.assertRegex(line, rf"^  height \d+ epoch {epoch} view \d+$")


class LightClient(EveryKey, Proving):
    def test_a_later_epoch_can_be_trusted(self):
        second = self.cluster.replicas[1].address
        validators = [(r.address, 2 if r.address == second else 1) for r in self.cluster.replicas]
        trust = self.write_trust("later", self.genesis, validators, epoch=1)
        self.assert_proved(self.prove("one", "two", trust=trust), "one", "two")
        done = self.prove("zero", trust=trust)
        self.assertEqual(done.returncode, 1)
        self.assertIn("an epoch before", done.stderr)

    def test_while_the_key_is_written(self):
        stop = threading.Event()

        def write():
            with self.cluster.connect(1) as c:
                number = 0
                while not stop.is_set():
                    number += 1
                    c.ask(f"SET busy {number}")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            with self.cluster.connect(0) as c:
                until("the first value", lambda: c.ask("GET busy") != "NONE")
            proved = [self.prove("busy") for _ in range(5)]
        finally:
            stop.set()
            writer.join()
        good = [done for done in proved if done.returncode == 0]
        for done in proved:  # a server that answers in between may be too new for its own proof: it says so
            if done.returncode != 0:
                self.assertRegex(done.stderr, "does not say what the server says|ERR notfound")
        self.assertTrue(good, [done.stderr for done in proved])

    def refused(self, lie, key="two"):
        liar = Liar(self.port, lie)
        self.addCleanup(liar.close)
        done = self.prove(key, server=liar.address)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertTrue(done.stderr.startswith("light_client: "), done.stderr)
        self.assertGreater(liar.lied, 0, "nothing was said but the truth")
        return done.stderr

    def test_the_liar_tells_the_truth_if_it_does_not_lie(self):
        liar = Liar(self.port, lambda _, answer: answer)
        self.addCleanup(liar.close)
        self.assert_proved(self.prove("two", server=liar.address), "two")

    def test_damaged_bytes_are_refused(self):
        for verb in ("BLOCK", "PROOF", "EPOCH"):
            for at in (0, 1, 70, 200, 333, 501, 777, -150, -77, -3, -1):
                with self.subTest(verb=verb, at=at):
                    def lie(request, answer, verb=verb, at=at):
                        if not request.startswith(verb):
                            return answer
                        ok, length, part = answer.split(" ")
                        return f"{ok} {length} {flipped(part, at)}"
                    self.refused(lie)

    def test_another_value_is_refused(self):
        why = self.refused(lambda request, answer: "VALUE forged" if request.startswith("GET") else answer)
        self.assertIn("the block does not say", why)

    def test_a_value_forged_in_the_block_is_refused(self):
        old, new = b"of epoch 2", b"of epoch 9"

        def lie(request, answer):
            if request.startswith("GET"):
                return answer.replace(old.decode(), new.decode())
            return answer.replace(old.hex(), new.hex())
        self.assertIn("the block: ", self.refused(lie))

    def test_another_block_is_refused(self):
        def lie(request, answer):
            return "OK 1" if request.startswith("WHERE") else answer
        self.refused(lie)

    def test_a_proof_of_another_block_is_refused(self):
        def lie(request, answer):
            if not request.startswith("PROOF"):
                return answer
            _, height, offset = request.split()
            with self.cluster.connect(0) as c:
                return c.ask(f"PROOF {int(height) - 1} {offset}")
        self.assertIn("the proof of the block", self.refused(lie))

    def test_validators_of_another_epoch_are_refused(self):
        def lie(request, answer):
            if request != "EPOCH 1 0":
                return answer
            with self.cluster.connect(0) as c:
                return c.ask("EPOCH 0 0")  # again
        self.assertIn("the proof of an epoch", self.refused(lie))

    def test_an_epoch_that_is_withheld_is_refused(self):
        self.refused(lambda request, answer: "ERR notfound" if request.startswith("EPOCH 1") else answer)

    def test_answers_that_are_none_are_refused(self):
        for name, said in (("none", "NONE"), ("empty", ""), ("error", "ERR busy"), ("a length of 0", "OK 0 "),
                           ("a huge length", "OK 99999999999 00"), ("a negative length", "OK -5 00"),
                           ("no digits", "OK 4 wxyzwxyz"), ("too few", "OK 4 0000"), ("too many", "OK 1 0000"),
                           ("no line end", b"OK " + b"0" * 100000), ("NUL", b"OK 2 00\x0000\n"), ("gone", None)):
            for verb in ("GET", "WHERE", "BLOCK", "PROOF", "EPOCH"):
                with self.subTest(name=name, verb=verb):
                    self.refused(lambda request, answer, verb=verb, said=said:
                                 said if request.startswith(verb) else answer)

    def test_who_wrote_it_may_say_where(self):
        with self.cluster.connect(0) as c:
            height = int(c.ask("WHERE two").split()[1])
        self.assert_proved(self.prove(f"two@{height}"), "two")
        for wrong in (1, height - 1, 10 ** 9, "x"):
            done = self.prove(f"two@{wrong}")
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)

    def test_a_length_that_changes_is_refused(self):
        def lie(request, answer):
            words = request.split()
            if words[0] != "BLOCK" or words[2] == "0":
                return answer
            return answer.replace("OK ", "OK 1", 1)
        self.refused(lie, key="long")

    def test_what_is_not_there_is_not_proved(self):
        done = self.prove("nothing")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("has no proof", done.stderr)

    def test_strangers_are_not_believed(self):
        strangers = [(f"{i:02x}" * 32, 1) for i in range(4)]
        for name, trust in (("validators", self.write_trust("strangers", self.genesis, strangers)),
                            ("genesis", self.write_trust("genesis", "ab" * 32,
                                                         [(r.address, 1) for r in self.cluster.replicas]))):
            with self.subTest(name=name):
                done = self.prove("zero", trust=trust)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)

    def test_a_trust_file_that_is_none_is_named(self):
        address = self.cluster.replicas[0].address
        for name, text in (("no-genesis", f"validator {address} 1\n"), ("no-validator", f"genesis {self.genesis}\n"),
                           ("short", f"genesis {self.genesis[:-1]}\nvalidator {address} 1\n"),
                           ("word", f"genesis {self.genesis}\nvalidater {address} 1\n"),
                           ("power", f"genesis {self.genesis}\nvalidator {address}\n")):
            with self.subTest(name=name):
                path = os.path.join(self.folder.name, name)
                with open(path, "w") as file:
                    file.write(text)
                done = self.prove("zero", trust=path)
                self.assertEqual(done.returncode, 2)
                self.assertIn(name, done.stderr)
        self.assertEqual(self.prove("zero", trust="/does/not/exist").returncode, 2)
        self.assertEqual(light_client(self.trust).returncode, 2)

    def test_parts_are_asked_for_properly(self):
        with self.cluster.connect(0) as c:
            where = int(c.ask("WHERE long").split()[1])
            first = c.ask(f"BLOCK {where} 0").split()
            self.assertEqual((first[0], len(first[2])), ("OK", 2 * 4096))
            total = int(first[1])
            last = c.ask(f"BLOCK {where} {total - 1}").split()
            self.assertEqual((last[1], len(last[2])), (first[1], 2))
            for request in (f"BLOCK {where} {total}", f"BLOCK {where} 9999999999999999999", "BLOCK 0 0",
                            "BLOCK 999999999 0", "PROOF 999999999 0", "EPOCH 2 0"):
                self.assertRegex(c.ask(request), "^ERR notfound", request)
            for request in ("BLOCK", "BLOCK 1", "BLOCK x 0", "BLOCK 1 x", "BLOCK 1 -1", "BLOCK -1 0", "BLOCK 1 0 0",
                            "PROOF 1", "EPOCH 0", "BLOCK 99999999999999999999 0", "WHERE", "WHERE a b"):
                self.assertRegex(c.ask(request), "^ERR syntax", request)
            self.assertRegex(c.ask("WHERE nothing"), "^ERR notfound")


class TwoChain(EveryKey, Proving):
    """The same proofs, where two certificates commit."""

    extra = "commit_rule = two_chain\n"


def main():
    if "--kv" in sys.argv:
        at = sys.argv.index("--kv")
        test_kv.KVS[0] = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    test_kv.KVS[0] = os.path.abspath(test_kv.KVS[0])
    unittest.main(argv=sys.argv)


if __name__ == "__main__":
    main()
