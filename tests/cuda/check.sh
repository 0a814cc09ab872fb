#!/bin/sh
# check.sh NVCC PROGRAMS BUILD PLUGIN RESULTS: the test programs on a GPU, then some of them under
# compute-sanitizer. Everything goes to a log, the closing lines to the terminal too.
set -u
nvcc=$1 programs=$2 build=$3 plugin=$4 results=$5
here=${0%/*}
. "$here/results.sh"

device=$(cuda_device "$build" "$plugin")
case $device in
cuda:*) ;;
*) without_gpu check-cuda "${device:-equinv info gave no answer}" ;;
esac
start=$(date +%s)
log=$build/cuda-check-$(file_name_of "$device")-$(date -u +%Y%m%d-%H%M%S).txt
export CK_FORK=no
EQUINV_BACKEND_PATH=$(with_slash "$plugin")
export EQUINV_BACKEND_PATH
unset EQUINV_BACKEND EQUINV_VERBOSE
say() { echo "$*" | tee -a "$log"; }
seconds() { echo $(($(date +%s) - start)); }

{
    echo "equinv on $device"
    "$build/bin/equinv" info
    "$nvcc" --version | tail -n 2
    uname -srm
} > "$log" || exit 1
say "device: $device"

# ---- the programs --------------------------------------------------------------------------------
passed=0 skipped=0 failed=
for program in $programs; do
    name=${program##*/}
    out=$build/check-cuda.out
    begun=$(date +%s)
    timeout 240 "$program" > "$out" 2>&1
    code=$?
    { echo; echo "==== $name, exit status $code"; cat "$out"; } >> "$log"
    closing=$(grep '%: Checks:' "$out" | tail -n 1)
    case $code in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        closing=$(grep '^SKIP' "$out" | tail -n 1)
        ;;
    124)
        failed="$failed $name"
        closing="stopped after 240 s"
        ;;
    *) failed="$failed $name" ;;
    esac
    echo "$name: ${closing:-exit status $code, no closing line} ($(($(date +%s) - begun)) s)"
    [ $code = 0 ] || [ $code = 77 ] || grep -v '%: Checks:' "$out" | tail -n 20
done

# ---- the sanitizer -------------------------------------------------------------------------------
# A test that goes through all operations once, small and in one process.
sanitized=$build/tests/cuda/graph
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")
filter() { # cuBLAS is not ours to judge
    case $("$sanitizer" --help 2>&1) in *--kernel-name*) echo "--kernel-name kns=eqi_" ;; esac
}
sanitize() {
    tool=$1 out=$build/check-cuda.out
    if [ ! -x "$sanitizer" ]; then
        say "SKIP $tool: no compute-sanitizer in PATH or beside nvcc"
        return
    fi
    # The smallest program that opens the device: is the tool at home here?
    EQUINV_BACKEND=cuda timeout 60 "$sanitizer" --tool "$tool" "$build/bin/equinv" info > "$out" 2>&1
    if ! grep -q 'SUMMARY' "$out" || ! grep -q '^device: cuda:' "$out"; then
        say "SKIP $tool: compute-sanitizer does not work here: $(grep '=====' "$out" | sed -n '2{s/^=* *//;p;}')"
        cat "$out" >> "$log"
        return
    fi
    # shellcheck disable=SC2046
    CK_RUN_CASE=again_and_with_own_scratch timeout 90 "$sanitizer" --tool "$tool" --error-exitcode 86 \
        $(filter) "$sanitized" > "$out" 2>&1
    code=$?
    { echo; echo "==== $tool, exit status $code"; cat "$out"; } >> "$log"
    case $code in
    0) say "$tool: $(grep 'SUMMARY' "$out" | tail -n 1 | sed 's/^=* *//')" ;;
    124) say "SKIP $tool: not done after 90 s; nothing found until then: $(grep -c '=========.*\(Invalid\|hazard\)' "$out")" ;;
    *)
        failed="$failed $tool"
        say "$tool: exit status $code"
        grep '=====' "$out" | head -n 20
        ;;
    esac
}
sanitize memcheck
sanitize racecheck

line="check-cuda: $passed programs passed, $skipped skipped, $(echo "$failed" | wc -w) failed, $(seconds) s"
[ -z "$failed" ] || line="$line; FAILED:$failed"
echo "$line" >> "$log"
keep "$results" "$log" && rm -f "$log"
echo "$line"
[ -z "$failed" ]
