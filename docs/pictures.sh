#!/bin/sh
# Makes what docs/projections.md shows: pictures, and its figures in docs/projections.txt. Arguments: the
# folder of the programs, the folder of digits, where to write. Needs gnuplot.
set -eu
bin=$1 data=$2 to=$3
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
"$bin/equinv" train "$data" -o "$run/m.safetensors" --epochs 8 --seed 1 > "$run/train.txt"
"$bin/equinv" extract "$run/m.safetensors" "$data/t10k-images-idx3-ubyte.gz" -o "$run/z.npy"
labels=$data/t10k-labels-idx1-ubyte.gz

# key section: the number in a line of JSON
number() { sed -n "s/.*\"$2\": {[^}]*\"$1\": \([^,}]*\).*/\1/p" "$run/report.json"; }

report() {
    "$bin/equinv" report "$run/z.npy" --group C4 --labels "$labels" --seed 3 --sample 500 "$@" --json > "$run/report.json"
}

figures() {
    printf '%-12s %4s %8s %10.3f %10.3f %10.3f %10.3f %12.1e\n' "$1" "$2" \
        "$(sed -n 's/.*"code_dimension": \([0-9]*\).*/\1/p' "$run/report.json")" \
        "$(number own_nearest projected)" "$(number knn_accuracy projected)" \
        "$(number distortion_min projected)" "$(number distortion_max projected)" \
        "$(number invariance_error projected)"
}

{
    echo "made by: make docs-pictures"
    date -u '+date: %Y-%m-%d'
    sed -n 's/^model name[^:]*: */machine: /p' /proc/cpuinfo | head -n 1
    "$bin/equinv" info | grep -e '^equinv' -e '^device'
    tail -n 2 "$run/train.txt"
    echo
    echo "Latents of 1,000 digits, C4, 500 of them in pairs; scaled; as equinv report has them"
    printf '%-12s %4s %8s %10s %10s %10s %10s %12s\n' kind k numbers own 5-NN 'ratio from' to invariance
    report --kind linear -k 64 --scaled
    printf '%-12s %4s %8s %10.3f %10.3f %10.3f %10.3f %12.1e\n' raw - \
        "$(sed -n 's/.*"dimension": \([0-9]*\).*/\1/p' "$run/report.json")" \
        "$(number own_nearest raw)" "$(number knn_accuracy raw)" "$(number distortion_min raw)" \
        "$(number distortion_max raw)" "$(number invariance_error raw)"
    for kind in linear max min mean-relu mean-abs mean-square moment3 sorted; do
        report --kind $kind -k 64 --scaled
        figures $kind 64
    done
    report --kind cdf -k 64 --thresholds=-2,-1,0,1,2
    figures cdf 64
    for k in 1 2 4 8 16 32 128 256; do
        for kind in linear max sorted; do
            report --kind $kind -k $k --scaled
            figures $kind $k
        done
    done
    echo
    echo "equinv-bench perf --op project --group G --fields-in 32 --k 64 --batch 2048 --threads 1 --clock cpu --peer openblas"
    for group in C4 C8 D4; do
        for kind in linear max min mean-relu mean-abs mean-square moment3 cdf sorted; do
            "$bin/equinv-bench" perf --op project --kind $kind --group $group --fields-in 32 --k 64 --batch 2048 \
                --threads 1 --clock cpu --peer openblas |
                awk '/^project/ {printf "%-32s %-20s %6s %s, openblas %6s %s, %5s times as fast\n", $1, $5, $6, $7, $10, $11, $12}'
        done
    done
} > "$run/projections.txt"
cat "$run/projections.txt"

for kind in linear max sorted; do
    "$bin/equinv" report "$run/z.npy" --group C4 --kind $kind -k 64 --scaled --seed 3 --sample 500 \
        --picture "$to/ratios-$kind.png" > /dev/null
    awk -v kind=$kind '$1 == kind && NF == 8 {print $3, $5, $6 / $7}' "$run/projections.txt" |
        sort -n > "$run/$kind.txt"
done
gnuplot << PLOT
set terminal pngcairo size 640,400
set output '$to/code-length.png'
set logscale x 2
set xlabel 'numbers in a code'
set yrange [0:1.02]
set key bottom right
set title '5-NN accuracy on turned queries (lines), smallest / largest ratio (dashes)'
plot for [kind in "linear max sorted"] '$run/'.kind.'.txt' using 1:2 with linespoints lw 2 title kind, \
     for [i=1:3] '$run/'.word("linear max sorted", i).'.txt' using 1:3 with lines dt 2 lc i notitle
PLOT
cp "$run/projections.txt" "$to/projections.txt"
