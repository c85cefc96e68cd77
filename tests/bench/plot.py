#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the JSON files of the benches as PNG, beside them: plot.py DIRECTORY."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (after the choice of what draws)
from matplotlib.axes import Axes  # noqa: E402

KIB = 1024


def size(data_bytes: int) -> str:
    if data_bytes == 0:
        return "empty"
    return f"{data_bytes // KIB} KiB" if data_bytes < KIB * KIB else f"{data_bytes // KIB**2} MiB"


def bars(axes: Axes, names: list[str], groups: dict[str, list[float]]) -> None:
    """Beside each name one bar of each group."""
    width = 0.8 / len(groups)
    for index, (label, values) in enumerate(groups.items()):
        at = [place + index * width for place in range(len(names))]
        drawn = axes.bar(at, values, width, label=label)
        axes.bar_label(drawn, fmt="{:.0f}", fontsize=7)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(names))], names)
    axes.legend()


def cluster(figures: list, axes: list[Axes]) -> None:
    names = [f"n = {cell['replicas']}\n{size(cell['data_bytes'])}" for cell in figures]
    for part, (what, unit) in zip(
        axes, [("blocks_per_s", "blocks/s"), ("cpu_us_per_block", "CPU of all, us a block")]
    ):
        groups = {who: [cell[who][what] for cell in figures] for who in ("floor", "cluster")}
        bars(part, names, groups)
        part.set_yscale("log")
        part.set_ylabel(unit)


def load(figures: dict, axes: list[Axes]) -> None:
    steps = [step for step in figures["steps"] if step["offered_per_s"]]
    offered = [step["offered_per_s"] for step in steps]
    for quantile in ("p50", "p99"):
        latency = [step[f"latency_{quantile}_us"] / 1e3 for step in steps]
        axes[0].plot(offered, latency, marker="o", label=quantile)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("ms from due to answered")
    axes[1].plot(offered, [step["answered_per_s"] for step in steps], marker="o", label="answered")
    axes[1].plot(offered, offered, linestyle=":", label="offered")
    axes[1].set_ylabel("commands/s")
    for part in axes:
        part.set_xlabel("commands/s offered")
        part.legend()


def sync(figures: list, axes: list[Axes]) -> None:
    names = [size(line["data_bytes"]) for line in figures]
    for part, what in zip(axes, ("blocks_per_s", "megabytes_per_s")):
        bars(part, names, {"fresh replica": [line[what] for line in figures]})
        part.set_ylabel(what.replace("_per_", "/").replace("_", " "))


def fault(figures: dict, axes: list[Axes]) -> None:
    phases = figures["phases"]
    names = [line["phase"] for line in phases]
    rates = {what: [line[f"{what}_per_s"] for line in phases] for what in ("offered", "committed")}
    bars(axes[0], names, rates)
    axes[0].set_ylabel("commands/s")
    waits = ("p50", "p99", "max")
    groups = {what: [line[f"latency_{what}_us"] / 1e3 for line in phases] for what in waits}
    bars(axes[1], names, groups)
    axes[1].set_yscale("log")
    axes[1].set_ylabel("ms from due to committed")


def growth(figures: dict, axes: list[Axes]) -> None:
    commands = [sample["commands"] for sample in figures["samples"]]
    for part, (what, label) in zip(axes, [("private_mb", "private MB"), ("resident_mb", "RSS MB")]):
        part.plot(commands, [sample[what] for sample in figures["samples"]], marker="o")
        part.set_ylim(bottom=0)
        part.set_xlabel("commands committed")
        part.set_ylabel(label)


def pairs(figures: list, axes: list[Axes]) -> None:
    """Two systems on the same work."""
    names = [line["work"] for line in figures]
    for part, (what, unit) in zip(
        axes, [("blocks_per_s", "blocks/s"), ("latency_p50_ms", "commit p50, ms")]
    ):
        groups = {who: [line[who].get(what) or 0 for line in figures] for who in figures[0]["who"]}
        bars(part, names, groups)
        part.set_yscale("symlog")
        part.set_ylabel(unit)


DRAWERS = {
    "cluster": cluster,
    "matrix": cluster,
    "load": load,
    "sync": sync,
    "fault": fault,
    "fault-3-of-10": fault,
    "growth": growth,
    "peers": pairs,
}


def draw(path: Path) -> None:
    found = json.loads(path.read_text())
    wide = 8 + len(found["figures"]) // 2
    figure, axes = pyplot.subplots(2, 1, figsize=(wide, 9), layout="constrained")
    DRAWERS[found["bench"]](found["figures"], list(axes))
    machine = found.get("machine", {})
    cores = f"{machine.get('cores')} x {machine.get('cpu')}"
    figure.suptitle(f"{found['bench']}, {found['date']}\n{cores}")
    figure.savefig(path.with_suffix(".png"), dpi=120)
    pyplot.close(figure)
    print(path.with_suffix(".png"))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    files = [Path(sys.argv[1]) / f"{name}.json" for name in DRAWERS]
    files = [path for path in files if path.exists()]
    if not files:
        print(f"{sys.argv[1]}: nothing to draw; `make bench` first", file=sys.stderr)
        return 1
    for path in files:
        draw(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
