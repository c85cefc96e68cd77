#!/bin/sh
# Installs what is missing for `make demo`, `make test` and `make coverage`, or names exactly what
# to install.
#   tests/setup.sh demo      compilers for C and C++, make's friends, Python
#   tests/setup.sh test      the same, clang and valgrind
#   tests/setup.sh go        what demo needs, Go, pkg-config and ip (for network namespaces)
#   tests/setup.sh package   what demo needs, CMake, pkg-config and abidiff
#   tests/setup.sh python    what demo needs, and Python's virtual environments
#   tests/setup.sh docs      doxygen
#   tests/setup.sh coverage  what demo needs, and the LLVM tools of this rustc
set -eu

purpose=${1:-test}
missing=""

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need cc gcc
need g++ g++
need ar binutils
need python3 python3
if [ "$purpose" = test ]; then
    need gcc gcc
    need clang clang
    need valgrind valgrind
fi
if [ "$purpose" = package ]; then
    need make make
    need cmake cmake
    need pkg-config pkg-config
    need abidw abigail-tools
    need dpkg-deb dpkg
fi
if [ "$purpose" = test ] || [ "$purpose" = python ]; then
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
fi
if [ "$purpose" = docs ]; then
    need doxygen doxygen
fi

case $purpose in test | go)
    need go golang-go
    need ip iproute2
    need pkg-config pkg-config
    need curl curl
    ;;
esac

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        run=""
    elif command -v apt-get >/dev/null 2>&1 && command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        run="sudo"
    else
        echo "setup: missing:$missing" >&2
        echo "setup: install these packages with your package manager, for example:" >&2
        echo "           sudo apt-get install$missing" >&2
        exit 1
    fi
    echo "setup: installing$missing"
    $run apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing >/dev/null
    if [ "$purpose" = test ] && ! echo 'int main(void){return 0;}' | clang -x c - -o /dev/null 2>/dev/null; then
        echo "setup: clang is installed but cannot link a program; install libc6-dev" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: Rust is missing. Install Rust 1.85 or later from https://rustup.rs, then run this again." >&2
    exit 1
fi
minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
if [ "${minor:-0}" -lt 85 ]; then
    echo "setup: $(rustc --version) is too old: Rust 1.85 or later is needed (rustup update stable)" >&2
    exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    echo "setup: $(python3 --version) is too old: Python 3.9 or later is needed" >&2
    exit 1
fi
if [ "$purpose" = go ]; then
    # From 1.21 on, a Go that is older than a module asks for fetches the one it needs by itself.
    go=$(go env GOVERSION | sed 's/^go//')
    if [ "$(printf '%s\n' 1.21 "$go" | sort -V | head -n 1)" != 1.21 ]; then
        echo "setup: Go $go is too old: install Go 1.24 or later from https://go.dev/dl" >&2
        exit 1
    fi
fi
llvm=$(rustc --print sysroot)/lib/rustlib
if [ "$purpose" = coverage ] && ! ls "$llvm"/*/bin/llvm-cov >/dev/null 2>&1; then
    if ! command -v rustup >/dev/null 2>&1; then
        echo "setup: the LLVM tools of $(rustc --version) are missing." >&2
        echo "           With a Rust from https://rustup.rs: rustup component add llvm-tools" >&2
        exit 1
    fi
    echo "setup: installing llvm-tools"
    rustup component add llvm-tools
fi
