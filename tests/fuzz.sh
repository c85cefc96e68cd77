#!/bin/sh
# Runs each libFuzzer program for its share of the time; what it finds stays in target/fuzz.
#   tests/fuzz.sh SECONDS TARGET...
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1
for target in "$@"; do
    corpus=target/fuzz/corpus/$target
    mkdir -p "$corpus" target/fuzz/artifacts
    echo "fuzz: $target for $share s"
    "target/fuzz/release/$target" "$corpus" -max_total_time="$share" -timeout=20 -max_len=4096 \
        -rss_limit_mb=4096 -artifact_prefix="target/fuzz/artifacts/$target-" -print_final_stats=1 \
        2>&1 | grep -v '^#' || exit 1
    # grep's success hides the program's: an artifact is a finding.
    if ls "target/fuzz/artifacts/$target-"* >/dev/null 2>&1; then
        echo "fuzz: $target has failed: see target/fuzz/artifacts" >&2
        exit 1
    fi
done
