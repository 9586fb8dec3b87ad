#!/usr/bin/env python3
"""Measures mien beside ONNX Runtime, OpenVINO, MNN and PyTorch: same model, inputs, threads and precision, in alternating rounds.

Set up once: scripts/venv.sh (exports the models) and scripts/venv.sh peers (what is measured); then .venv/bin/python scripts/bench.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    from benchmark.main import main
except ModuleNotFoundError as error:
    sys.exit(f"bench.py: no Python package {error.name}; run scripts/venv.sh, then .venv/bin/python scripts/bench.py")

if __name__ == "__main__":
    sys.exit(main())
