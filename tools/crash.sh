#!/usr/bin/env bash
# The long crash runs: 200 rounds of kill -9 under load, 20 power cuts, and the proof that the power cuts would see a lost sync; then
# a transactional chain and share consumers over 100 kills each, and a transaction cut at each of its failpoints (a build that has
# them).
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release robust
server=build/release/bin/robust-server
python3 tests/e2e/crash.py --server "$server" --rounds "${ROUNDS:-200}"
python3 tests/e2e/crash.py --server "$server" --rounds "${POWER_CUTS:-20}" --power-cut
python3 tests/e2e/crash.py --server "$server" --power-cut --expect-loss
CHAIN_KILLS="${CHAIN_KILLS:-100}" SHARE_KILLS="${SHARE_KILLS:-100}" python3 tests/e2e/run.py --server "$server" --rounds 0 \
  --only transactions_test.Crashes --only shares_test.Shares.test_each_record_is_accepted_once_over_kills
tools/build.sh dev robust
FAILPOINTS=all python3 tests/e2e/run.py --server build/dev/bin/robust-server --rounds 0 --only failpoints_test
