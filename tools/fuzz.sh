#!/usr/bin/env bash
# Runs every fuzzer for FUZZ_SECONDS (20 unless given), as many at a time as there are cores. Seeds: tests/corpus/<fuzzer>, or its short name;
# what is found stays in build/fuzz/found. FUZZ_ONLY=name runs one. The last line counts: "fuzz: N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-20}
tools/build.sh asan fuzzers || exit 1
mapfile -t fuzzers < <(cat build/asan/fuzzers.txt)
[ -z "${FUZZ_ONLY:-}" ] || fuzzers=("$FUZZ_ONLY")
mkdir -p build/fuzz/found build/fuzz/corpus build/fuzz/logs

one() {
  local name=$1 seconds=$2
  mkdir -p "build/fuzz/corpus/$name"
  local seeds=() short=${name#protocol_}
  for dir in "tests/corpus/$name" "tests/corpus/${short%_fuzz}"; do
    [ -d "$dir" ] && seeds+=("$dir")
  done
  if "build/asan/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="build/fuzz/found/$name-" \
    -print_final_stats=1 "build/fuzz/corpus/$name" "${seeds[@]}" >"build/fuzz/logs/$name.log" 2>&1; then
    echo "fuzz: $name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/logs/$name.log") inputs"
  else
    tail -n 40 "build/fuzz/logs/$name.log"
    echo "fuzz: $name: FAILED; the input is in build/fuzz/found, the log in build/fuzz/logs/$name.log"
    return 1
  fi
}
export -f one

results=$(mktemp)
printf '%s\n' "${fuzzers[@]}" | xargs -r -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {} '"$seconds"'; echo "exit:$?"' | tee "$results" | grep -v '^exit:'
passed=$(grep -c '^exit:0$' "$results")
failed=$((${#fuzzers[@]} - passed))
rm -f "$results"
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
