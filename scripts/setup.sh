#!/usr/bin/env bash
# Installs what a Debian 12 machine lacks for building mien, then builds it (Release) into build/. Used by demo.sh and test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/packages.sh cmake ninja-build gcc pkg-config protobuf-c-compiler libprotobuf-c-dev libpng-dev \
  libjpeg62-turbo-dev libxxhash-dev libcjson-dev libssl-dev libcmocka-dev "$@"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && cmake --build build; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "the build failed" >&2
  exit 1
fi
