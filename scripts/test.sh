#!/usr/bin/env bash
# Sets up as demo.sh does, then runs all tests. --full adds what needs torch, onnx and onnxruntime, in a virtual environment of the
# project (.venv).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

full=
for word in "$@"; do
  case $word in
    --full) full=yes ;;
    *) echo "usage: scripts/test.sh [--full]" >&2; exit 2 ;;
  esac
done

if [ -n "$full" ]; then scripts/setup.sh python3 python3-venv; else scripts/setup.sh; fi
ctest --test-dir build --output-on-failure -j "$(nproc)"
if [ -n "$full" ]; then
  scripts/venv.sh
  export ORT_DISABLE_TELEMETRY=1
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  .venv/bin/python tests/conformance_data.py "$work/onnx"
  build/tests/conformance --expect tests/conformance.expect "$work/onnx/node"
  .venv/bin/python tests/random/generate.py --seed 5000 --count 1500 "$work/random"
  build/tests/conformance --atol 2e-5 --rtol 2e-3 "$work/random"
  .venv/bin/python -m pytest -q -ra -n "$(nproc)" -m "not full" tests
  # Full size, from export to answer; tests/models has more that is marked full, on the exports alone.
  .venv/bin/python -m pytest -q -ra -n "$(nproc)" -m full tests/end_to_end
fi
