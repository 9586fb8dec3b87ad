#!/usr/bin/env bash
# usage: old_cpu.sh BUILD_DIRECTORY
# Processors without AVX-512, without AVX2 and of 2003, emulated by qemu-user: mien takes the best kernels that each has, its answer is
# the recorded one, the operators' tests pass. Exit status 77: there is no qemu-x86_64 here.
set -euo pipefail
build=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v qemu-x86_64 >/dev/null || { echo "skipped: qemu-x86_64 is not installed (Debian: qemu-user)"; exit 77; }
unset MIEN_ISA
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "$*" >&2; exit 1; }

"$build"/mien convert models/poster_var_small/model.onnx -o "$work/small.plan" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
while read -r cpu kernels; do
  qemu-x86_64 -cpu "$cpu" "$build"/mien check "$work/small.plan" >"$work/log" 2>&1 || { cat "$work/log"; die "$cpu: mien check failed"; }
  grep -q "^kernels $kernels," "$work/log" || { cat "$work/log"; die "$cpu: expected the $kernels kernels"; }
  echo "$cpu: $kernels kernels, the recorded values"
done <<'END'
Haswell avx2
Nehalem portable
qemu64 portable
END

if MIEN_ISA=avx2 qemu-x86_64 -cpu Nehalem "$build"/mien check "$work/small.plan" >"$work/log" 2>&1; then
  die "MIEN_ISA=avx2 ran on a processor without AVX2"
fi
grep -q "MIEN_ISA is 'avx2', expected what this machine runs: portable" "$work/log" || { cat "$work/log"; die "another error expected"; }

# Kernels are in test_kernels.c, the others take minutes here.
export MIEN_TEST_STRIDE=100003 MIEN_TEST_RANDOM=10
count=0
for test in "$build"/tests/ops_test_*; do
  case ${test##*/} in ops_test_winograd | ops_test_conv | ops_test_resize) continue ;; esac
  qemu-x86_64 -cpu Nehalem "$test" >"$work/log" 2>&1 || { cat "$work/log"; die "${test##*/} failed"; }
  count=$((count + 1))
done
[ "$count" -gt 10 ] || die "only $count tests of operators in $build/tests"
echo "$count tests of operators on Nehalem"
