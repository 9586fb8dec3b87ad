#!/usr/bin/env bash
# usage: valgrind.sh BUILD_DIRECTORY
# Every kernel on buffers of exactly its sizes under valgrind: nothing is read or written past them, nothing is used that was not
# written. The kernels that valgrind's processor has: portable and AVX2.
set -euo pipefail
build=$1
command -v valgrind >/dev/null || { echo "valgrind is not installed (Debian: valgrind)" >&2; exit 1; }
export MIEN_TEST_RANDOM=0 MIEN_TEST_STRIDE=10000019
jobs=()
for isa in portable avx2; do
  for test in kernels vmath int16; do
    MIEN_ISA=$isa valgrind -q --error-exitcode=9 "$build/tests/ops_test_$test" &
    jobs+=($!)
  done
done
status=0
for job in "${jobs[@]}"; do wait "$job" || status=1; done
exit $status
