#!/usr/bin/env python3
"""Which lines of the algorithm (src/algorithm) its tests run: `make coverage`.

Runs the unit tests, the paper tests, and of the simulation the scripts, the seeds that once failed
and CASES random ones (300), with the counters of rustc and LLVM; prints each file's lines, and
those that nothing ran. Exit 1 below LINES_MIN.

Unit tests inside a file do not count as its lines.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "coverage"
UNDER_TEST = "src/algorithm/"
LINES_MIN = 92.0
RUNS = [
    ("lib", [], {}),
    ("paper", [], {}),
    ("simulation", ["scripts::"], {}),
    ("simulation", ["scenarios::random::regressions"], {}),
    ("simulation", ["scenarios::budget::budget"], {"FROM": "1"}),
]


def build():
    command = [os.environ.get("CARGO") or "cargo", "test", "--locked", "--no-run", "--lib"]
    command += ["--test", "paper", "--test", "simulation"]
    command += ["--message-format=json-render-diagnostics"]
    env = dict(os.environ, CARGO_TARGET_DIR=str(OUT / "target"))
    env["RUSTFLAGS"] = "-C instrument-coverage"
    env["LLVM_PROFILE_FILE"] = str(OUT / "build.profraw")  # of build scripts
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("coverage: the tests do not build")
    programs = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            is_lib = "test" not in message["target"]["kind"]
            programs["lib" if is_lib else message["target"]["name"]] = message["executable"]
    return programs


def run(programs):
    """Runs the tests; their counters."""
    profiles = []
    for number, (name, arguments, more) in enumerate(RUNS):
        profile = OUT / f"{number}.profraw"
        env = dict(os.environ, LLVM_PROFILE_FILE=str(profile), **more)
        env.setdefault("CASES", "300")
        done = subprocess.run(
            [programs[name], *arguments], cwd=ROOT, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if done.returncode != 0:
            sys.exit(f"{done.stdout}\ncoverage: {name} {' '.join(arguments)} fails")
        profiles.append(str(profile))
    return profiles


def llvm(tool):
    sysroot = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
    found = list(Path(sysroot).glob(f"lib/rustlib/*/bin/{tool}"))
    if not found:
        sys.exit(f"coverage: {tool} is missing: rustup component add llvm-tools")
    return str(found[0])


def counts(programs, profiles):
    """{file: {line: how often it ran}}"""
    merged = str(OUT / "merged.profdata")
    subprocess.run([llvm("llvm-profdata"), "merge", "-sparse", "-o", merged, *profiles], check=True)
    objects = [argument for program in programs.values() for argument in ("-object", program)]
    command = [llvm("llvm-cov"), "export", "-format=lcov", "-instr-profile", merged, *objects]
    lcov = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    files = {}
    for line in lcov.splitlines():
        if line.startswith("SF:"):
            file = Path(line[3:])
            relative = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
            lines = files.setdefault(relative, {})
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            lines[int(number)] = lines.get(int(number), 0) + int(count)
    return files


def without_unit_tests(file, lines):
    text = (ROOT / file).read_text().splitlines()
    end = next((i for i, line in enumerate(text, 1) if line == "#[cfg(test)]"), len(text) + 1)
    return {number: count for number, count in lines.items() if number < end}


def ranges(numbers):
    """[3, 4, 5, 9] -> 3-5 9"""
    out = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return " ".join(f"{a}-{b}" if a != b else str(a) for a, b in out)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    programs = build()
    files = counts(programs, run(programs))
    all_lines = all_run = 0
    print(f"{'file':<30}{'lines':>7}{'run':>7}{'%':>8}  not run")
    for file in sorted(file for file in files if file.startswith(UNDER_TEST)):
        lines = without_unit_tests(file, files[file])
        missed = sorted(number for number, count in lines.items() if count == 0)
        ran = len(lines) - len(missed)
        all_lines, all_run = all_lines + len(lines), all_run + ran
        share = 100 * ran / max(len(lines), 1)
        print(f"{file:<30}{len(lines):>7}{ran:>7}{share:>8.1f}  {ranges(missed)}")
    share = 100 * all_run / max(all_lines, 1)
    print(f"{'total':<30}{all_lines:>7}{all_run:>7}{share:>8.1f}  at least {LINES_MIN} %")
    if share < LINES_MIN:
        sys.exit(f"coverage: {share:.1f} % of the lines, not {LINES_MIN} %")


if __name__ == "__main__":
    main()
