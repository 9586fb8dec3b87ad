"""Lets the tests import the models package, and keeps onnxruntime from reporting home."""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "full: exports of the full-size networks, minutes each; -m 'not full' leaves them out")


def pytest_report_header(config):
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: tests/models is skipped; scripts/venv.sh installs it"
    return None
