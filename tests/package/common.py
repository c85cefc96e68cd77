"""What the tests of the packages share: commands that must succeed, and an installed tree."""

import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "target/package"
HERE = ROOT / "tests/package"
HEADER = (ROOT / "include/hotstuff.h").read_text()
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
CC = os.environ.get("CC", "cc")
CXX = os.environ.get("CXX", "c++")
NATIVE = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc".split()


def macro(name):
    """What the header says that a macro is."""
    return re.search(rf'^#define HOTSTUFF_{name} "?([0-9.]+)"?$', HEADER, re.M).group(1)


VERSION = macro("VERSION_STRING")
ABI = macro("ABI_VERSION")
REAL_NAME = f"libhotstuff.so.{ABI}.{macro('VERSION_MINOR')}.{macro('VERSION_PATCH')}"


def attempt(*command, env=None, **options):
    """Runs a command: (exit code, stdout, stderr)."""
    ran = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, env={**os.environ, **(env or {})}, **options)
    return ran.returncode, ran.stdout, ran.stderr


def run(*command, env=None, **options):
    """Runs a command that must succeed: its stdout."""
    code, out, err = attempt(*command, env=env, **options)
    if code != 0:
        words = " ".join(str(word) for word in command)
        raise AssertionError(f"{words}: exit code {code}\n{out}{err}")
    return out


def install(destdir="", **where):
    """Installs what `make package` has built, with PREFIX and the like."""
    run(ROOT / "packaging/install.sh", "install", BUILT, env={"DESTDIR": str(destdir), **where})


def folder():
    """A new folder: the object that removes it, and its path."""
    it = tempfile.TemporaryDirectory(prefix="hotstuff-package-")
    return it, pathlib.Path(it.name)
