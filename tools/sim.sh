#!/usr/bin/env bash
# The simulated node: SEED=n replays one seed and tells what happens, else SEEDS (1000) of them from FIRST on, in the optimised
# build.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release tests_sim_node_sim_test
if [ -n "${SEED:-}" ]; then export ROBUSTMQ_SIM_SEED=$SEED; else export ROBUSTMQ_SIM_SEEDS=${SEEDS:-1000} ROBUSTMQ_SIM_FIRST=${FIRST:-1}; fi
exec build/release/tests_sim_node_sim_test
