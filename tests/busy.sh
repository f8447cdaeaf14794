#!/usr/bin/env bash
# Repeats the tests that start processes beside a busy loop on every CPU, and stops at the first
# failure. A test that depends on the machine's speed, or on being alone, fails here sooner or later.
#
#   tests/busy.sh [--times N] [--one-cpu] [--idle] [BINARY…] [-- TEST…]
#
#   --times N   how often; 20 times by default
#   --one-cpu   everything on CPU 0, the busy loop included
#   --idle      no busy loops
#   BINARY      stream, faults, swaps, plugins, hostile, command, cases; all of them by default
#   TEST        only tests whose names contain one of these words, as libtest takes them
set -euo pipefail
cd "$(dirname "$0")/.."

times=20 one_cpu='' loops=$(nproc) binaries=() tests=()
while [ $# -gt 0 ]; do
    case $1 in
    --times) times=$2 && shift ;;
    --one-cpu) one_cpu=1 loops=1 ;;
    --idle) loops=0 ;;
    --) shift && tests=("$@") && break ;;
    -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
    *) binaries+=("$1") ;;
    esac
    shift
done
[ ${#binaries[@]} -gt 0 ] || binaries=(stream faults swaps plugins hostile command cases)

# Built before the loops begin, with the features of the README's command.
built=$(cargo test --workspace --no-run --locked "${binaries[@]/#/--test=}" 2>&1) || { echo "$built" >&2; exit 1; }
executable() { sed -n "s|.*tests/$1/main.rs (\(.*\))\$|\1|p" <<<"$built"; }

if [ -n "$one_cpu" ]; then
    taskset -p -c 0 $$ >/dev/null
fi
busy=()
output=$(mktemp)
# Only what this script has started.
trap '[ ${#busy[@]} -eq 0 ] || kill "${busy[@]}"; rm -f "$output"' EXIT
for ((loop = 0; loop < loops; loop++)); do
    (while :; do :; done) &
    busy+=($!)
done

for ((round = 1; round <= times; round++)); do
    for binary in "${binaries[@]}"; do
        file=$(realpath "$(executable "$binary")")
        started=$SECONDS
        # As cargo would run it: in the package's folder.
        if ! (cd host/cli && "$file" "${tests[@]}") >"$output" 2>&1; then
            cat "$output"
            echo "$binary failed in round $round of $times" >&2
            exit 1
        fi
        echo "round $round of $times: $binary, $((SECONDS - started)) s, $(grep -o '[0-9]* passed' "$output")"
    done
done
