"""Lets the tests import the models package and find the program, and keeps onnxruntime from reporting home."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "full: full-size networks, half a minute each; -m 'not full' leaves them out")


@pytest.fixture(scope="session")
def mien() -> Path:
    """The built program."""
    program = Path(os.environ.get("MIEN", ROOT / "build" / "mien"))
    assert program.exists(), f"{program} is not built; scripts/test.sh builds it, MIEN= names another"
    return program
