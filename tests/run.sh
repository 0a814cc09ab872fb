#!/bin/sh
# Runs the test programs given after BUILD and GOLDEN, then the fuzz corpus and the golden cases.
# Every program prints its own closing line; the last line says how many programs passed.
set -u
# The suite is about the CPU; a GPU in the machine must not change it.
export EQUINV_BACKEND_PATH=./no-plugin
build=$1 golden=$2
shift 2
failed=
passed=0
start=$(date +%s)
run() {
    if "$@"; then passed=$((passed + 1)); else failed="$failed $1"; fi
}
for program in "$@"; do
    run "$program"
done
for replay in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$replay" ] && run "$replay" "tests/fuzz/corpus/${replay##*/fuzz_}"
done
if [ ! -x "$build/tests/golden/run" ]; then
    echo "SKIP golden: no runner was built"
elif [ -d "$golden" ]; then
    run "$build/tests/golden/run" "$golden"
else
    echo "SKIP golden: no folder $golden"
fi
echo "test programs: $passed passed, $(echo "$failed" | wc -w) failed, $(($(date +%s) - start)) s"
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
