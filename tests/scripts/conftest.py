"""Lets the tests import what the scripts are made of, and find the program."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def mien() -> Path:
    """The built program."""
    program = Path(os.environ.get("MIEN", ROOT / "build" / "mien"))
    assert program.exists(), f"{program} is not built; scripts/test.sh builds it, MIEN= names another"
    return program
