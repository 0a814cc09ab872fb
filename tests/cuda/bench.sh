#!/bin/sh
# bench.sh BUILD PLUGIN RESULTS: the cases of bench/cases/cuda.txt on the GPU and the CPU, with and without
# copies, then those that cuDNN and cuBLAS have something for beside them, where these libraries are. The
# table and one JSON object a row go to RESULTS.
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
# In processes of their own: what goes wrong there leaves the rows above as they are.
peer() { # name, pattern of the cases' names
    names=$(sed -n "s/^\($2\) .*/\1/p" "$here/../../bench/cases/cuda.txt")
    echo
    # shellcheck disable=SC2086
    timeout "${BENCH_CUDA_PEER_SECONDS:-120}" "$build/bin/equinv-bench" perf $names --cases "$here/../../bench/cases/cuda.txt" \
        --device cuda --peer "$1" --seconds 0.2 --check-seconds 0.5 --json "$name.json" > "$build/bench-cuda.peer" 2>&1
    status=$?
    cat "$build/bench-cuda.peer"
    if [ $status = 0 ]; then
        return
    elif grep -q "which is missing: " "$build/bench-cuda.peer"; then
        echo "bench-cuda: without $1"
    else
        echo "bench-cuda: $1 was stopped or failed, exit status $status"
        [ $status = 124 ] || echo "$status" > "$build/bench-cuda.code"
    fi
}
# cuDNN often lies beside the cuBLAS that the plugin finds, in no folder that the loader knows.
folder=$(ldd "$plugin" 2>/dev/null | sed -n 's,.* => \(/.*\)/libcublas\.so.*,\1,p')
[ -z "$folder" ] || export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
{
    peer cudnn 'gpu-\(conv\|lift\|plane\)-[^ ]*'
    peer cublas 'gpu-\(dense-1024\|project-linear\)'
} | tee -a "$name.txt"
[ "$code" != 0 ] || code=$(cat "$build/bench-cuda.code")
keep "$results" "$name.json" "$name.txt" && rm -f "$name.json" "$name.txt"
[ "$code" = 0 ]
