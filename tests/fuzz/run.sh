#!/bin/sh
# Runs clang's libFuzzer on the targets given after FOLDER (a build with -fsanitize=fuzzer-no-link),
# CC, SECONDS and LIBS. It begins with the committed corpus; what it adds, its log and what it finds
# stay in FOLDER. With no target it only asks whether CC can link a fuzzer.
set -eu
folder=$1 cc=$2 seconds=$3 libs=$4
shift 4
mkdir -p "$folder"
if [ $# = 0 ]; then
    echo 'int LLVMFuzzerTestOneInput(const void *d, long n) { (void)d; (void)n; return 0; }' |
        "$cc" -fsanitize=fuzzer,address -x c - -o "$folder/probe" 2>/dev/null
    exit
fi
for name in "$@"; do
    mkdir -p "$folder/corpus/$name"
    # shellcheck disable=SC2086 # LIBS is a list
    "$cc" -fsanitize=fuzzer,address "$folder/obj/tests/fuzz/fuzz_$name.o" \
        "$folder/lib/libequinv.a" $libs -pthread -o "$folder/fuzz_$name"
    if ! "$folder/fuzz_$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$folder/$name-" "$folder/corpus/$name" \
        "tests/fuzz/corpus/$name" >"$folder/$name.log" 2>&1; then
        tail -n 40 "$folder/$name.log"
        echo "fuzz $name: FAILED, the input is $folder/$name-*"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$name.log")
    echo "fuzz $name: $runs inputs in $seconds s, nothing found"
done
