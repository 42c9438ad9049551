#!/usr/bin/env bash
# What a machine can say of the sources: format, import guard and its own test, generated files fresh. With CI=true also
# clang-tidy on what differs from the previous main commit, and that each header compiles alone.
# PRESET: the build that the generated docs are checked with.
set -uo pipefail
cd "$(dirname "$0")/.."
preset=${PRESET:-dev}
failed=0
step() {
  local name=$1
  shift
  local out
  if out=$("$@" 2>&1); then
    grep -aE '^(left for want of time|there is no commit)' <<<"$out"
    echo "check: $name: ok"
  else
    echo "$out"
    echo "check: $name: FAILED"
    failed=1
  fi
}

sources() { git ls-files -co --exclude-standard "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

format() {
  sources '*.cc' '*.h' | xargs -r clang-format-19 --dry-run -Werror 2>&1 | tail -n 40
  [ "${PIPESTATUS[1]}" -eq 0 ] || { echo "run: make format"; return 1; }
}

guard() { python3 tools/guard/guard.py && python3 tools/guard/guard_test.py; }

docs() {
  tools/build.sh "$preset" robust || return 1
  local fresh
  fresh=$(mktemp -d)
  "build/$preset/bin/robust-server" docs "$fresh" && diff -ru docs/reference "$fresh" | head -n 60
  local same=${PIPESTATUS[0]}
  rm -rf "$fresh"
  [ "$same" -eq 0 ] || { echo "run: make docs"; return 1; }
}

# The commit to compare with: where this branch left main, or the commit before.
base_commit() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null || true)
  if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then base=$(git rev-parse --verify -q HEAD~1 || true); fi
  echo "$base"
}

# What changed most recently comes first; after TIDY_SECONDS the rest is left, and said so.
tidy() {
  local base
  base=$(base_commit)
  [ -n "$base" ] || { echo "there is no commit to compare with: nothing is tidied"; return 0; }
  export TIDY_BUILD=build/$preset
  git diff --name-only --diff-filter=d "$base" -- 'src/*.cc' 'tools/*.cc' 'tests/*.cc' | sed '/_fuzz\.cc$/d' |
    while read -r f; do echo "$(git log -1 --format=%ct -- "$f") $f"; done | sort -rn | cut -d' ' -f2 |
    xargs -r -P "$(nproc)" -n 1 env TIDY_STARTED="$(date +%s)" TIDY_LIMIT="${TIDY_SECONDS:-240}" sh -c '
      if [ $(($(date +%s) - TIDY_STARTED)) -ge "$TIDY_LIMIT" ]; then echo "left for want of time: $1"; exit 0; fi
      clang-tidy-19 --quiet --warnings-as-errors="*" "$1" -- -std=c++20 -msse4.2 -Isrc -I. -I"$TIDY_BUILD/generated" 2>/dev/null' sh
}

# Headers that differ from the previous main commit, and those that include one of them; the others compiled alone there and have
# not changed. ALL_HEADERS=1: every one.
headers() {
  tools/build.sh "$preset" kafka_frames_generated || return 1
  export GENERATED=build/$preset/generated
  local base=""
  [ -n "${ALL_HEADERS:-}" ] || base=$(base_commit)
  [ -n "$base" ] || echo "there is no commit to compare with: every header"
  sources 'src/*.h' 'tools/*.h' 'tests/*.h' | python3 tools/changed_headers.py $base |
    xargs -r -P "$(nproc)" -n 8 sh -c 'for h in "$@"; do
      echo "#include \"$h\"" | clang++-19 -std=c++20 -fsyntax-only -msse4.2 -Isrc -I. -I"$GENERATED" -Wall -Wextra -x c++ - || { echo "$h does not compile alone"; exit 255; }
    done' sh
}

step "format" format
step "import guard" guard
step "generated docs" docs
if [ "${CI:-}" = true ]; then
  step "clang-tidy" tidy
  step "headers compile alone" headers
fi
exit $failed
