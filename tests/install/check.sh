#!/bin/sh
# Installs into a scratch folder, builds consumers by pkg-config (shared, static, C++), runs them, builds
# and runs README's example, then uninstalls and sees that nothing is left. The fourth argument is the name
# of the CUDA plugin, where this build has one.
set -eu
make=$1 root=$2 cc=$3 plugin=${4:-}
rm -rf "$root"
mkdir -p "$root"
root=$(cd "$root" && pwd)
prefix=/opt/equinv
$make --no-print-directory install DESTDIR="$root" prefix=$prefix >/dev/null
export PKG_CONFIG_LIBDIR="$root$prefix/lib/pkgconfig:$(pkg-config --variable pc_path pkg-config)"
export PKG_CONFIG_SYSROOT_DIR="$root"
expected=$(sed -n 's/^#define EQUINV_VERSION_[MP][A-Z]* //p' include/equinv/equinv.h | paste -sd.)
[ "$(pkg-config --modversion equinv)" = "$expected" ] || { echo "equinv.pc has another version"; exit 1; }
flags=$(pkg-config --cflags equinv)
libs=$(pkg-config --libs equinv)
private=$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --static --libs-only-l equinv | sed 's/-lequinv//')
export LD_LIBRARY_PATH="$root$prefix/lib"

build() { # name, compiler and source, libraries
    name=$1 source=$2
    shift 2
    $source $flags -Wall -Wextra -Werror -o "$root/$name" "$@"
}
build shared "$cc -std=c11 tests/install/consumer.c" $libs
build static "$cc -std=c11 tests/install/consumer.c" "$root$prefix/lib/libequinv.a" $private -lm -pthread
for name in shared static; do "$root/$name"; done
if command -v g++ >/dev/null; then
    build cplusplus "g++ -std=c++17 -x c++ tests/install/consumer.c" -x none $libs
    "$root/cplusplus"
fi
# The first C block of README, as a reader would copy it.
sed -n '/^```c$/,/^```$/{/^```/d;p}' README.md > "$root/example.c"
[ -s "$root/example.c" ] || { echo "README.md has no C example"; exit 1; }
build example "$cc -std=c11 $root/example.c" $libs -lm
"$root/example" > "$root/example.txt"
awk '{d = $1 - $2} d > 0.002 || d < -0.002 || $1 == 0 {different = 1} END {exit different || NR != 8}' "$root/example.txt" ||
    { echo "README's example does not print two equal columns:"; cat "$root/example.txt"; exit 1; }
# The program runs from any folder.
(cd / && "$root$prefix/bin/equinv" --version >/dev/null)
# Where there is a plugin, library and program find it and it is of their sources: what they say of CUDA is the
# plugin's own word (no driver, say). That of one which is missing or refused names the plugin.
[ -z "$plugin" ] || for program in "$root/shared" "$root/static" "$root$prefix/bin/equinv info"; do
    said=$(cd "$root$prefix/bin" && env -u EQUINV_BACKEND_PATH -u EQUINV_BACKEND $program | grep '^cuda\|; cuda: ')
    case ${said#*cuda: } in *plugin*) echo "installed: $said"; exit 1 ;; esac
done
$make --no-print-directory uninstall DESTDIR="$root" prefix=$prefix >/dev/null
left=$(find "$root$prefix" -type f -o -type l)
[ -z "$left" ] || { echo "uninstall left: $left"; exit 1; }
echo "install: consumers (shared, static, C++), README's example, uninstall"
