#!/usr/bin/env python3
"""Writes THIRD-PARTY: what the binaries contain of others, and under which licences.

    third_party.py           writes the file (`make third-party`)
    third_party.py --check   fails if the file is not what Cargo.lock says
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "THIRD-PARTY"
TARGET = "x86_64-unknown-linux-gnu"

# Licences of code that a crate contains, besides the files LICENSE* at its top.
INSIDE = {
    "lmdb-rkv-sys": ["lmdb/libraries/liblmdb/COPYRIGHT", "lmdb/libraries/liblmdb/LICENSE"],
    "ring": ["third_party/fiat/LICENSE"],
}

HEAD = """\
What libhotstuff contains of others. Written by `make third-party`; do not edit.

The crates below are compiled into libhotstuff.so and libhotstuff.a. What is offered under the
Apache License 2.0, alone or among others, is used under it: its text is in LICENSE. The texts of
the other licences follow.

The binaries also contain parts of Rust's standard library (https://github.com/rust-lang/rust):
MIT OR Apache-2.0, used under Apache-2.0; within it compiler-builtins, partly Apache-2.0 WITH
LLVM-exception, and partly MIT (mathematical functions after musl, Copyright 2005-2020 Rich Felker
et al., and the "libm" crate, Copyright 2018 Jorge Aparicio).

"""


def cargo(*arguments):
    command = [os.environ.get("CARGO", "cargo"), *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def shipped():
    """The packages that end up in the binaries: no build or test dependencies, no macros."""
    tree = cargo("tree", "-e", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none")
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    found = [package for package in packages
             if (package["name"], "v" + package["version"]) in names and package["source"]]
    assert len(found) == len(names) - 1, "all but this crate come from a registry"
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def is_apache(package):
    """Whether the Apache licence alone is enough."""
    return "Apache-2.0" in package["license"].replace("/", " OR ").split(" OR ")


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    inside = [folder / path for path in INSIDE.get(package["name"], [])]
    top = [] if is_apache(package) else sorted(folder.glob("LICENSE*"))
    if not is_apache(package) and not top:
        sys.exit(f"third-party: {package['name']} ({package['license']}) has no licence file")
    notices = sorted(folder.glob("NOTICE*"))
    return [(path.relative_to(folder), path.read_text().strip("\n"))
            for path in top + notices + inside]


def third_party():
    packages = shipped()
    lines = [HEAD]
    for package in packages:
        lines.append(f"{package['name']} {package['version']}: {package['license']}\n")
    lines.append("within lmdb-rkv-sys: LMDB: OLDAP-2.8\n")
    for package in packages:
        for path, text in texts(package):
            lines.append(f"\n{'=' * 80}\n{package['name']}: {path}\n\n{text}\n")
    return "".join(lines)


def main():
    text = third_party()
    if "--check" not in sys.argv[1:]:
        OUT.write_text(text)
    elif not OUT.is_file() or OUT.read_text() != text:
        sys.exit("third-party: THIRD-PARTY is not what Cargo.lock says: run `make third-party`")


if __name__ == "__main__":
    main()
