#!/usr/bin/env bash
# Builds targets of one preset: build.sh PRESET [TARGET...]. Configures when that has not been done; otherwise ninja alone
# decides, so that building what is built takes well under a second.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
dir=build/$preset
jobs=${JOBS:-$(nproc)}

if [ ! -f "$dir/build.ninja" ]; then
  echo "Configuring $dir"
  log=$(mktemp)
  if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
  echo "Building $preset on $jobs cores; the first build takes minutes, later ones only what changed"
  exec ninja -C "$dir" -j "$jobs" "$@"
fi
exec ninja --quiet -C "$dir" -j "$jobs" "$@"
