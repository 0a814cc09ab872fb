#!/bin/sh
# bench.sh BUILD PLUGIN RESULTS: the cases of bench/cases/cuda.txt on the GPU and the CPU, with and without
# copies. The table and one JSON object a row go to RESULTS.
set -u
build=$1 plugin=$2 results=$3
here=${0%/*}
. "$here/results.sh"

device=$(cuda_device "$build" "$plugin")
case $device in
cuda:*) ;;
*) without_gpu bench-cuda "${device:-equinv info gave no answer}" ;;
esac
name=$build/cuda-$(file_name_of "$device")-$(date -u +%Y%m%d-%H%M%S)
EQUINV_BACKEND_PATH=$(with_slash "$plugin")
export EQUINV_BACKEND_PATH
unset EQUINV_BACKEND EQUINV_VERBOSE

echo "device: $device" | tee "$name.txt" || exit 1
: > "$name.json"
{
    timeout "${BENCH_CUDA_SECONDS:-420}" "$build/bin/equinv-bench" perf --cases "$here/../../bench/cases/cuda.txt" \
        --device cuda --peer cpu --seconds 0.2 --check-seconds 0.5 --json "$name.json" 2>&1
    echo $? > "$build/bench-cuda.code"
} | tee -a "$name.txt"
code=$(cat "$build/bench-cuda.code")
[ "$code" != 124 ] || echo "bench-cuda: stopped after ${BENCH_CUDA_SECONDS:-420} s; the rows until then are kept" | tee -a "$name.txt"
keep "$results" "$name.json" "$name.txt" && rm -f "$name.json" "$name.txt"
[ "$code" = 0 ]
