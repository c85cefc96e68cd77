# SPDX-License-Identifier: Apache-2.0
"""The tool `hotstuff`: keys, local clusters, and looking into chains.

pip install 'hotstuff[tool]'
hotstuff --help
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point: the tool, or what is missing to run it."""
    try:
        from .cli import app
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "hotstuff":
            raise
        sys.exit(
            f"hotstuff: the tool needs {missing.name}, which is not installed: "
            "pip install 'hotstuff[tool]'"
        )
    app()
