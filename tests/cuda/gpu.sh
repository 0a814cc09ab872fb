#!/bin/sh
# gpu.sh TARGET NVCC: whether there is a GPU to work on, before anything is built. Exit status 0: it seems
# so; 1: no, with the reason; 77: the same where EQUINV_REQUIRE_CUDA=0 makes that no failure.
target=$1 nvcc=$2
. "${0%/*}/results.sh"
[ -n "$nvcc" ] || without_gpu "$target" "no nvcc in PATH or CUDA_HOME/bin; the CUDA Toolkit has it"
[ -e /dev/nvidiactl ] || [ -e /dev/dxg ] || [ -e /dev/nvhost-gpu ] || nvidia-smi -L > /dev/null 2>&1 ||
    without_gpu "$target" "no NVIDIA GPU was found"
