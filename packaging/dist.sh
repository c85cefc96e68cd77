#!/bin/sh
# dist.sh OUT: makes OUT/hotstuff-<version>.tar.gz, the last commit with every crate in it. Whoever
# has Rust and a C compiler builds it without a network: `make install`. The same commit gives the
# same bytes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
name=hotstuff-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
if ! git -C "$root" diff --quiet HEAD; then
    echo "dist: what is not committed is left out" >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git -C "$root" archive --prefix="$name/" HEAD | tar -x -C "$work"
cd "$work/$name"
${CARGO:-cargo} vendor --quiet --locked --versioned-dirs vendor
cat >> .cargo/config.toml <<'END'

[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "vendor"
END

tar -c -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
    --mtime="@$(git -C "$root" log -1 --format=%ct)" "$name" | gzip -9n > "$out/$name.tar.gz"
echo "$out/$name.tar.gz"
