#!/bin/sh
# `make paper`: the three experiments, then the page. BIN SEED DEVICE COMMAND..: the command is that for molecules, which
# takes one thread and most of the time. Digits and augmentation run beside it, on the other cores; what they print
# follows when all have ended. Everything goes to the folder $PAPER. (By xargs, as an interrupt then reaches both.)
set -eu

# As xargs calls it, below.
if [ "$1" = --part ]; then
    part=$2 bin=$3 seed=$4 device=$5
    shift 5
    [ "$part" = others ] || exec "$@"
    cores=$(nproc 2>/dev/null || echo 1)
    threads=$((cores > 2 ? cores - 1 : 1))
    for name in digits augmentation; do
        "$bin/equinv-$name" --seed "$seed" --device "$device" --threads $threads --output "$PAPER"
    done >"$OTHERS" 2>&1
    exit
fi

bin=$1
start=$(date +%s)
mkdir -p "$PAPER"
OTHERS=$(mktemp)
export OTHERS
trap 'rm -f "$OTHERS"' EXIT
code=0
printf '%s\n' molecules others | xargs -P 2 -I '{part}' "$0" --part '{part}' "$@" || code=$?
cat "$OTHERS"
[ $code = 0 ] || exit $code
"$bin/equinv-paper" "$PAPER" $(($(date +%s) - start))
