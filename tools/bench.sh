#!/usr/bin/env bash
# The comparison with Mosquitto and with the bare loop, from the release build. Arguments are the comparison's own (--help).
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release robust
exec python3 tools/bench/compare.py "$@"
