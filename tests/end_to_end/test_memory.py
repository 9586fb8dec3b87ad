"""The memory that a plan says it needs, on networks of several kinds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.full
@pytest.mark.parametrize("variant", ["poster_var_rafdb7", "poster_pp_rafdb7", "resnet50", "mobilenetv2", "vit_s16"])
def test_arena_is_close_to_what_is_alive(mien: Path, tmp_path: Path, variant: str):
    model, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    subprocess.run([sys.executable, ROOT / "scripts" / "export.py", "--variant", variant, "-o", model], check=True, cwd=ROOT)
    subprocess.run([mien, "convert", model, "-o", plan], check=True)
    said = subprocess.run([mien, "info", plan, "--json"], check=True, capture_output=True, text=True).stdout
    meta = json.loads(said)["meta"]
    assert 1e6 < meta["live_bytes"] <= meta["arena_bytes"] <= 1.3 * meta["live_bytes"]
