#!/usr/bin/env bash
# Builds mien for 64-bit ARM with Debian's cross compiler and runs the C tests under qemu-user, on portable and NEON kernels.
# Installs what is missing (as root). Words are passed on to ctest, e.g. tests/arm64.sh -R ops/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(dpkg --print-architecture)" = arm64 ]; then
  echo "this machine is arm64: scripts/test.sh runs the tests on NEON as it is" >&2
  exit 2
fi
libraries=(libprotobuf-c-dev libpng-dev libjpeg62-turbo-dev libxxhash-dev libcjson-dev libssl-dev libcmocka-dev)
scripts/packages.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user cmake ninja-build pkg-config protobuf-c-compiler \
  "${libraries[@]/%/:arm64}"

cmake --preset arm64 >/dev/null
cmake --build build-arm64
# Left out: what mutates inputs for a fixed time, what fails every allocation in turn (both are the same everywhere), and what starts
# threads in a forked child, which qemu 7.2 does not survive.
ctest --test-dir build-arm64 --output-on-failure -j "$(nproc)" -E '^fuzz_|test_oom|test_session_faults' "$@"
