#!/bin/sh
# Runs the test programs given after BUILD and GOLDEN, then the fuzz corpus and the golden cases.
# Every program prints its own closing line; the last line says how many programs passed.
# GOLDEN "none": the programs alone. TEST_RUNNER: a command that runs each of them (valgrind).
set -u
# The suite is about the CPU; a GPU in the machine must not change it.
export EQUINV_BACKEND_PATH=./no-plugin
build=$1 golden=$2
shift 2
failed=
passed=0
start=$(date +%s)
skipped=0
run() {
    ${TEST_RUNNER:-} "$@"
    case $? in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;; # it has printed its reason
    *) failed="$failed $1" ;;
    esac
}
for program in "$@"; do
    case $program in
    */tests/cuda/*) # the plugin as plain C++: kernels run on the host
        EQUINV_BACKEND_PATH="$build/cuda-host/libequinv-cuda.so"
        case $build in /*) ;; *) EQUINV_BACKEND_PATH="./$EQUINV_BACKEND_PATH" ;; esac
        run "$program"
        EQUINV_BACKEND_PATH=./no-plugin ;;
    *) run "$program" ;;
    esac
done
[ "$golden" = none ] || for replay in "$build"/tests/fuzz/fuzz_*; do
    [ -x "$replay" ] && run "$replay" "tests/fuzz/corpus/${replay##*/fuzz_}"
done
if [ "$golden" = none ]; then
    :
elif [ ! -x "$build/tests/golden/run" ]; then
    echo "SKIP golden: no runner was built"
elif [ -d "$golden" ]; then
    run "$build/tests/golden/run" "$golden" conv/gfourier
else
    echo "SKIP golden: no folder $golden"
fi
echo "test programs: $passed passed, $skipped skipped, $(echo "$failed" | wc -w) failed, $(($(date +%s) - start)) s"
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
