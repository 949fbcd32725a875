#!/usr/bin/env bash
# Installs the build into a scratch prefix and builds a foreign project against it: once by find_package, once by pkg-config.
set -euo pipefail
cmake=$1 build=$2 consumer=$3 compiler=$4 sanitize=$5
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

flags=()
[ -n "$sanitize" ] && flags=("-fsanitize=$sanitize")

"$cmake" --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log"

"$cmake" -S "$consumer" -B "$scratch/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="${flags[*]}" >"$scratch/configure.log" || { cat "$scratch/configure.log"; exit 1; }
"$cmake" --build "$scratch/consumer"
"$scratch/consumer/consumer" "$scratch/by-cmake.db"

export PKG_CONFIG_PATH="$scratch/prefix/lib/pkgconfig"
# shellcheck disable=SC2046
"$compiler" "${flags[@]}" "$consumer/main.cpp" -o "$scratch/by-pkg-config" $(pkg-config --cflags --libs hufu)
"$scratch/by-pkg-config" "$scratch/by-pkg-config.db"

"$scratch/prefix/bin/hufu" version
echo "the installed package works by find_package and by pkg-config"
