#!/bin/sh
# docs/build.sh OUT: the API reference as HTML, in OUT/html.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
for example in examples-c/*.c examples-c/*.cc; do
    if [ -f "$example" ] && ! grep -q "@example ${example#examples-c/}\$" docs/examples.dox; then
        echo "docs: docs/examples.dox does not name $example" >&2
        exit 1
    fi
done
version=$(sed -n 's/^#define HOTSTUFF_VERSION_STRING "\(.*\)"$/\1/p' include/hotstuff.h)
{ cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $1" && echo "PROJECT_NUMBER = $version"; } |
    doxygen -
echo "$1/html/index.html"
