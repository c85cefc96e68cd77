#!/bin/sh
# docs/build.sh OUT: the API reference as HTML, in OUT/html.
set -eu
cd "$(dirname "$0")/.."
out=$1
mkdir -p "$out"
version=$(sed -n 's/^#define HOTSTUFF_VERSION_STRING "\(.*\)"$/\1/p' include/hotstuff.h)

# A page for each example that speaks to the library, under the line that says what it is.
for path in examples-c/*.c examples-c/*.cc $(grep -l hotstuff_ examples-c/kv/*.c); do
    file=${path##*/}
    what=$(sed -n "1,3s|^.* $file - \\(.\\)|\\U\\1|p" "$path")
    if [ -z "$what" ]; then
        echo "docs: $path does not begin with \"$file - what it is\"" >&2
        exit 1
    fi
    printf '/** @example %s\n * @details %s\n */\n' "${path#examples-c/}" "$what"
done > "$out/examples.dox"

{
    cat docs/Doxyfile
    echo "INPUT += $out/examples.dox"
    echo "OUTPUT_DIRECTORY = $out"
    echo "PROJECT_NUMBER = $version"
} | doxygen -
echo "$out/html/index.html"
