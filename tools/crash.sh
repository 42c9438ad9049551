#!/usr/bin/env bash
# The long crash runs: 200 rounds of kill -9 under load, 20 power cuts, and the proof that the power cuts would see a lost sync.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release robust
server=build/release/bin/robust-server
python3 tests/e2e/crash.py --server "$server" --rounds "${ROUNDS:-200}"
python3 tests/e2e/crash.py --server "$server" --rounds "${POWER_CUTS:-20}" --power-cut
python3 tests/e2e/crash.py --server "$server" --power-cut --expect-loss
