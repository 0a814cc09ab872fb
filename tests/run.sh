#!/bin/sh
# Runs the test programs given after BUILD and GOLDEN, then the fuzz corpus and the golden cases; JOBS of them
# at once, by default one a processor. What a program prints comes in one piece when it has ended; its last line
# sums it up, and the last line of all says how many programs passed.
# GOLDEN "none": the programs alone. TEST_RUNNER: a command that runs each of them (valgrind).
set -u
# The suite is about the CPU; a GPU in the machine must not change it.
export EQUINV_BACKEND_PATH=./no-plugin

# As xargs calls it, below: --one FOLDER BUILD PROGRAM [ARGUMENT...].
if [ "$1" = --one ]; then
    folder=$2 build=$3 program=$4
    shift 3
    case $program in
    */tests/cuda/*) # the plugin as plain C++: kernels run on the host
        EQUINV_BACKEND_PATH="$build/cuda-host/libequinv-cuda.so"
        case $build in /*) ;; *) EQUINV_BACKEND_PATH="./$EQUINV_BACKEND_PATH" ;; esac ;;
    esac
    output=$(${TEST_RUNNER:-} "$@" 2>&1)
    case $? in
    0) verdict=passed ;;
    77) verdict=skipped ;; # it has printed its reason
    *) verdict=failed ;;
    esac
    exec 9>>"$folder/verdicts"
    flock 9
    printf '%s\n' "$output"
    echo "$verdict $program" >&9
    exit
fi

build=$1 golden=$2
shift 2
start=$(date +%s)
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
{
    [ $# = 0 ] || printf '"%s"\n' "$@"
    [ "$golden" = none ] || for replay in "$build"/tests/fuzz/fuzz_*; do
        [ ! -x "$replay" ] || echo "\"$replay\" tests/fuzz/corpus/${replay##*/fuzz_}"
    done
    if [ "$golden" = none ]; then
        :
    elif [ ! -x "$build/tests/golden/run" ]; then
        echo "SKIP golden: no runner was built" >&2
    elif [ -d "$golden" ]; then
        echo "\"$build/tests/golden/run\" \"$golden\" conv/gfourier"
    else
        echo "SKIP golden: no folder $golden" >&2
    fi
} >"$folder/list"
: >"$folder/verdicts"
xargs -r -L 1 -P "${JOBS:-$(nproc 2>/dev/null || echo 1)}" "$0" --one "$folder" "$build" <"$folder/list"
count() { grep -c "^$1 " "$folder/verdicts"; }
# One without a verdict was killed with its shell.
lost=$(($(wc -l <"$folder/list") - $(wc -l <"$folder/verdicts")))
failed=$(($(count failed) + lost))
echo "test programs: $(count passed) passed, $(count skipped) skipped, $failed failed, $(($(date +%s) - start)) s"
[ "$failed" = 0 ] || { echo "FAILED: $(sed -n 's/^failed //p' "$folder/verdicts" | tr '\n' ' ')"; exit 1; }
