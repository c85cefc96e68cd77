# SPDX-License-Identifier: Apache-2.0
"""Which library is loaded, and what is said if none is; the generated file is the header's."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

import hotstuff

HERE = pathlib.Path(__file__).resolve().parent
STRANGER = """
unsigned hotstuff_abi_version(void) { return %d; }
unsigned hotstuff_version_number(void) { return %d; }
const char *hotstuff_version_string(void) { return "%s"; }
"""


def import_with(library: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HOTSTUFF_LIBRARY"}
    if library is not None:
        environment["HOTSTUFF_LIBRARY"] = library
    code = "import hotstuff; print(hotstuff.library_path(), hotstuff.__version__)"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_a_named_library_is_loaded() -> None:
    path = hotstuff.library_path()
    done = import_with(path)
    assert done.stdout == f"{path} {hotstuff.__version__}\n"


def test_a_missing_library_that_is_named_is_the_only_one_tried() -> None:
    done = import_with("/nowhere/libhotstuff.so")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()
    assert "LibraryError: libhotstuff was not found" in done.stderr
    assert last[-1].startswith("  HOTSTUFF_LIBRARY=/nowhere/libhotstuff.so: ")
    assert "Tried:" in last[-2]


def test_the_places_are_tried_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from hotstuff import _library

    monkeypatch.delenv("HOTSTUFF_LIBRARY", raising=False)
    places = [place for place, _ in _library.candidates()]
    assert places[0].startswith("in this package: ")
    assert places[1:] == [
        'ctypes.util.find_library("hotstuff")',
        "the linker's search for libhotstuff.so.0",
    ]
    nothing = [(place, f"/nowhere/{number}") for number, place in enumerate(places)]
    monkeypatch.setattr(_library, "candidates", lambda: iter(nothing))
    with pytest.raises(_library.LibraryError) as raised:
        _library.find()
    for place in places:
        assert place in str(raised.value)


@pytest.mark.parametrize(
    ("abi", "number", "version", "said"),
    [
        (1, 1000, "0.1.0", "ABI 1; this package needs"),
        (0, 999, "0.0.999", "0.0.999 with ABI 0"),
        (0, 1_000_000, "1.0.0", "lacks what its version has"),
    ],
)
def test_a_library_of_another_version(
    tmp_path: pathlib.Path, abi: int, number: int, version: str, said: str
) -> None:
    source, library = tmp_path / "stranger.c", tmp_path / "stranger.so"
    source.write_text(STRANGER % (abi, number, version))
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    done = import_with(str(library))
    assert done.returncode == 1
    assert "LibraryError" in done.stderr
    assert said in done.stderr


def test_another_library() -> None:
    done = import_with("libc.so.6")
    assert "HOTSTUFF_LIBRARY=libc.so.6 is not libhotstuff" in done.stderr


def test_the_types_are_those_of_the_header() -> None:
    check = [sys.executable, str(HERE.parent / "generate_abi.py"), "--check"]
    subprocess.run(check, check=True)


def test_every_exported_function_is_declared() -> None:
    from hotstuff import _abi

    exported = (ROOT / "hotstuff.sym").read_text().split()
    assert sorted(_abi.FUNCTIONS) == sorted(exported)


def test_the_numbers_of_the_package_are_those_of_the_header() -> None:
    """Every event, and every status, has its class."""
    from hotstuff import _abi, errors

    named = {value for name, value in vars(_abi).items() if name.startswith("EVENT_")}
    assert named == {int(kind) for kind in hotstuff.EventKind}
    statuses = {value for name, value in vars(_abi).items() if name.startswith("E_")}
    assert statuses - set(errors._CLASSES) == {_abi.E_DONE, _abi.E_NO_MEMORY}


def test_the_example_of_the_readme_runs(tmp_path: pathlib.Path) -> None:
    readme = (HERE.parent / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0].startswith("1 b'")
    assert done.stdout.splitlines()[-1].startswith("10 b'")
