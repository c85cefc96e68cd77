# SPDX-License-Identifier: Apache-2.0
"""Pictures of what replicas have told of: commit latency, the length of views, who led what."""

from __future__ import annotations

import itertools
import pathlib
from collections import Counter, defaultdict
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy
from matplotlib.axes import Axes

Row = dict[str, Any]
INK, GRID = "#26323a", "#d9dee2"
BLUE, ORANGE, GREY = "#2a78b8", "#e07b39", "#aab4bb"


def draw(rows: list[Row], path: pathlib.Path) -> None:
    """One picture with four panels."""
    style: Any = {
        "font.size": 9,
        "axes.edgecolor": GRID,
        "axes.labelcolor": INK,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.dpi": 150,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
        figure.suptitle(_title(rows), fontsize=11, x=0.01, ha="left")
        _latency_over_time(axes[0][0], rows)
        _latency_distribution(axes[0][1], rows)
        _view_lengths(axes[1][0], rows)
        _who_led(axes[1][1], rows)
        figure.savefig(path)
        plt.close(figure)


def _title(rows: list[Row]) -> str:
    seconds = (rows[-1]["time_ns"] - rows[0]["time_ns"]) / 1e9
    replicas = len({row["replica"] for row in rows})
    height = max((row["height"] for row in rows), default=0)
    return f"{replicas} replicas, {height:,} blocks in {seconds:,.1f} s"


def latencies(rows: list[Row]) -> list[tuple[float, float]]:
    """For each block: when it was proposed, in seconds from the first event, and the milliseconds
    until the first replica had committed it."""
    proposed: dict[str, int] = {}
    committed: dict[str, int] = {}
    for row in rows:
        if row["kind"] == "PROPOSED":
            proposed.setdefault(row["block"], row["time_ns"])
        elif row["kind"] == "COMMITTED":
            committed.setdefault(row["block"], row["time_ns"])
    start = rows[0]["time_ns"]
    found = [
        ((at - start) / 1e9, (committed[block] - at) / 1e6)
        for block, at in proposed.items()
        if block in committed
    ]
    return sorted(found)


def views(rows: list[Row]) -> list[tuple[float, float, bool]]:
    """For each view of the first replica that tells of views: when it began, how many milliseconds
    it lasted, and whether it ran out."""
    told = [row for row in rows if row["kind"] in ("START_VIEW", "VIEW_TIMEOUT")]
    if not told:
        return []
    its = [row for row in told if row["replica"] == told[0]["replica"]]
    ran_out = {(row["epoch"], row["view"]) for row in its if row["kind"] == "VIEW_TIMEOUT"}
    begun = [row for row in its if row["kind"] == "START_VIEW"]
    start = rows[0]["time_ns"]
    return [
        (
            (row["time_ns"] - start) / 1e9,
            (following["time_ns"] - row["time_ns"]) / 1e6,
            (row["epoch"], row["view"]) in ran_out,
        )
        for row, following in itertools.pairwise(begun)
    ]


def leaders(rows: list[Row]) -> dict[str, tuple[int, int, int]]:
    """For each leader's address: views that brought a block that was committed, other views, and
    views that ran out."""
    led: dict[tuple[int, int], str] = {}
    ran_out: set[tuple[int, int]] = set()
    blocks: dict[tuple[int, int], str] = {}
    committed: set[str] = set()
    for row in rows:
        view = row["epoch"], row["view"]
        if row["kind"] == "START_VIEW" and row["peer"]:
            led[view] = row["peer"]
        elif row["kind"] == "VIEW_TIMEOUT":
            ran_out.add(view)
        elif row["kind"] == "PROPOSED":
            blocks[view] = row["block"]
        elif row["kind"] == "COMMITTED":
            committed.add(row["block"])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for view, leader in led.items():
        if blocks.get(view) in committed:
            counts[leader]["committed"] += 1
        else:
            counts[leader]["timed out" if view in ran_out else "other"] += 1
    return {
        leader: (count["committed"], count["other"], count["timed out"])
        for leader, count in sorted(counts.items())
    }


def _grid(axes: Axes, axis: str = "y") -> None:
    axes.grid(axis=axis, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _legend_below(axes: Axes, **how: Any) -> None:
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, **how)


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def _log_scale(axes: Axes, values: list[float], axis: str) -> None:
    """Only where the values spread over more than a power of ten."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 10 * min(positive):
        getattr(axes, f"set_{axis}scale")("log")
        getattr(axes, f"{axis}axis").set_major_formatter(
            matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}")
        )
        getattr(axes, f"{axis}axis").set_minor_formatter(matplotlib.ticker.NullFormatter())


def _latency_over_time(axes: Axes, rows: list[Row]) -> None:
    axes.set_title("commit latency: proposal to first commit")
    found = latencies(rows)
    if not found:
        _nothing(axes, "no block was committed")
        return
    times, values = zip(*found, strict=True)
    axes.plot(times, values, ".", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("ms")
    _log_scale(axes, list(values), "y")
    _grid(axes)


def _latency_distribution(axes: Axes, rows: list[Row]) -> None:
    axes.set_title("commit latency: share of blocks")
    values = sorted(value for _, value in latencies(rows))
    if not values:
        _nothing(axes, "no block was committed")
        return
    shares = numpy.arange(1, len(values) + 1) / len(values) * 100
    axes.step(values, shares, where="post", color=BLUE, linewidth=1.5)
    for share in (50, 99):
        value = float(numpy.percentile(values, share))
        axes.axvline(value, color=ORANGE, linewidth=0.8, linestyle="--")
        axes.annotate(
            f"p{share}: {value:,.1f} ms",
            (value, 8 if share == 50 else 20),
            xytext=(4 if share == 50 else -4, 0),
            textcoords="offset points",
            ha="left" if share == 50 else "right",
            color=ORANGE,
        )
    _log_scale(axes, values, "x")
    axes.set_ylim(0, 102)
    axes.set_xlabel("ms")
    axes.set_ylabel("% of blocks")
    _grid(axes, "both")


def _view_lengths(axes: Axes, rows: list[Row]) -> None:
    axes.set_title("length of views")
    found = views(rows)
    if not found:
        _nothing(axes, "no view has ended")
        return
    for is_out, color, label in ((False, BLUE, "ended well"), (True, ORANGE, "ran out")):
        chosen = [(at, length) for at, length, ran_out in found if ran_out == is_out]
        if chosen:
            times, lengths = zip(*chosen, strict=True)
            axes.plot(
                times,
                lengths,
                ".",
                color=color,
                markersize=4 if is_out else 3,
                alpha=1 if is_out else 0.6,
                markeredgewidth=0,
                label=f"{label}: {len(chosen):,}",
            )
    axes.set_xlabel("seconds")
    axes.set_ylabel("ms")
    _log_scale(axes, [length for _, length, _ in found], "y")
    _legend_below(axes, markerscale=3)
    _grid(axes)


def _who_led(axes: Axes, rows: list[Row]) -> None:
    axes.set_title("who led what")
    found = leaders(rows)
    if not found:
        _nothing(axes, "no view has begun")
        return
    names = [leader[:8] for leader in found]
    places = numpy.arange(len(names))
    left = numpy.zeros(len(names))
    kinds = (("committed", BLUE), ("no block, or not yet", GREY), ("ran out", ORANGE))
    for place, (label, color) in enumerate(kinds):
        counts = numpy.array([counts[place] for counts in found.values()])
        if counts.any():
            axes.barh(places, counts, left=left, color=color, label=label, height=0.6)
        left = left + counts
    axes.set_yticks(places, names, family="monospace")
    axes.invert_yaxis()
    axes.set_xlabel("views")
    _legend_below(axes)
    _grid(axes, "x")
