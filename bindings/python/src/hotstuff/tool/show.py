# SPDX-License-Identifier: Apache-2.0
"""Tables for a person, and progress."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .chain import Advance, Row
from .console import console, errors

SHORT = 12
"""Digits of a hash or an address that are shown: enough to tell them apart."""


def everything(seen: Row) -> None:
    """What `chain.look` has found."""
    console.print(_summary(seen))
    console.print(_epochs(seen["epochs"]))
    if seen["blocks"]:
        console.print(_blocks("last committed blocks", seen["blocks"]))
    if seen["pending"]:
        console.print(_blocks("blocks that await commit", seen["pending"]))
    if seen["evidence"]:
        console.print(_evidence(seen["evidence"]))


def _summary(seen: Row) -> Panel:
    record = seen["voting_record"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    grid.add_row("genesis", seen["genesis"])
    grid.add_row("committed", f"height {seen['committed_height']}, epoch {seen['epoch']}")
    grid.add_row("highest QC", _qc(seen["highest_qc"]))
    grid.add_row("last vote", _signed(record["voted"], record["voted_phase"]))
    grid.add_row("last proposal", _signed(record["proposed"]))
    timed_out = record["timed_out"]
    grid.add_row(
        "last time-out",
        f"view {timed_out['view']} of epoch {timed_out['epoch']}" if timed_out else "none",
    )
    grid.add_row("record changed", f"{record['changes']} times")
    return Panel(grid, title=f"{seen['data_dir']}", title_align="left", expand=False)


def _qc(qc: Row) -> str:
    if not qc["signers"]:
        return "of the genesis"
    text = f"view {qc['view']} of epoch {qc['epoch']}, {qc['phase']}, block {qc['block'][:SHORT]}"
    return f"{text}, {qc['signers']} signers"


def _signed(signed: Row | None, phase: str | None = None) -> str:
    if signed is None:
        return "none"
    text = f"view {signed['view']} of epoch {signed['epoch']}, block {signed['block'][:SHORT]}"
    return f"{text}, {phase}" if phase else text


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _epochs(epochs: list[Row]) -> Table:
    table = _table("validators", ("epoch", "validator"), ("power", "quorum", "begun in view"))
    for epoch in epochs:
        begun = epoch["begun_by"]
        for place, validator in enumerate(epoch["validators"]):
            is_first = place == 0
            quorum = f"{epoch['quorum_power']} of {epoch['total_power']}"
            table.add_row(
                str(epoch["epoch"]) if is_first else "",
                validator["address"][:SHORT],
                str(validator["power"]),
                quorum if is_first else "",
                str(begun["view"]) if is_first and begun else "",
            )
        table.add_section()
    return table


def _blocks(title: str, blocks: list[Row]) -> Table:
    left, right = ("hash", "parent"), ("height", "epoch", "view", "data", "justify", "signers")
    table = _table(title, left, right)
    for block in blocks:
        table.add_row(
            block["hash"][:SHORT],
            block["parent"][:SHORT],
            str(block["height"]),
            str(block["epoch"]),
            str(block["view"]),
            f"{block['data_bytes']:,} B",
            f"view {block['justify_view']}",
            str(block["justify_signers"]),
        )
    return table


def _evidence(pieces: list[Row]) -> Table:
    table = _table("convicted validators", ("validator", "of what"), ("epoch", "view"))
    for piece in pieces:
        word = piece["kind"].replace("_", " ")
        table.add_row(piece["validator"][:SHORT], word, str(piece["epoch"]), str(piece["view"]))
    return table


def verdict(result: dict[str, Any], is_anchored: bool) -> None:
    """What `chain.verify` has found."""
    console.print(
        f"[bold green]verified[/]: {result['blocks']:,} blocks of {result['epochs']} epochs, "
        f"{result['bytes']:,} bytes of data, committed up to height {result['proven_height']:,}",
        soft_wrap=True,
    )
    console.print(f"genesis {result['genesis']}", soft_wrap=True)
    if not is_anchored:
        console.print(
            "The genesis is what this directory says: name the one you trust with --config or "
            "--genesis.",
            soft_wrap=True,
        )


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A progress bar on standard error, if that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("blocks"),
        TimeRemainingColumn(),
    )
    shown = sys.stderr.isatty()
    with Progress(*columns, console=errors, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=total)
        yield lambda blocks: bar.advance(task, blocks)
