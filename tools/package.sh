#!/usr/bin/env bash
# Makes build/robustmq-<version>-<machine>.tar.gz: one static program (by the names robust-server, robust-ctl and robust-bench),
# licence, default config, docs; then unpacks it in a clean directory and passes a message through it.
set -euo pipefail
cd "$(dirname "$0")/.."
limit_bytes=$((20 * 1024 * 1024))
tools/build.sh release robust-static
version=$(build/release/static/robust-server version | awk '{print $2}')
name=robustmq-$version-$(uname -m)
stage=build/release/dist/$name
rm -rf build/release/dist
mkdir -p "$stage/bin"
llvm-strip-19 -o "$stage/bin/robust" build/release/static/robust
for program in robust-server robust-ctl robust-bench; do ln -s robust "$stage/bin/$program"; done
if ldd "$stage/bin/robust" >/dev/null 2>&1; then
  echo "package: the program is not static" >&2
  exit 1
fi
"$stage/bin/robust-server" config >"$stage/robust.toml"
cp LICENSE README.md "$stage/"
cp -r docs "$stage/docs"
tar -C build/release/dist -czf "build/$name.tar.gz" --owner=0 --group=0 "$name"
size=$(stat -c %s "build/$name.tar.gz")
[ "$size" -le "$limit_bytes" ] || { echo "package: $size bytes are more than $limit_bytes" >&2; exit 1; }
timeout 120 python3 tools/package_test.py "build/$name.tar.gz"
echo "build/$name.tar.gz: $((size / 1024)) KiB"
