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
  data=$(.venv/bin/python -c 'import onnx.backend.test, pathlib; print(pathlib.Path(onnx.backend.test.__file__).parent / "data")')
  build/tests/conformance "$data"
  .venv/bin/python -m pytest -q -ra tests
fi
