#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Configures (once) and compiles one flavour of the tree.
#   product  build/product, linked to build/holdfast    release flags, no fault points, no tests
#   test     build/test    gcc, address and undefined-behaviour sanitizers, fault points
#   tsan     build/tsan    gcc, thread sanitizer
#   clang    build/clang   clang, only to see that it compiles (so nothing is optimised), the programs of the bench too
#   fuzz     build/fuzz    clang with libFuzzer
#   cover    build/cover   the fuzz targets, counting lines and branches; for tools/fuzz_coverage.py
#   bench    build/bench/programs    the programs that measure, flags as the product
set -eu
cd "$(dirname "$0")/.."
flavour=${1:?usage: build.sh product|test|tsan|clang|fuzz|cover|bench}
dir=build/$flavour
case "$flavour" in
product) set -- --buildtype=release -Dfaults=false -Dtests=false ;;
test) set -- --buildtype=debug -Doptimization=1 -Db_sanitize=address,undefined ;;
tsan) set -- --buildtype=debug -Doptimization=1 -Db_sanitize=thread ;;
clang) export CC=clang; set -- -Doptimization=0 -Ddebug=false -Db_lundef=false -Dbench=true ;;
fuzz) export CC=clang; set -- --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=true -Dtests=false ;;
cover) export CC=clang; set -- --buildtype=debug -Doptimization=1 -Db_lundef=false -Dfuzz=true -Dcover=true -Dtests=false ;;
bench) dir=build/bench/programs; set -- --buildtype=release -Dfaults=false -Dtests=false -Dsandbox=false -Dbench=true ;;
*) echo "build.sh: no flavour named $flavour" >&2; exit 2 ;;
esac
[ -z "${CI:-}" ] || set -- "$@" -Dwerror=true
mkdir -p build "$(dirname "$dir")"
log=build/$flavour.log
if [ -f "$dir/build.ninja" ]; then
    meson setup --reconfigure "$dir" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
else
    rm -rf "$dir"
    meson setup "$dir" "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
if ! ninja -C "$dir" >>"$log" 2>&1; then
    grep -E -A12 'error:|FAILED:|undefined reference' "$log" | head -n 60 >&2
    echo "build.sh: compiling $flavour failed; the whole log: $log" >&2
    exit 1
fi
# Warnings are errors to the project; CI stops at them, elsewhere they are shown.
grep -E 'warning:' "$log" | sort -u | head -n 20 >&2 || :
if [ "$flavour" = product ]; then
    ln -sf product/src/holdfast build/holdfast
    ln -sf product/src/holdfast-sandbox build/holdfast-sandbox
fi
