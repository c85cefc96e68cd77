#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/hotstuff/_abi.py from include/hotstuff.h: every constant, struct and function.

    python3 generate_abi.py [--check]

Without argument and result types ctypes cuts pointers to 32 bits, so none is written by hand. A
test compares the file with the header (`--check`).
"""

import argparse
import pathlib
import re
import sys

from pycparser import c_ast, c_parser

HERE = pathlib.Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "hotstuff.h"
OUTPUT = HERE / "src" / "hotstuff" / "_abi.py"

NUMBERS = {
    "uint8_t": "c_uint8",
    "uint16_t": "c_uint16",
    "uint32_t": "c_uint32",
    "uint64_t": "c_uint64",
    "int32_t": "c_int32",
    "int64_t": "c_int64",
    "size_t": "c_size_t",
    "bool": "c_bool",
    "hotstuff_status": "c_int32",
}
PRELUDE = "".join(f"typedef int {name};\n" for name in NUMBERS if name != "hotstuff_status")
TOP = '''\
# SPDX-License-Identifier: Apache-2.0
# Written by generate_abi.py from include/hotstuff.h. Do not edit.
"""The ABI of libhotstuff: constants, structs, and the types of every function."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any
'''


def defines(text):
    """The numbers and the texts of the header, in its order."""
    found = {}
    pattern = r'^#define HOTSTUFF_(\w+) (?:\(?(-?\d+)\)?|"([^"]*)")(?:\s|$)'
    for name, number, string in re.findall(pattern, text, re.MULTILINE):
        found[name] = int(number) if number else string
    return found


def declarations(text):
    """The C of the header, without comments, directives and decorations."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^#(?:[^\n]*\\\n)*[^\n]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r'extern "C" \{|^\} *$', "", text, flags=re.MULTILINE)
    text = re.sub(r"\bHOTSTUFF_(API|NODISCARD)\b", "", text)
    return c_parser.CParser().parse(PRELUDE + text)


class Generator:
    def __init__(self, text):
        self.constants = defines(text)
        self.structs, self.functions, self.pointers = {}, {}, {}
        self.typedefs = dict(NUMBERS)
        for item in declarations(text).ext:
            self.take(item)

    def take(self, item):
        if isinstance(item, c_ast.Typedef):
            self.take_typedef(item)
        elif isinstance(item, c_ast.Decl) and isinstance(item.type, c_ast.FuncDecl):
            function = item.type
            parameters = function.args.params if function.args else []
            kinds = [self.kind(p.type) for p in parameters]
            self.functions[item.name] = (
                self.kind(function.type),
                [k for k in kinds if k != "None"],
            )

    def take_typedef(self, item):
        if item.name in NUMBERS:
            return
        kind = item.type
        if isinstance(kind, c_ast.TypeDecl) and isinstance(kind.type, c_ast.Struct):
            fields = kind.type.decls
            self.typedefs[item.name] = item.name if fields else None  # None: opaque
            if fields:
                self.structs[item.name] = [(f.name, self.kind(f.type)) for f in fields]
        elif isinstance(kind, c_ast.PtrDecl):
            self.typedefs[item.name] = item.name
            self.pointers[item.name] = self.callback(kind.type)

    def callback(self, function):
        kinds = [self.kind(function.type), *(self.kind(p.type) for p in function.args.params)]
        return f"CFUNCTYPE({', '.join(kinds)})"

    def kind(self, node):
        """The ctypes name of a C type. What is only read may be given as bytes: c_void_p."""
        if isinstance(node, c_ast.PtrDecl):
            return self.pointer(node.type)
        if isinstance(node, c_ast.ArrayDecl):
            length = self.constants[node.dim.name.removeprefix("HOTSTUFF_")]
            return f"{self.kind(node.type)} * {length}"
        if isinstance(node, c_ast.TypeDecl):
            name = node.type.names[0]
            return "None" if name == "void" else self.typedefs[name]
        raise TypeError(f"{type(node).__name__} is not expected in this header")

    def pointer(self, target):
        if isinstance(target, c_ast.FuncDecl):
            return self.callback(target)
        if isinstance(target, c_ast.PtrDecl):
            return "POINTER(c_void_p)"
        name, is_const = target.type.names[0], "const" in target.quals
        if name == "char":
            return "c_char_p"
        kind = None if name == "void" else self.typedefs[name]
        return "c_void_p" if kind is None or is_const else f"POINTER({kind})"

    def write(self):
        lines = [TOP]
        for name, value in self.constants.items():
            lines.append(f"{name} = {value!r}".replace("'", '"'))
        lines.append("")
        for name, kind in self.pointers.items():
            lines.append(f"{name} = {kind}")
        for name, fields in self.structs.items():
            lines += ["", "", f"class {name}(Structure):", "    _fields_ = ["]
            lines += [wrap(f'        ("{field}", {kind}),') for field, kind in fields]
            lines.append("    ]")
        lines += ["", "", "FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {"]
        for name, (result, parameters) in self.functions.items():
            lines.append(wrap(f'    "{name}": ({result}, [{", ".join(parameters)}]),'))
        lines += ["}", "", "", *DECLARE.splitlines()]
        return "\n".join(lines) + "\n"


DECLARE = '''\
def declare(library: ctypes.CDLL) -> None:
    """Tells ctypes the types of every function; AttributeError names one that is missing."""
    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = parameters
'''


def wrap(line, columns=100):
    """Breaks a long line after its commas."""
    if len(line) <= columns:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    words, rows = line.split(", "), [""]
    for word in words:
        if len(rows[-1]) + len(word) + 2 > columns:
            rows.append(indent)
        rows[-1] += word if rows[-1] in ("", indent) else ", " + word
    return ",\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    generated = Generator(HEADER.read_text()).write()
    if not arguments.check:
        OUTPUT.write_text(generated)
    elif OUTPUT.read_text() != generated:
        sys.exit(f"{OUTPUT} is not what the header says: run {__file__}")


if __name__ == "__main__":
    main()
