#!/bin/sh
# check_plugin.sh BUILD: what the CUDA plugin exports and needs, and how it declines where something is
# missing. Runs without a GPU.
set -u
build=$1
plugin=$build/lib/libequinv-cuda.so
case $plugin in /*) ;; *) plugin=./$plugin ;; esac
failed=0
complain() {
    echo "plugin: $*"
    failed=1
}
needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
info() { EQUINV_BACKEND_PATH=$1 "$build/bin/equinv" info 2>&1; }
one_line() { [ "$(echo "$1" | grep -c '^cuda: ')" = 1 ]; }

exported=$(nm -D --defined-only "$plugin" | awk '{print $3}')
[ "$exported" = equinv_backend_cuda_1 ] || complain "exports $exported, expected equinv_backend_cuda_1 alone"

for library in $(needs "$plugin"); do
    case $library in
    libcublas.so.* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | \
        libstdc++.so.* | libgcc_s.so.* | ld-linux*) ;;
    *) complain "needs $library" ;;
    esac
done
for file in "$build"/lib/libequinv.so "$build"/bin/equinv; do
    needs "$file" | grep -E 'cuda|cublas|nv' && complain "$file needs that library"
done

# Declines or works, in one line, and the program goes on.
said=$(info "$plugin") || complain "equinv info fails: $said"
one_line "$said" || complain "equinv info says: $said"
case $said in
*"cuda: unavailable: the plugin cannot be loaded"*) complain "does not load here: $said" ;;
esac

# A copy that asks for a cuBLAS which no machine has.
hidden=$build/plugin-without-cublas.so
case $hidden in /*) ;; *) hidden=./$hidden ;; esac
sed 's/libcublas\.so/libcublaX.so/g' "$plugin" > "$hidden"
without=$(info "$hidden") || complain "equinv info fails without cuBLAS: $without"
one_line "$without" || complain "equinv info without cuBLAS says: $without"
case $without in
*"device: cpu, "*"cuda: unavailable: the plugin cannot be loaded: libcublaX.so"*) ;;
*) complain "without cuBLAS equinv info says: $without" ;;
esac
rm -f "$hidden"

[ $failed = 0 ] || exit 1
echo "plugin: exports its entry alone, needs cuBLAS alone; $(echo "$said" | grep '^cuda: ')"
