#!/usr/bin/env python3
"""The ABI that the header describes, against the one that is recorded in this folder.

    abi.py record     writes hotstuff-<ABI version>.abi (`make abi`)
    abi.py check      fails, and shows how, if the header describes another ABI

The recorded ABI is not that of the library: a Rust library has little debug information that
abidiff understands. It is that of a stub in C: the header, a body for each function, and the
numbers of the header's macros as enumerators. ARCHITECTURE.md says what may change when.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ABI_CHANGE = 4  # bits of abidiff's exit code
INCOMPATIBLE = 8


def stub(header):
    """The C source that has the ABI of a header."""
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    body = code.split('extern "C" {\n#endif', 1)[1].split("#ifdef __cplusplus", 1)[0]
    functions = re.findall(r"HOTSTUFF_API\s+(?:HOTSTUFF_NODISCARD\s+)?([^;]+\));", body)
    numbers = re.findall(r"^#define (HOTSTUFF_(?!VERSION)\w+) +\(?-?\d+\)?", code, re.M)
    lines = ['#include "hotstuff.h"', "enum numbers {"]
    lines += [f"    is_{name} = {name}," for name in numbers]
    lines += ["};", "enum numbers hotstuff_numbers(void) { return 0; }"]
    # Structs that only pointers name are described if something has them whole.
    structs = re.findall(r"^typedef struct (hotstuff_\w+) \{", body, re.M)
    lines += [f"void whole_{name}(const {name} *it) {{ (void)it; }}" for name in structs]
    for function in functions:
        ends = "{}" if re.match(r"void\s+\w+\(", function) else "{ return 0; }"
        lines.append(f"{function} {ends}")
    return "\n".join(lines) + "\n"


def describe(header, out):
    """Writes the ABI of a header, in abidw's format."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = pathlib.Path(folder, "stub.c"), pathlib.Path(folder, "libhotstuff.so")
        source.write_text(stub(header))
        pathlib.Path(folder, "hotstuff.h").write_text(header)
        run([os.environ.get("CC", "cc"), "-g", "-O0", "-w", "-shared", "-fPIC",
             f"-ffile-prefix-map={folder}=.", source, "-o", library])
        run(["abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs",
             "--no-elf-needed", "--type-id-style", "hash", "--out-file", out, library])


def compare(recorded, header):
    """abidiff's exit code and words."""
    with tempfile.TemporaryDirectory() as folder:
        now = pathlib.Path(folder, "now.abi")
        describe(header, now)
        ran = subprocess.run(["abidiff", "--no-show-locs", str(recorded), str(now)], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # A record that it cannot read is no difference to abidiff: it complains, and returns 0.
        if ran.returncode & ~(ABI_CHANGE | INCOMPATIBLE) or ran.stdout and not ran.returncode:
            sys.exit(f"abi: abidiff has failed:\n{ran.stdout}")
        return ran.returncode, ran.stdout


def run(command):
    subprocess.run([str(word) for word in command], check=True)


def recorded(header):
    number = re.search(r"^#define HOTSTUFF_ABI_VERSION (\d+)$", header, re.M).group(1)
    return ROOT / f"abi/hotstuff-{number}.abi"


def main():
    header = (ROOT / "include/hotstuff.h").read_text()
    if sys.argv[1:] == ["record"]:
        describe(header, recorded(header))
        return
    if sys.argv[1:] != ["check"]:
        sys.exit(__doc__)
    code, words = compare(recorded(header), header)
    if code != 0:
        sys.exit(f"{words}\nabi: the header no longer describes {recorded(header).name}. "
                 "See \"The ABI\" in ARCHITECTURE.md; if the change is meant: `make abi`")


if __name__ == "__main__":
    main()
