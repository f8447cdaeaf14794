#!/bin/sh
# valgrind's memcheck over the host's code and a plugin.
#
# Checks: no decision on memory that was never written, no access beyond or after an allocation of the heap, no leak, in the unit tests
#   of plugin-api, of a plugin (fill-producer, by the harness of plugin-api), and of those parts of the host that start no
#   process: segment, ledger, protocol, statistics, written-over segments and so on.
# Needs: valgrind 3.19 or later; a few minutes.
# Cannot: run the host's processes. valgrind 3.19 knows no pidfd_open and, for stacks, no PTRACE_SEIZE; the address
#   sanitizer does that part. Nor look inside the segment: all of it counts as written.
#
#   tests/sanitizers/valgrind.sh           # CARGO_TARGET_DIR chooses another folder
set -eu
cd "$(dirname "$0")/../.."
command -v valgrind > /dev/null || {
    echo "valgrind is not there; install it" >&2
    exit 1
}

# Cargo starts each test executable with this. What is reachable at the end, such as a thread's name, is no leak, and not shown.
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=99 --leak-check=full \
--show-leak-kinds=definite \
--errors-for-leak-kinds=definite --num-callers=30 --fair-sched=yes"
# rustix looks for the vDSO by itself, which valgrind takes out of the process: a SIGSEGV. Through libc it does not.
export RUSTFLAGS="--cfg rustix_use_libc"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/valgrind"
# Random tests take fewer cases: everything is some 30 times slower.
export PROPTEST_CASES="${PROPTEST_CASES:-32}"

# One test leaks on purpose, to see that a limit of memory has something to limit.
cargo test --package cobuf-plugin-api --package fill-producer --lib -- --skip is_memory_that_is_leaked_really_taken
# Left out: what starts processes, and a test that is long for its number of cases only.
cargo test --package cobuf-host --lib -- --skip process::stack --skip is_every_word_of_honest_states
echo "== valgrind has nothing to say"
