#!/usr/bin/env bash
# Installs the Debian packages that the given sets need and that are missing: install.sh build | try | test | bench ...
# try: the clients that the first lines of the README speak with.
# With everything there it asks dpkg once and is done. Root (or sudo) is used only to install.
set -euo pipefail

build="python3 clang-19 lld-19 llvm-19 libstdc++-12-dev ccache cmake ninja-build pkg-config libfmt-dev libtomlplusplus-dev
  nlohmann-json3-dev libcli11-dev libhttp-parser-dev libssl-dev zlib1g-dev libsnappy-dev liblz4-dev libzstd-dev libbz2-dev
  libxxhash-dev librocksdb-dev libre2-dev libngtcp2-dev libngtcp2-crypto-gnutls-dev libgnutls28-dev libp11-kit-dev nettle-dev
  libgmp-dev libtasn1-6-dev libidn2-dev libunistring-dev"
try="mosquitto-clients kcat"
test="$try git openssl clang-format-19 clang-tidy-19 libclang-rt-19-dev libgtest-dev libbenchmark-dev
  python3-paho-mqtt python3-kafka python3-snappy python3-lz4 python3-confluent-kafka"
bench="mosquitto valgrind"

wanted=()
for set in "$@"; do
  case $set in
    build) wanted+=($build) ;;
    try) wanted+=($try) ;;
    test) wanted+=($test) ;;
    bench) wanted+=($bench) ;;
    *) echo "install.sh: there is no set $set; known are build, try, test, bench" >&2; exit 2 ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || { echo "usage: install.sh build|try|test|bench ..." >&2; exit 2; }

if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system. Install what stands for these packages and go on: ${wanted[*]}" >&2
  exit 0
fi

declare -A installed=()
while read -r name state; do
  [ "$state" = installed ] && installed[$name]=1
done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for name in "${wanted[@]}"; do
  [ -n "${installed[$name]:-}" ] || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Debian packages to install: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "Root is needed for this: apt-get install ${missing[*]}" >&2; exit 1; }
  echo "Root is needed for this; asking through sudo."
  as_root=(sudo)
fi
run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }
log=$(mktemp)
if ! run apt-get -q update >"$log" 2>&1 || ! run apt-get -q install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "The packages could not be installed; the whole log is $log" >&2
  exit 1
fi
rm -f "$log"
# The rival of the benchmarks is started by them; as a service it would hold port 1883.
if [[ " ${missing[*]} " == *" mosquitto "* ]] && [ -d /run/systemd/system ]; then
  echo "Disabling the service of mosquitto, which would hold port 1883."
  run systemctl disable --now mosquitto
fi
