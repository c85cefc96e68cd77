#!/usr/bin/env python3
"""Finds every seeded bug of bugs.txt, or says which one no test finds.

    tests/bugs/run.py            builds, and prints the table; exit 1 if a bug is missed
    tests/bugs/run.py --check    only whether each change still fits the source (no build)
    tests/bugs/run.py WORDS      the bugs whose names hold WORDS
    CASES=n, JOBS=n              simulated cases for each bug and column (1,000), runs at a time (2)

All changes go into one copy of the source in target/bugs, each behind a switch that is read from
the environment when the tests run. So one build serves all bugs, a run costs seconds, and neither
the source nor the released library knows of any of it: a switch in the source would be noise in
the part that has to be read most closely, and a build for each bug would take an hour.

First nothing is switched on, and everything must pass: the copy is the library. Then each bug runs
against the layers that can see it. A number is how many tests of the layer fail, or how many
random cases the simulation took; a hang is a failure, too.
"""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPY = ROOT / "target" / "bugs" / "source"
CASES = int(os.environ.get("CASES") or 1_000)
JOBS = int(os.environ.get("JOBS") or 2)
# Longer than any layer takes without a bug on a busy machine.
HANGS_SECONDS = 300

# What cargo builds, and which of it can see a bug in which part of the source.
TARGETS = ["--lib", "--test", "paper", "--test", "simulation", "--test", "storage"]
TARGETS += ["--test", "crash"]
CORE = ["unit", "paper", "scripts", "simulation", "changes"]
LAYERS = {
    "src/types": CORE,
    "src/messages.rs": CORE,
    "src/proof.rs": CORE,
    "src/pacemaker.rs": CORE,
    "src/proof.rs": CORE,
    "src/algorithm": CORE,
    "src/block_tree": ["unit", "storage", "crash"],
    "src/replica": ["unit"],
}
COLUMNS = ["unit", "paper", "storage", "crash", "scripts", "simulation", "changes"]
# The first seed of the random cases: from 2^40 on every other one changes its validators.
FIRST_SEED = {"simulation": 1, "changes": 1 << 40}
# Of a layer's tests only these; of the others all.
ONLY = {
    "scripts": "scripts::",
    "simulation": "scenarios::budget::budget",
    "changes": "scenarios::budget::budget",
    "crash": "without_syncs_a_blackout_breaks_promises_and_with_them_none",
}

SWITCH = """
#[doc(hidden)]
pub fn seeded_bug(name: &str) -> bool {
    static BUG: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BUG.get_or_init(|| std::env::var("BUG").ok()).as_deref() == Some(name)
}
"""


class Drift(Exception):
    """bugs.txt does not fit the source."""


class Bug:
    def __init__(self, name):
        self.name = name
        self.changes = []  # (file, old, new)

    def layers(self):
        found = {layer for file, _, _ in self.changes for layer in layers_of(file)}
        return [column for column in COLUMNS if column in found]


def layers_of(file):
    for part, layers in LAYERS.items():
        if file.startswith(part):
            return layers
    raise Drift(f"no layer tests {file}")


def read_bugs():
    bugs = []
    for number, line in enumerate((HERE / "bugs.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            bugs.append(Bug(line.strip()))
        elif line.startswith("    ") and not line.startswith("     "):
            bugs[-1].changes.append([line.strip(), "", ""])
        elif line.startswith("  - "):
            bugs[-1].changes[-1][1] += line[4:] + "\n"
        elif line.startswith("  + "):
            bugs[-1].changes[-1][2] += line[4:] + "\n"
        else:
            raise Drift(f"bugs.txt:{number}: {line!r} is neither a file, nor a - or + line")
    names = [bug.name for bug in bugs]
    if len(set(names)) != len(names):
        raise Drift("bugs.txt names a bug twice")
    return bugs


def apply(bugs):
    """The changed text of each file. Several bugs may change the same lines: each change is made
    to what the ones before have left, of which the old text must still be a part."""
    texts, drifts = {}, []
    for bug in bugs:
        for file, old, new in bug.changes:
            layers_of(file)  # or it would be found by nothing
            original = (ROOT / file).read_text()
            texts.setdefault(file, original)
            pattern = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
            count = len(pattern.findall(original))
            found = pattern.search(texts[file])
            if count != 1 or not found:
                why = f"{count} times in {file}" if count != 1 else "another bug has changed"
                drifts.append(f"{bug.name}: {why}:\n{old}")
                continue
            new = new.replace("BUG", f"crate::seeded_bug({json.dumps(bug.name)})")
            texts[file] = texts[file][: found.start()] + new + texts[file][found.end() :]
    if drifts:
        raise Drift("bugs.txt does not fit the source:\n" + "\n".join(drifts))
    return texts


def write_copy(texts):
    """Writes only what has changed, so that cargo builds only that."""
    kept = ["src", "tests", "include", ".cargo"]
    kept += ["Cargo.toml", "Cargo.lock", "build.rs", "hotstuff.sym", "cbindgen.toml"]
    wanted = {}
    for name in kept:
        path = ROOT / name
        files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        for file in files:
            relative = file.relative_to(ROOT).as_posix()
            wanted[relative] = texts[relative].encode() if relative in texts else file.read_bytes()
    wanted["src/lib.rs"] += SWITCH.encode()
    # No C library is made of this.
    manifest = wanted["Cargo.toml"].decode()
    wanted["Cargo.toml"] = re.sub(r"(?m)^crate-type = .*$", "", manifest).encode()
    for relative, content in wanted.items():
        path = COPY / relative
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in COPY.rglob("*"):
        if path.is_file() and path.relative_to(COPY).as_posix() not in wanted:
            path.unlink()


def build():
    """The test programs, by layer."""
    cargo = [os.environ.get("CARGO") or "cargo", "test", "--locked", "--no-run"]
    command = cargo + TARGETS + ["--message-format=json-render-diagnostics"]
    env = dict(os.environ, CARGO_TARGET_DIR=str(COPY.parent / "target"))
    env["RUSTFLAGS"] = "-A warnings"
    done = subprocess.run(command, cwd=COPY, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("bugs: the copy with the bugs does not build")
    programs = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            kind = message["target"]["kind"]
            programs["unit" if "lib" in kind else message["target"]["name"]] = message["executable"]
    programs["scripts"] = programs["changes"] = programs["simulation"]
    return programs


def run_layer(program, layer, bug):
    """(how many tests fail or cases it took; what was found), or None."""
    env = dict(os.environ, RUST_BACKTRACE="0", BUG=bug)
    command = [program] + ([ONLY[layer]] if layer in ONLY else [])
    if layer in FIRST_SEED:
        command += ["--nocapture"]  # this one test counts its cases
        env.update(CASES=str(CASES), FROM=str(FIRST_SEED[layer]), JOBS="1", SECONDS="", SEED="")
    try:
        done = subprocess.run(
            command, cwd=COPY, env=env, timeout=HANGS_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
    except subprocess.TimeoutExpired:
        return 1, "hangs"
    if done.returncode == 0:
        return None
    if layer in FIRST_SEED:
        found = re.search(r"\b(\d+) cases", done.stdout)
        broken = re.search(r"\bseed \d+: (.*)", done.stdout)
        if found and broken:
            return int(found[1]), re.sub(r" at [\d.]+ ms: .*", "", broken[1])[:44]
    if layer == "scripts":
        scripts = re.findall(r"^\S*/(\w+)\.txt:$", done.stdout, re.M)
        if scripts:
            return len(scripts), scripts[0]
    failed = re.findall(r"^test (?:.*::)?(\S+) .*FAILED$", done.stdout, re.M)
    failed = failed or re.findall(r"^    (?:\S*::)?(\S+)$", done.stdout, re.M)
    if failed:
        return len(failed), failed[0]
    return 1, f"ends with {done.returncode}: " + (done.stdout.strip().splitlines() or [""])[-1][:60]


def find(programs, bug):
    found = {}
    for layer in bug.layers():
        found[layer] = run_layer(programs[layer], layer, bug.name)
    return bug, found


def print_row(name, cells, what):
    row = "".join(f"{cell:>{len(column) + 2}}" for column, cell in zip(COLUMNS, cells))
    print(f"{name:<52}{row}  {what}", flush=True)


def print_found(bug, found):
    counts = {layer: str(it[0]) if it else "-" for layer, it in found.items()}
    # What the simulation has to say is a rule by its name; a paper test's title comes next.
    order = ["simulation", "changes", "paper", "scripts", "storage", "crash", "unit"]
    first = next((found[layer][1] for layer in order if found.get(layer)), "NOT FOUND")
    print_row(bug.name, [counts.get(column, "") for column in COLUMNS], first)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="build nothing")
    parser.add_argument("words", nargs="*", help="only bugs whose names hold this")
    arguments = parser.parse_args()
    bugs = read_bugs()
    texts = apply(bugs)
    if arguments.check:
        print(f"bugs: {len(bugs)} seeded bugs fit the source")
        return
    wanted = [bug for bug in bugs if " ".join(arguments.words) in bug.name]
    if not wanted:
        sys.exit(f"bugs: no name in bugs.txt holds '{' '.join(arguments.words)}'")
    start = time.monotonic()
    write_copy(texts)
    programs = build()
    for layer in COLUMNS:
        failure = run_layer(programs[layer], layer, "none")
        if failure:
            sys.exit(f"bugs: without any bug, {layer} fails: {failure[1]}")
    print_row("seeded bug", COLUMNS, "what it broke")
    missed = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for bug, found in pool.map(lambda bug: find(programs, bug), wanted):
            print_found(bug, found)
            if not any(found.values()):
                missed.append(bug.name)
    seconds = time.monotonic() - start
    print(
        f"{len(wanted)} seeded bugs, {len(missed)} missed; at most {CASES} simulated cases each; "
        f"{seconds:.0f} s"
    )
    if missed:
        sys.exit("bugs: missed: " + ", ".join(missed))


if __name__ == "__main__":
    try:
        main()
    except Drift as drift:
        sys.exit(f"bugs: {drift}")
