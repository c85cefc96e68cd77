#!/bin/sh
# The program in the README compiles without a warning, runs, and runs again on its own data.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n '/^```c$/,/^```$/p' "$root/README.md" | sed '1d;$d' > "$work/hello.c"
lines=$(wc -l < "$work/hello.c")
if [ "$lines" -gt 45 ] || [ "$lines" -lt 20 ]; then
    echo "readme: the program has $lines lines: forty are promised" >&2
    exit 1
fi
cd "$work"
${CC:-cc} -std=c11 -Wall -Wextra -Werror -pedantic -I"$root/include" hello.c -o hello \
    -L"$root/target/release" -lhotstuff -Wl,-rpath,"$root/target/release"
for run in first second; do
    said=$(./hello)
    if [ "$said" != "hello, world" ]; then
        echo "readme: the $run run says '$said'" >&2
        exit 1
    fi
done
echo "readme: the program compiles and runs"
