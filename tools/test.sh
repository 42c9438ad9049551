#!/usr/bin/env bash
# Every test but crash, bench and long fuzzing, in stages; goes on after a failed stage, so one run shows everything. Ends with
# what failed, a table of the stages' times and one plain line: "N passed, N failed". Logs: build/test-logs.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=build/test-logs
mkdir -p "$logs"
passed=0
failed=0
table=""
failures=""
began=$SECONDS

# stage NAME COMMAND...: runs it, shows its output, and adds what its last "N passed, N failed" line says; a stage without one
# counts as one test.
stage() {
  local name=$1 from=$SECONDS status counts p f
  shift
  echo
  echo "== $name"
  "$@" 2>&1 | tee "$logs/$name.log"
  status=${PIPESTATUS[0]}
  counts=$(grep -oE '[0-9]+ passed, [0-9]+ failed' "$logs/$name.log" | tail -n 1)
  if [ -n "$counts" ]; then
    p=${counts%% *}
    f=$(echo "$counts" | sed 's/.*, \([0-9]*\) failed/\1/')
    [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
  elif [ "$status" -eq 0 ]; then p=1 f=0
  else p=0 f=1
  fi
  [ "$f" -eq 0 ] || failures+="== $name"$'\n'"$(grep -aE 'FAILED|Failed|FAIL:|error:|warning:|: not ok|broken promise' "$logs/$name.log" | head -n 20)"$'\n'
  passed=$((passed + p))
  failed=$((failed + f))
  table+=$(printf '%-22s %5d s  %4d passed  %3d failed' "$name" $((SECONDS - from)) "$p" "$f")$'\n'
  return "$status"
}

# Runs the tests of a build directory and counts them.
run_ctest() {
  local dir=$1 out status
  shift
  out=$(mktemp)
  ctest --test-dir "$dir" -j "$(nproc)" --output-on-failure --no-tests=error "$@" | tee "$out"
  status=${PIPESTATUS[0]}
  sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$out" | {
    read -r bad all && echo "$((all - bad)) passed, $bad failed"
  }
  rm -f "$out"
  return "$status"
}

tsan_tests() {
  tools/build.sh tsan tsan_tests || return 1
  run_ctest build/tsan -R "^($(paste -sd'|' build/tsan/tsan_tests.txt))$"
}

# The end-to-end tests wait much of their time; the build of TSan uses it.
build_tsan_beside() {
  nice tools/build.sh tsan tsan_tests >"$logs/build-tsan.log" 2>&1 &
  tsan_build=$!
}

# Real clients against real processes, the crash rounds, and three minutes of soak.
end_to_end() { timeout 1200 python3 tests/e2e/run.py --server build/asan/bin/robust-server --rounds "${CRASH_ROUNDS:-30}"; }

# The build of ASan serves check as well, for the generated docs.
if stage build-asan tools/build.sh asan; then
  stage check env PRESET=asan tools/check.sh
  stage tests-asan run_ctest build/asan
  build_tsan_beside
  stage end-to-end end_to_end
else
  stage check env PRESET=asan tools/check.sh
  build_tsan_beside
fi
stage fuzz env FUZZ_SECONDS="${FUZZ_SECONDS:-20}" tools/fuzz.sh
wait "$tsan_build"
stage tests-tsan tsan_tests

echo
[ -z "$failures" ] || printf 'What failed (whole logs: %s)\n%s\n' "$logs" "$failures"
printf '%s' "$table"
printf '%-22s %5d s (on two cores it is to be under 1800)\n\n' "all" $((SECONDS - began))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
