#!/bin/sh
# The address sanitizer over the host and a plugin.
#
# Checks: no access beyond or after any allocation, no use of a stack frame that is gone, no leak,
#   1. in the unit tests of plugin-api, of a plugin (fill-producer) and of the host, the written-over segments included;
#   2. in a whole run: `cobuf run` with an instrumented host, fork server, commander, workers and plugins.
# Needs: x86_64 Linux, and a nightly toolchain or the stable one (then with RUSTC_BOOTSTRAP=1); some minutes and about 3 GB in
#   target/address for the first build.
# Cannot: see races (that is loom's part), nor accesses to memory that was never written; the standard library is as it was
#   shipped. A stray write within the segment hits memory that is mapped, and is found only where the plugin's own
#   array ends at unmapped memory: in its unit tests, where slots are on the heap, it is found always. In the whole run leaks are
#   not looked for, as processes leave by _exit.
#
#   tests/sanitizers/address.sh            # CARGO_TARGET_DIR chooses another folder
set -eu
cd "$(dirname "$0")/../.."

# Build scripts and macros run in the compiler, which has no sanitizer: with a target named, they are built without it.
export CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/address"
export RUSTFLAGS="-Zsanitizer=address"
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi

echo "== unit tests"
# One test leaks on purpose, to see that a limit of memory has something to limit.
cargo test --package cobuf-plugin-api --package fill-producer --package cobuf-host --lib -- --skip leaked_memory_is_resident

echo "== a whole run"
# The host builds its plugins with cargo, which takes the same flags from the environment.
# Plugins take the runtime from the executable that opens them, which must export it.
cargo rustc --package cobuf --bin cobuf -- -Clink-arg=-rdynamic
built="$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/debug"
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cat > "$folder/run.toml" <<END
[commander]
plugin = "$PWD/plugins/index-commander"
[commander.config]
length = 100
epochs = 1
[producer]
plugin = "$PWD/plugins/fill-producer"
[producer.config]
arrays = [
    { name = "image", dtype = "f32", shape = [12, 64, 64, 3] },
    { name = "flag", dtype = "u8", shape = [12] },
]
[run]
slots = 4
END
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
    timeout 600 "$built/cobuf" run "$folder/run.toml" --workers 2
# Otherwise nothing of the plugin was looked at.
nm -D "$built/libfill_producer.so" | grep -q __asan_report || {
    echo "the plugin was built without the sanitizer" >&2
    exit 1
}
echo "== the address sanitizer has nothing to say"
