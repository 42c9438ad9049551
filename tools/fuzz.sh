#!/usr/bin/env bash
# Runs every fuzzer for FUZZ_SECONDS of CPU time (20 unless given), as many at a time as there are cores. Seeds: tests/corpus/<fuzzer>,
# or its short name; what is found stays in build/fuzz/found. FUZZ_ONLY=name runs one. The last line: "fuzz: N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-20}
tools/build.sh asan fuzzers || exit 1
mapfile -t fuzzers < <(cat build/asan/fuzzers.txt)
[ -z "${FUZZ_ONLY:-}" ] || fuzzers=("$FUZZ_ONLY")
mkdir -p build/fuzz/found build/fuzz/corpus build/fuzz/logs

# In slices, for libFuzzer counts the clock's seconds: on a busy machine those are not the CPU's.
one() {
  local name=$1 seconds=$2 used=0 inputs=0 left slice
  mkdir -p "build/fuzz/corpus/$name"
  local seeds=() short=${name#protocol_} log=build/fuzz/logs/$name.log
  for dir in "tests/corpus/$name" "tests/corpus/${short%_fuzz}"; do
    [ -d "$dir" ] && seeds+=("$dir")
  done
  while left=$((seconds - used / 100)) && [ "$left" -gt 0 ]; do
    slice=$((left < 300 ? left : 300))
    if ! { TIMEFORMAT='%U %S' && time "build/asan/$name" -max_total_time="$slice" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/found/$name-" "build/fuzz/corpus/$name" "${seeds[@]}" >"$log" 2>&1; } 2>"$log.time"; then
      tail -n 40 "$log"
      echo "fuzz: $name: FAILED; the input is in build/fuzz/found, the log in $log"
      return 1
    fi
    used=$((used + $(tail -n 1 "$log.time" | awk '{printf "%d", ($1 + $2) * 100 + 100}')))
    inputs=$((inputs + $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")))
  done
  echo "fuzz: $name: ok, $inputs inputs, $((used / 100)) s of CPU time"
}
export -f one

results=$(mktemp)
printf '%s\n' "${fuzzers[@]}" | xargs -r -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {} '"$seconds"'; echo "exit:$?"' | tee "$results" | grep -v '^exit:'
passed=$(grep -c '^exit:0$' "$results")
failed=$((${#fuzzers[@]} - passed))
rm -f "$results"
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
