"""Where the program is."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def mien() -> Path:
    """The built program."""
    program = Path(os.environ.get("MIEN", ROOT / "build" / "mien"))
    assert program.exists(), f"{program} is not built; scripts/test.sh builds it, MIEN= names another"
    return program
