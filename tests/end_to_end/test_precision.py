"""What --precision costs: plans against torch fp32, the same on every instruction set, the same bytes each time."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

from models.exporting import Options, chosen_outputs, export_variant  # noqa: E402
from models.reference import run_torch  # noqa: E402
from models.weights import seeded_image  # noqa: E402
from test_poster import answer, largest, run  # noqa: E402

# Largest differences of mu and logvar (standard deviation 0.9), and how many inputs of 200 may get another class. The aim is 0.01 and no
# other class, which int16 keeps (0.0062) and bf16 (8 bits) does not: measured were 0.058 to 0.066 and one other class; a third on
# top. It is the type: 61 products behind one another, of whose errors 4/10 come from rounding weights and 6/10 from rounding inputs.
BOUNDED = "bf16 --max-error 0.01"
BOUNDS = {"fp32": 1e-4, "fp16-weights": 1e-2, "int16": 1e-2, "bf16": 0.085, BOUNDED: 1e-2}
# Of the 200 inputs one has its two largest mu 0.0018 apart, the next one 0.012.
OTHER_CLASSES = {"fp32": 0, "fp16-weights": 0, "int16": 0, "bf16": 1, BOUNDED: 0}
# Full size is converted some sixty times for a bound: minutes.
CAMPAIGN = os.environ.get("MIEN_CAMPAIGN") == "1"


def convert(mien: Path, model: Path, precision: str) -> Path:
    plan = model.with_name(f"{precision.replace(' ', '')}.plan")
    words = precision.split()
    summary = json.loads(run(mien, "convert", model, "-o", plan, "--json", "--verify", "1", "--precision", *words))
    assert summary["precision"] == words[0]
    assert json.loads(run(mien, "info", plan, "--json"))["meta"]["precision"] == words[0]
    if precision == BOUNDED:
        rounded = summary["rounded"]
        assert rounded["products"] == rounded["bf16"] + rounded["int16"] == rounded["of"]
        assert 0 < rounded["bf16"] < rounded["of"]
        assert 0 < summary["rounded"]["largest"] < summary["rounded"]["allowed"] == 0.01
    return plan


def compare(mien: Path, folder: Path, name: str, inputs: int, bounded: bool) -> dict[str, Path]:
    model = folder / "model.onnx"
    network = export_variant(name, model, Options("torchscript", 17, dynamic_batch=True), seed=1)
    names = chosen_outputs(name, None)
    images = torch.cat([seeded_image(100 + i, 1) for i in range(inputs)]).split(20)
    expected = [dict(zip(names, run_torch(network, [batch]), strict=True)) for batch in images]
    plans = {precision: convert(mien, model, precision) for precision in BOUNDS if bounded or precision != BOUNDED}
    for precision, plan in plans.items():
        worst, other = 0.0, 0
        for batch, want in zip(images, expected, strict=True):
            got = answer(mien, plan, batch.numpy(), names)
            worst = max(worst, largest(got, want))
            other += int((got["mu"].argmax(1) != np.asarray(want["mu"]).argmax(1)).sum())
        print(f"{precision}: largest error {worst:.2g}, another class for {other} of {inputs} inputs")
        assert worst < BOUNDS[precision]
        assert other <= OTHER_CLASSES[precision]
    return plans


def test_small(tmp_path, mien, monkeypatch):
    plans = compare(mien, tmp_path, "poster_var_small", 20, True)
    for precision, plan in plans.items():
        first = plan.read_bytes()
        assert convert(mien, tmp_path / "model.onnx", precision).read_bytes() == first
    for isa in ("portable", "avx2", "avx512"):
        monkeypatch.setenv("MIEN_ISA", isa)
        for plan in plans.values():
            run(mien, "check", plan)


@pytest.mark.full
def test_full(tmp_path, mien):
    plans = compare(mien, tmp_path, "poster_var_rafdb7", 200, CAMPAIGN)
    size = {precision: plan.stat().st_size for precision, plan in plans.items()}
    assert size["fp16-weights"] < 0.55 * size["fp32"]
    assert size["bf16"] < 0.75 * size["fp32"]
