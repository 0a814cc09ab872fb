#!/bin/sh
# resources.sh check|write WORK NVCC LOG..: registers, shared memory, stack and spills of every kernel, as
# ptxas told them when the plugin was built (in the logs), against cuda/resources.txt.
set -u
mode=$1 work=$2/resources nvcc=$3
shift 3
table=cuda/resources.txt
version=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')

# "eqi_x<T<float> , 2>@sm_80 ..": nothing but the name, without spaces; then the rest.
short_names() {
    sed -e 's/(anonymous namespace):://g' -e 's/, */,/g' -e ':close' -e 's/> >/>>/g' -e 'tclose' \
        -e ':join' -e 's/^\([^@]*\) \([^@]*@\)/\1_\2/' -e 'tjoin' -e 's/@/ /'
}

# kernel arch registers shared stack spills, sorted.
measure() {
    awk '
        /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
        /Function properties for/ { of = $NF }
        /bytes stack frame/ { stack[of] = $1; spills[of] = $5 + $9 }
        /Used [0-9]+ registers/ {
            shared = 0
            for (i = 2; i <= NF; i++) if ($i ~ /^smem/) shared = $(i - 2)
            registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
            if (arch == "sm_80" || arch == "sm_90a")
                printf "%s@%s %d %d %d %d\n", name, arch, registers, shared, stack[name], spills[name]
        }' "$@" | c++filt -p | short_names | LC_ALL=C sort -u
}
known() { sed '/^#/d' "$table" 2>/dev/null; }

measure "$@" > "$work.now"
if ! grep -q ' sm_80 ' "$work.now" || ! grep -q ' sm_90a ' "$work.now"; then
    echo "SKIP resources: the plugin was not built for sm_80 and sm_90a (CUDA_ARCHS=default)"
    exit 0
fi
if [ "$mode" = write ]; then
    known > "$work.old"
    {
        echo "# What each kernel costs: bytes but for registers; compiled by nvcc $version."
        echo "# kernel arch registers shared stack spills; a kernel that spills says why that is right."
        awk '
            FILENAME == ARGV[1] { for (i = 7; i <= NF; i++) reason[$1 " " $2] = reason[$1 " " $2] (i > 7 ? " " : "") $i; next }
            $6 > 0 { $7 = reason[$1 " " $2]; if ($7 == "") $7 = "?" }
            { print }' "$work.old" "$work.now"
    } > "$work.new" && cat "$work.new" > "$table"
    echo "$table: $(known | wc -l) lines"
    exit 0
fi

written=$(sed -n 's/.*compiled by nvcc \([0-9.]*\)\.$/\1/p' "$table")
if [ "$written" != "$version" ]; then
    echo "SKIP resources: $table is for nvcc $written, this one is $version"
    exit 0
fi
known | cut -d' ' -f1-6 > "$work.table"
if ! diff -u "$work.table" "$work.now"; then
    echo "kernels changed what they cost: look at it, then accept it with make cuda-resources"
    exit 1
fi
if known | awk '$6 > 0 && ($7 == "" || $7 == "?")' | grep .; then
    echo "these kernels spill registers: avoid it, or write why it is right behind the numbers in $table"
    exit 1
fi
echo "kernels: $(known | cut -d' ' -f1 | sort -u | wc -l) with registers, shared memory and stack as listed"
