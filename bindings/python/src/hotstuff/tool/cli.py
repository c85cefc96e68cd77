# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import enum
import functools
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from hotstuff_kv.config import ConfigError
from hotstuff_kv.keys import KeyFileError

import hotstuff

from . import chain, events, localnet, show, tables, watching
from .console import console, fail

app = typer.Typer(
    name="hotstuff",
    help="Keys, local clusters, and looking into chains of libhotstuff.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

DataDir = Annotated[
    pathlib.Path, typer.Argument(help="Data directory of a replica, running or stopped.")
]


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """What goes wrong is said in a line, and the exit code is 1."""

    @functools.wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            return command(*arguments, **named)
        except (
            hotstuff.HotstuffError,
            ConfigError,
            KeyFileError,
            chain.NotProven,
            localnet.Failed,
            OSError,
        ) as failure:
            fail(str(failure))

    return run


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"hotstuff {hotstuff.__version__}, {hotstuff.library_path()}", soft_wrap=True)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


@app.command()
@explained
def keygen(files: Annotated[list[pathlib.Path], typer.Argument(help="New files.")]) -> None:
    """Make key pairs, one in each new file (PKCS#8, mode 0600), and print their addresses."""
    from hotstuff_kv import keys

    for path in files:
        print(keys.generate(str(path)).hex())


@app.command()
@explained
def genesis(
    configs: Annotated[list[pathlib.Path], typer.Argument(help="Configuration files of kv.")],
) -> None:
    """Print the genesis hash of kv configurations: it must be the same for all replicas."""
    hashes = {str(path): localnet.genesis_of(path).hex() for path in configs}
    for path, its in hashes.items():
        print(its if len(hashes) == 1 else f"{its}  {path}")
    if len(set(hashes.values())) > 1:
        fail("these configurations begin different chains")


@app.command("localnet")
@explained
def run_localnet(
    directory: Annotated[
        pathlib.Path, typer.Argument(help="Where keys, configurations, data and logs go.")
    ],
    replicas: Annotated[int, typer.Option("-n", min=1, max=64, help="How many replicas.")] = 4,
    kv: Annotated[
        pathlib.Path | None,
        typer.Option(help="A kv program; without it the packaged one in Python, with events."),
    ] = None,
    write_only: Annotated[
        bool, typer.Option("--write-only", help="Write the files, and start nothing.")
    ] = False,
    view_timeout_ms: Annotated[int, typer.Option(help="The first time-out of a view.")] = 1000,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so long; else with Ctrl-C.")
    ] = None,
) -> None:
    """Write configurations for a cluster on this machine, and run it until Ctrl-C."""
    net = localnet.Localnet(directory, replicas, kv, view_timeout_ms)
    net.write()
    console.print(net.table())
    if not write_only:
        net.run(seconds)


@app.command()
@explained
def inspect(
    data_dir: DataDir,
    blocks: Annotated[int, typer.Option(min=0, help="How many of the last blocks.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what a replica has on disk: blocks, certificates, validators, its voting record."""
    seen = chain.look(data_dir, blocks)
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        show.everything(seen)


@app.command()
@explained
def verify(
    data_dir: DataDir,
    config: Annotated[
        pathlib.Path | None,
        typer.Option(help="The kv configuration whose genesis is trusted."),
    ] = None,
    genesis_hash: Annotated[
        str | None, typer.Option("--genesis", help="The genesis hash that is expected.")
    ] = None,
) -> None:
    """Verify a chain from its genesis: every block, every epoch, every certificate."""
    expected = localnet.genesis_of(config) if config else None
    if genesis_hash is not None:
        expected = bytes.fromhex(genesis_hash)
    result = chain.verify(data_dir, expected, show.progress)
    show.verdict(result, expected is not None)


@app.command()
@explained
def watch(
    where: Annotated[
        list[str],
        typer.Argument(help="A directory of `hotstuff localnet`, or client addresses host:port."),
    ],
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(help="End after so many looks; else with Ctrl-C.")
    ] = None,
) -> None:
    """Watch a running kv cluster: views, heights, leaders, time-outs, who lags."""
    watching.watch(watching.members(where), interval, count)


class What(enum.StrEnum):
    BLOCKS = "blocks"
    VALIDATORS = "validators"
    EVENTS = "events"


@app.command()
@explained
def export(
    what: Annotated[What, typer.Argument(help="What to write.")],
    source: Annotated[
        pathlib.Path,
        typer.Argument(help="A data directory; for events, a directory of `hotstuff localnet`."),
    ],
    output: Annotated[pathlib.Path, typer.Argument(help="A new .csv or .parquet file.")],
) -> None:
    """Write blocks, validator sets or events as CSV or Parquet."""
    rows: Iterable[dict[str, Any]] = (
        events.read_all(source)
        if what is What.EVENTS
        else chain.rows(source, what.value, show.progress)
    )
    console.print(f"{tables.write(rows, output)} rows in {output}")


@app.command()
@explained
def plot(
    source: Annotated[
        pathlib.Path, typer.Argument(help="A directory of `hotstuff localnet` with events.")
    ],
    output: Annotated[pathlib.Path, typer.Argument(help="A .png file.")] = pathlib.Path(
        "hotstuff.png"
    ),
) -> None:
    """Draw commit latency, the length of views, and who led what."""
    from . import drawing

    drawing.draw(events.read_all(source), output)
    console.print(f"drawn: {output}")
