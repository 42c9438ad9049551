#!/usr/bin/env bash
# Line coverage of what reads bytes from the network (codecs, connections, framing) by the tests of those rooms: a line a file, and
# one a room. Fails where a room is below COVERAGE_MIN (90) percent. Pages to look at: build/coverage/html.
set -euo pipefail
cd "$(dirname "$0")/.."
least=${COVERAGE_MIN:-90}
rooms=(src/net src/protocol/mqtt src/protocol/kafka)
programs=(net_tests protocol_mqtt_tests protocol_kafka_tests)

tools/build.sh coverage "${programs[@]}"
dir=build/coverage
rm -rf "$dir/raw" "$dir/html"
mkdir -p "$dir/raw"
objects=()
for program in "${programs[@]}"; do
  echo "Running $program"
  LLVM_PROFILE_FILE="$dir/raw/$program-%p.profraw" "$dir/$program" --gtest_brief=1 >"$dir/$program.log" 2>&1 || {
    tail -n 40 "$dir/$program.log" >&2
    echo "coverage: $program failed; the log is $dir/$program.log" >&2
    exit 1
  }
  objects+=(${objects:+-object} "$dir/$program")
done
llvm-profdata-19 merge -sparse "$dir"/raw/*.profraw -o "$dir/all.profdata"

# What is no part of a build for users is not counted.
cov=("${objects[@]}" -instr-profile="$dir/all.profdata" -ignore-filename-regex='_(test|rig|fuzz|bench)\.|/(transcript|packet_text|scripted_link)\.h')
llvm-cov-19 show "${cov[@]}" -format=html -output-dir="$dir/html" "${rooms[@]}" >/dev/null
llvm-cov-19 export "${cov[@]}" -summary-only "${rooms[@]}" >"$dir/summary.json"
python3 tools/coverage.py "$dir/summary.json" "$least" "${rooms[@]}"
