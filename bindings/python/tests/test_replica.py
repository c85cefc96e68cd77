# SPDX-License-Identifier: Apache-2.0
"""Replicas: they agree, they tell what has failed, they end."""

from __future__ import annotations

import gc
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import pytest
from conftest import ROOT, SECONDS, Counter, Home, PushEnd, Wire

import hotstuff


def test_four_replicas_agree_over_networks_of_the_host(home: Home) -> None:
    """Two pull what was received, two have it delivered."""
    keys = [hotstuff.KeyPair.generate() for _ in range(4)]
    wire, replicas = Wire(), []
    ends = [wire.end(key.address) for key in keys]
    for number, end in enumerate(ends):
        network = end if number < 2 else PushEnd(end)
        with home.config(number, keys) as config:
            replicas.append(hotstuff.Replica(config, Counter(100), network))
        if isinstance(network, PushEnd):
            network.deliver_to(replicas[-1])
    assert len({replica.snapshot().genesis_hash for replica in replicas}) == 1
    for replica in replicas:
        replica.start()
    try:
        for replica in replicas:
            for block in replica.committed_blocks():
                with block:
                    if block.data == b"100":
                        break
        hashes = {replica.next_committed(99, SECONDS).hash for replica in replicas}
        assert len(hashes) == 1
        assert ends[0].connected == {key.address for key in keys[1:]}
        with replicas[3].snapshot() as tree:
            assert tree.state(b"count") == b"100"
    finally:
        for replica in replicas:
            replica.close()


def test_events_info_and_counters(home: Home) -> None:
    events: list[hotstuff.Event] = []
    with home.alone(Counter(5), events.append) as replica:
        replica.start()
        replica.wait_committed(5, SECONDS)
        assert replica.info.is_validator and not replica.info.halted
        assert replica.metrics.proposals >= 5
        assert "hotstuff_" in replica.metrics_text
        replica.stop()
        kinds = {event.kind for event in events}
        assert {hotstuff.EventKind.START_VIEW, hotstuff.EventKind.COMMITTED} <= kinds
        committed = [event for event in events if event.kind == hotstuff.EventKind.COMMITTED]
        assert [event.height for event in committed][:3] == [1, 2, 3]
        assert abs(committed[0].time_ns / 1e9 - time.time()) < 600


# ---- exceptions ------------------------------------------------------------------------------


class Broken(Counter):
    """Fails in one callback, as long as it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def propose_block(
        self, request: hotstuff.ProposeBlockRequest, updates: hotstuff.Updates
    ) -> bool:
        if self.where == "propose":
            raise ZeroDivisionError("on purpose")
        if self.where == "updates":
            updates.set_state(b"", b"a key needs a byte")
        return super().propose_block(request, updates)


@pytest.mark.parametrize(
    ("where", "expected"),
    [("propose", ZeroDivisionError), ("updates", hotstuff.InvalidArgument)],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda replica: replica.wait(SECONDS),
        lambda replica: replica.wait_committed(1 << 40, SECONDS),
        lambda replica: replica.next_committed(1 << 40, SECONDS),
        lambda replica: until_raised(replica.notify),
        lambda replica: until_raised(replica.snapshot),
    ],
)
def test_an_exception_in_the_app_is_raised_by_the_next_call(
    home: Home,
    where: str,
    expected: type[Exception],
    call: Callable[[hotstuff.Replica], object],
) -> None:
    app = Broken(where)
    with home.alone(app) as replica:
        replica.start()
        with pytest.raises(expected):
            call(replica)
        app.where = ""
        until_quiet(replica)
        height = replica.info.committed_height
        replica.wait_committed(height + 3, SECONDS)  # it costs views, not the replica


def until_raised(call: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        call()
        time.sleep(0.01)


def until_quiet(replica: hotstuff.Replica) -> None:
    """Until nothing that was raised is left to be told."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            replica.raise_kept()
            time.sleep(0.2)
            replica.raise_kept()
            return
        except Exception:
            continue


def test_many_exceptions_are_counted_and_the_first_is_raised(home: Home) -> None:
    with home.alone(Broken("propose"), view_timeout_ms=(1, 1)) as replica:
        replica.start()
        time.sleep(0.5)
        with pytest.raises(ZeroDivisionError) as raised:
            replica.notify()
        assert any("more exceptions" in note for note in raised.value.__notes__)


def test_exceptions_in_a_network_and_an_event_callback(home: Home) -> None:
    keys = [hotstuff.KeyPair.generate() for _ in range(2)]

    class Bad:
        def connect(self, peer: bytes) -> None:
            raise RuntimeError("connect")

        def disconnect(self, peer: bytes) -> None: ...

        def send(self, peer: bytes, message: bytes) -> None: ...

    with home.config(0, keys) as config, hotstuff.Replica(config, Counter(), Bad()) as replica:
        replica.start()
        with pytest.raises(RuntimeError, match="connect"):
            replica.wait(SECONDS)

    def on_event(event: hotstuff.Event) -> None:
        raise KeyError(event.kind)

    with home.alone(Counter(), on_event, data_dir=home.path / "events") as replica:
        replica.start()
        with pytest.raises(KeyError):
            replica.wait(SECONDS)


def test_what_a_callback_was_lent_ends_with_it(home: Home) -> None:
    kept: list[object] = []

    class Keeps(Counter):
        def validate_block(
            self, request: hotstuff.ValidateBlockRequest, updates: hotstuff.Updates
        ) -> bool:
            kept.extend((request.block_tree, request.proposed_block, updates))
            return super().validate_block(request, updates)

        def propose_block(
            self, request: hotstuff.ProposeBlockRequest, updates: hotstuff.Updates
        ) -> bool:
            kept.extend((request.block_tree, updates))
            return super().propose_block(request, updates)

    with home.alone(Keeps()) as replica:
        replica.start()
        replica.wait_committed(2, SECONDS)
        replica.stop()
    for thing in kept:
        with pytest.raises(ValueError, match="closed|during their callback"):
            if isinstance(thing, hotstuff.BlockTree):
                thing.state(b"count")
            elif isinstance(thing, hotstuff.Block):
                _ = thing.height
            elif isinstance(thing, hotstuff.Updates):
                thing.set_state(b"k", b"v")
    assert len(kept) >= 4


# ---- misuse ----------------------------------------------------------------------------------


def test_a_data_directory_in_use(home: Home) -> None:
    with home.alone():
        with pytest.raises(hotstuff.Locked, match="is open already, in this process"):
            home.alone()
        code = f"""
            import sys; sys.path[:0] = [{str(ROOT / "bindings/python/tests")!r}]
            import pathlib, conftest, hotstuff
            try:
                conftest.Home(pathlib.Path({str(home.path)!r})).alone()
            except hotstuff.Locked as failure:
                print(failure.name, failure)
        """
        done = run_python(code)
        assert f"in use by process {os.getpid()}" in done.stdout
        assert "HOTSTUFF_E_LOCKED" in done.stdout
    home.alone().close()


def test_closing_twice_and_using_after(home: Home) -> None:
    replica = home.alone()
    replica.start()
    with pytest.raises(hotstuff.WrongState):
        replica.start()
    replica.close()
    replica.close()
    assert replica.closed
    calls: list[Callable[[], object]] = [
        replica.start, replica.notify, replica.snapshot, replica.stop, lambda: replica.info,
        lambda: replica.wait(0),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="this Replica is closed"):
            call()


def test_closing_ends_the_calls_of_other_threads(home: Home) -> None:
    replica = home.alone(Counter(0))
    replica.start()
    ended: list[BaseException] = []

    def waits() -> None:
        try:
            replica.next_committed(1 << 40)
        except (hotstuff.Closed, ValueError) as failure:
            ended.append(failure)

    threads = [threading.Thread(target=waits) for _ in range(4)]
    for thread in threads:
        thread.start()
    replica.close()
    for thread in threads:
        thread.join(SECONDS)
    assert len(ended) == 4


def test_closing_in_a_callback_is_refused(home: Home) -> None:
    class Closes(Counter):
        replica: hotstuff.Replica

        def propose_block(
            self, request: hotstuff.ProposeBlockRequest, updates: hotstuff.Updates
        ) -> bool:
            self.replica.close()
            return False

    app = Closes()
    with home.alone(app) as replica:
        app.replica = replica
        replica.start()
        with pytest.raises(hotstuff.Reentrant):
            replica.wait(SECONDS)


def test_a_wait_ends_with_its_time(home: Home) -> None:
    with home.alone(Counter(0)) as replica:
        replica.start()
        began = time.monotonic()
        for call in (
            lambda: replica.wait(0.3),
            lambda: replica.wait_committed(1 << 40, 0.3),
            lambda: replica.next_committed(1 << 40, 0.3),
        ):
            with pytest.raises(hotstuff.Timeout):
                call()
        assert 0.9 <= time.monotonic() - began < SECONDS


def test_ctrl_c_interrupts_a_wait(home: Home) -> None:
    with home.alone(Counter(0)) as replica:
        replica.start()
        # What a background job of a shell ignores.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                replica.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def test_wrong_directories(home: Home) -> None:
    with pytest.raises(hotstuff.NotFound, match="there is no block tree"):
        home.alone(create=False)
    home.alone().close()
    with pytest.raises(hotstuff.GenesisMismatch):
        home.alone(chain_id=8)


# ---- the interpreter -------------------------------------------------------------------------


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


RUNNING = """
    import sys; sys.path[:0] = [sys.argv[1]]
    import pathlib, conftest, hotstuff
    replica = conftest.Home(pathlib.Path(sys.argv[2])).alone()
    replica.start()
    replica.wait_committed(3, 30)
    print("running", flush=True)
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError('the program fails')", 1),
        ("del replica", 0),
        ("hotstuff.log_to_logging(1)", 0),
    ],
)
def test_the_interpreter_ends_with_a_running_replica(
    tmp_path: pathlib.Path, ending: str, code: int
) -> None:
    tests = str(pathlib.Path(__file__).parent)
    done = run_python(f"{RUNNING}    {ending}\n", tests, str(tmp_path))
    assert done.returncode == code, done.stderr
    assert done.stdout == "running\n"
    assert "Fatal" not in done.stderr
    assert bool(done.stderr) == (code == 1)


def test_after_a_fork_the_child_may_use_nothing(tmp_path: pathlib.Path) -> None:
    code = (
        RUNNING
        + """
    import os, warnings
    warnings.simplefilter("ignore")
    tree = replica.snapshot()
    child = os.fork()
    if child == 0:
        for call in (lambda: replica.info, replica.notify, lambda: tree.state(b"count")):
            try:
                call()
            except ValueError as failure:
                assert "fork" in str(failure), failure
            else:
                os._exit(1)
        replica.close(); tree.close()
        del replica, tree
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    replica.wait_committed(replica.info.committed_height + 3, 30)
    print("the parent goes on")
"""
    )
    done = run_python(code, str(pathlib.Path(__file__).parent), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the parent goes on\n")


def test_the_collector_may_run_at_any_time(home: Home) -> None:
    """Objects are made and dropped while another thread collects without a pause."""
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for number in range(5):
            replica = home.alone(Counter(), lambda event: None, data_dir=home.path / str(number))
            replica.start()
            for height in range(20):
                block = replica.next_committed(height, SECONDS)
                assert block.height == height + 1
                assert replica.snapshot().block_at(block.height) is not None
            if number % 2:
                replica.close()
            del replica, block
    finally:
        stop.set()
        thread.join()
    gc.collect()
    from hotstuff import _callbacks

    assert not _callbacks._served, "a closed replica leaves nothing behind"


# ---- signers and pacemakers ------------------------------------------------------------------


class RoundRobin:
    """The oldest pacemaker."""

    def wait_timeout(
        self,
        validators: list[tuple[bytes, int]],
        highest_qc_view: int,
        highest_commit_view: int,
        cur_view: int,
    ) -> float:
        return float(2 ** min(cur_view - highest_commit_view, 6))

    def view_leader(self, validators: list[tuple[bytes, int]], cur_view: int) -> bytes:
        return validators[cur_view % len(validators)][0]


def test_a_pacemaker_of_the_host(home: Home) -> None:
    events: list[hotstuff.Event] = []
    with home.alone(Counter(), events.append, pacemaker=RoundRobin()) as replica:
        replica.start()
        replica.wait_committed(3, SECONDS)


def test_a_signer_that_fails_costs_views_and_is_told(home: Home) -> None:
    address = hotstuff.KeyPair.from_seed(bytes([1] * 32)).address

    class Refuses:
        def sign(self, message: bytes) -> bytes:
            assert len(message) == 32
            raise PermissionError("the module is locked")

    with home.alone(key=None, signer=(address, Refuses()), view_timeout_ms=(50, 50)) as replica:
        replica.start()
        with pytest.raises(PermissionError, match="the module is locked"):
            replica.wait(SECONDS)
