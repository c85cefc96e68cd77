#!/bin/sh
# docs/build.sh OUT: the API reference as HTML, in OUT/html.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"
version=$(sed -n 's/^#define HOTSTUFF_VERSION_STRING "\(.*\)"$/\1/p' include/hotstuff.h)
{ cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $1" && echo "PROJECT_NUMBER = $version"; } |
    doxygen -
echo "$1/html/index.html"
