# SPDX-License-Identifier: Apache-2.0
"""Puts the library of this repository into the wheel, and names the platform that it was built for.

The wheel serves every Python 3 (ctypes), one architecture, and every glibc from the newest one that
the library asks for: what `auditwheel show` would say.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = ROOT / "target" / "release" / "libhotstuff.so"
INSIDE = "hotstuff/_lib/libhotstuff.so"


def platform_tag(library: pathlib.Path) -> str:
    """manylinux_2_34_x86_64, if the newest glibc symbol is of 2.34."""
    dynamic = subprocess.run(
        ["objdump", "-T", str(library)], check=True, capture_output=True, text=True
    ).stdout
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", dynamic)
    machine = sysconfig.get_platform().removeprefix("linux-").replace("-", "_")
    if not versions:
        raise RuntimeError(f"{library} names no version of glibc: only glibc is supported")
    major, minor = max((int(major), int(minor)) for major, minor in versions)
    return f"manylinux_{major}_{minor}_{machine}"


class LibraryInside(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        if not LIBRARY.exists():
            raise RuntimeError(f"{LIBRARY} is missing: run `make wheel`, which builds it first")
        stripped = ROOT / "target" / "wheel" / "libhotstuff.so"
        stripped.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "-S", "-o", str(stripped), str(LIBRARY)], check=True)
        build_data["force_include"][str(stripped)] = INSIDE
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(LIBRARY)}"


class VersionOfTheLibrary(MetadataHookInterface):
    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        manifest = (ROOT / "Cargo.toml").read_text()
        found = re.search(r'^version = "([^"]+)"', manifest, re.MULTILINE)
        if found is None:
            raise RuntimeError("Cargo.toml has no version")
        metadata["version"] = found[1]
