#!/bin/sh
# Makes the archive that is shipped from the one that cargo writes: archive.sh RAW SYMBOLS OUT.
#
# cargo's has some three thousand global symbols: LMDB's, ring's, all of Rust's. A host that has
# its own LMDB, or a second archive made of Rust, would get ours in place of its own, or its own in
# place of ours. Here everything is linked into one object that shows only the names in SYMBOLS.
set -eu
raw=$1 symbols=$2 out=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$out")"

# What no function of the API reaches is left out.
# shellcheck disable=SC2046
${LD:-ld} -r --gc-sections $(sed 's/^/-u /' "$symbols") "$raw" -o "$work/all.o"

# Two Rust archives in one program share this one: a hidden COMDAT symbol, which must be global.
{ cat "$symbols" && echo DW.ref.rust_eh_personality; } > "$work/keep"

# The sections of LLVM bitcode are there for Rust's own linking; an older ar would stumble on them.
${OBJCOPY:-objcopy} -R .llvmbc -R .llvmcmd --keep-global-symbols="$work/keep" \
    "$work/all.o" "$work/hotstuff.o"

# What was left out above has left its undefined symbols, and turned weak ones into strong ones: a
# host in which they matter again (that other archive of Rust) would not link.
${OBJCOPY:-objcopy} --strip-unneeded "$work/hotstuff.o"
rm -f "$out"
${AR:-ar} rcsD "$out" "$work/hotstuff.o"
