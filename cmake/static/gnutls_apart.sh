#!/usr/bin/env bash
# Makes a copy of Debian's static GnuTLS that can be linked into one program with OpenSSL: gnutls_apart.sh FILE. Both carry the same
# assembly routines (AES, GHASH, SHA) under the same names, in versions that are not each other's; in a static program one set would
# win. In the copy every name that libcrypto.a or libssl.a defines too is called gnutls_apart_<name>, where it is defined and where
# it is used.
set -euo pipefail
into=$1
cxx=${CXX:-clang++-19}
gnutls=$("$cxx" -print-file-name=libgnutls.a)
names() { llvm-nm-19 --defined-only --extern-only --format=just-symbols "$@" 2>/dev/null | grep -v ':$' | grep . | sort -u; }
mkdir -p "$(dirname "$into")"
comm -12 <(names "$gnutls") <(names "$("$cxx" -print-file-name=libcrypto.a)" "$("$cxx" -print-file-name=libssl.a)") |
  awk '{print $1 " gnutls_apart_" $1}' >"$into.names"
llvm-objcopy-19 --redefine-syms="$into.names" "$gnutls" "$into"
