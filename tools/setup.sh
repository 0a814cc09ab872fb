#!/bin/sh
# Installs what is missing from Debian's packages: as root, or by sudo where it needs no password.
# Otherwise prints the one command to run and stops. --quiet says nothing when nothing is missing; --bench
# adds what the benchmark is compared with.
set -eu
missing=
need() { # package, test that succeeds when it is there
    sh -c "$2" >/dev/null 2>&1 || missing="$missing $1"
}
header() { echo "printf '#include <$1>\n' | \${CC:-cc} -E -x c - -I/usr/include/\$(uname -m)-linux-gnu"; }
need gcc "command -v gcc"
need g++ "command -v g++"
need binutils "command -v nm && command -v objdump"
need libc6-dev "$(header stdio.h)"
need pkg-config "command -v pkg-config"
need libopenblas-dev "pkg-config --exists openblas"
need libpthreadpool-dev "$(header pthreadpool.h)"
need libcjson-dev "pkg-config --exists libcjson"
need zlib1g-dev "pkg-config --exists zlib"
need check "pkg-config --exists check"
need gnuplot-nox "command -v gnuplot"
[ "${1:-}" != --bench ] || need libdnnl-dev "$(header dnnl.h)"
if [ -z "$missing" ]; then
    [ "${1:-}" = --quiet ] || echo "setup: nothing is missing"
    exit 0
fi
command="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    echo "setup: missing (Debian's names):$missing" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as=
elif sudo -n true 2>/dev/null; then
    as=sudo
else
    echo "setup: missing:$missing" >&2
    echo "setup: run: sudo $command" >&2
    exit 1
fi
echo "setup: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { $as apt-get update && $as $command; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "setup: failed: $command" >&2
    exit 1
fi
