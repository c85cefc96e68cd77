# SPDX-License-Identifier: Apache-2.0
"""The tool, over one small cluster that runs while it is looked at, and after it was stopped."""

from __future__ import annotations

import csv
import itertools
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from conftest import SECONDS
from typer.testing import CliRunner

import hotstuff

COMMANDS = 40


def tool(*arguments: object, code: int = 0) -> str:
    """What the tool prints; on standard error, if it is to fail."""
    from hotstuff.tool.cli import app

    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


class Net:
    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hotstuff.tool", "localnet", str(directory)],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("running"):
                return
        raise AssertionError("localnet has ended")

    def data(self, number: int) -> pathlib.Path:
        return self.directory / f"{number}.data"

    def load(self) -> None:
        """Some commands, at each replica."""
        for path in sorted(self.directory.glob("*.conf")):
            listen = [line for line in path.read_text().splitlines() if "client_listen" in line]
            host, _, port = listen[0].split(" = ")[1].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
                for number in range(COMMANDS):
                    client.sendall(b"SET %s-%d value\n" % (path.stem.encode(), number))
                answers = client.makefile("rb")
                for _ in range(COMMANDS):
                    assert answers.readline().startswith(b"OK ")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    directory = tmp_path_factory.mktemp("net")
    running = Net(directory)
    try:
        running.load()
        yield running
    finally:
        running.stop()


def test_keys(tmp_path: pathlib.Path) -> None:
    addresses = tool("keygen", tmp_path / "a.key", tmp_path / "b.key").split()
    assert [len(address) for address in addresses] == [64, 64]
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert "File exists" in tool("keygen", tmp_path / "a.key", code=1)


def test_the_genesis_of_configurations(net: Net, tmp_path: pathlib.Path) -> None:
    configs = sorted(net.directory.glob("*.conf"))
    lines = tool("genesis", *configs).splitlines()
    assert len({line.split()[0] for line in lines}) == 1 and len(lines) == 4
    other = tmp_path / "other.conf"
    other.write_text(configs[0].read_text().replace("chain_id = ", "chain_id = 9"))
    assert "different chains" in tool("genesis", configs[0], other, code=1)
    other.write_text("nonsense = 1\n")
    assert "other.conf:1: nonsense: unknown key" in tool("genesis", other, code=1)


def test_a_replica_that_runs_is_looked_at_and_goes_on(net: Net) -> None:
    before = json.loads(tool("inspect", net.data(0), "--json"))
    for _ in range(20):
        tool("inspect", net.data(0))
    net.load()
    after = json.loads(tool("inspect", net.data(0), "--json", "--blocks", 1000))
    assert after["committed_height"] > before["committed_height"]
    assert after["epoch"] == 0 and len(after["epochs"]) == 1
    assert [validator["power"] for validator in after["epochs"][0]["validators"]] == [1] * 4
    assert after["highest_qc"]["signers"] >= 3
    assert after["voting_record"]["voted"]["view"] >= after["blocks"][-1]["view"]
    blocks = after["blocks"]
    assert [block["height"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert all(block["parent"] == below["hash"] for below, block in itertools.pairwise(blocks))


def test_the_tables_show_it(net: Net) -> None:
    shown = tool("inspect", net.data(1))
    for text in ("genesis", "highest QC", "last vote", "validators", "last committed blocks"):
        assert text in shown


def test_a_chain_is_verified_from_its_genesis(net: Net) -> None:
    said = tool("verify", net.data(2), "--config", net.directory / "2.conf")
    assert said.startswith("verified: ") and "name the one you trust" not in said
    assert "name the one you trust" in tool("verify", net.data(2))
    wrong = tool("verify", net.data(2), "--genesis", "00" * 32, code=1)
    assert "is of the chain" in wrong


def test_a_chain_in_which_something_was_changed_is_not_verified(
    net: Net, tmp_path: pathlib.Path
) -> None:
    """A command reads otherwise, wherever it stands in the file."""
    shutil.copytree(net.data(3), tmp_path / "data")
    file = tmp_path / "data" / "data.mdb"
    content, written = file.read_bytes(), b"3-%dvalue" % (COMMANDS // 2)
    assert written in content
    file.write_bytes(content.replace(written, written.swapcase()))
    assert "decoding a block" in tool("verify", tmp_path / "data", code=1)


def test_a_running_cluster_is_watched(net: Net) -> None:
    shown = tool("watch", net.directory, "--count", 2, "--interval", 0.2)
    assert "4 of 4 up" in shown
    assert "is led by" in shown
    assert shown.count("validator") == 4
    assert "expected a directory, or host:port" in tool("watch", "nowhere", code=1)


def test_rows_are_written(net: Net, tmp_path: pathlib.Path) -> None:
    import pyarrow.parquet

    tool("export", "blocks", net.data(0), tmp_path / "blocks.csv")
    tool("export", "blocks", net.data(0), tmp_path / "blocks.parquet")
    tool("export", "validators", net.data(0), tmp_path / "validators.csv")
    tool("export", "events", net.directory, tmp_path / "events.parquet")
    with (tmp_path / "blocks.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(str(tmp_path / "blocks.parquet")).to_pylist()
    assert [int(row["height"]) for row in rows] == list(range(1, len(rows) + 1))
    shared = min(len(rows), len(table))
    assert [row["hash"] for row in rows][:shared] == [row["hash"] for row in table][:shared]
    assert len((tmp_path / "validators.csv").read_text().splitlines()) == 1 + 4
    events = pyarrow.parquet.read_table(str(tmp_path / "events.parquet"))
    assert {"START_VIEW", "PROPOSED", "COMMITTED"} <= set(events.column("kind").to_pylist())
    assert "exists already" in tool(
        "export", "blocks", net.data(0), tmp_path / "blocks.csv", code=1
    )
    assert ".csv or .parquet" in tool(
        "export", "blocks", net.data(0), tmp_path / "blocks.txt", code=1
    )


def test_a_picture_is_drawn(net: Net, tmp_path: pathlib.Path) -> None:
    tool("plot", net.directory, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    assert "has no events" in tool("plot", tmp_path / "empty", tmp_path / "x.png", code=1)


def test_what_is_no_data_directory_is_said(tmp_path: pathlib.Path) -> None:
    for command in (("inspect",), ("verify",), ("export", "blocks")):
        more = [tmp_path / "x.csv"] if command[0] == "export" else []
        assert "there is no block tree" in tool(*command, tmp_path / "none", *more, code=1)


def test_a_stopped_cluster_is_looked_at_and_runs_again(net: Net) -> None:
    net.stop()
    before = json.loads(tool("inspect", net.data(0), "--json"))["committed_height"]
    tool("verify", net.data(0), "--config", net.directory / "0.conf")
    assert "0 of 4 up" in tool("watch", net.directory, "--count", 1)
    again = Net(net.directory)
    deadline = time.monotonic() + SECONDS
    try:
        while json.loads(tool("inspect", net.data(0), "--json"))["committed_height"] <= before:
            assert time.monotonic() < deadline
    finally:
        again.stop()
    (net.directory / "0.key").rename(net.directory / "gone.key")
    assert "0.key" in tool("localnet", net.directory, code=1)
    (net.directory / "gone.key").rename(net.directory / "0.key")


def test_the_program_says_its_version() -> None:
    command = [sys.executable, "-m", "hotstuff.tool", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["hotstuff", f"{hotstuff.__version__},"]
