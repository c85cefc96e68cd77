# SPDX-License-Identifier: Apache-2.0
"""Where the tool speaks."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True)


def fail(text: str) -> NoReturn:
    """Says what went wrong, and ends with exit code 1."""
    errors.print(f"[bold red]hotstuff:[/] {text}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)
