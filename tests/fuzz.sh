#!/bin/sh
# Runs each libFuzzer program for its share of the time; what it finds stays in target/fuzz.
#   tests/fuzz.sh PROGRAMS SECONDS TARGET...
set -eu
cd "$(dirname "$0")/.."
programs=$1
seconds=$2
shift 2
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1
for target in "$@"; do
    corpus=target/fuzz/corpus/$target
    log=target/fuzz/$target.log
    mkdir -p "$corpus" target/fuzz/artifacts
    if "$programs/$target" "$corpus" -max_total_time="$share" -timeout=20 -max_len=4096 \
        -rss_limit_mb=4096 -artifact_prefix="target/fuzz/artifacts/$target-" >"$log" 2>&1; then
        echo "fuzz: $target: $(tail -n 1 "$log")"
    else
        tail -n 40 "$log" >&2
        echo "fuzz: $target has failed: its input is in target/fuzz/artifacts" >&2
        exit 1
    fi
done
