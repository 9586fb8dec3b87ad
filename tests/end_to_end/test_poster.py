"""Every way of exporting a variant ends in the same fused operators and the same numbers, in mien, torch and ONNX Runtime.

MIEN_CAMPAIGN=1 runs every full-size variant through every exporter instead of a selection that covers each once."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

import onnxruntime  # noqa: E402

from models.exporting import Options, chosen_outputs, export_variant  # noqa: E402
from models.reference import run_torch  # noqa: E402
from models.variants import VARIANTS  # noqa: E402
from models.weights import seeded_image  # noqa: E402

WAYS = [Options("torchscript", opset, dynamic_batch=dynamic) for opset in (13, 16, 17, 20) for dynamic in (False, True)]
WAYS += [Options("dynamo", opset, dynamic_batch=dynamic) for opset in (None, 18) for dynamic in (False, True)]
SELECTED = [Options("torchscript", 13), Options("torchscript", 16), Options("torchscript", 17, dynamic_batch=True),
            Options("dynamo", None, dynamic_batch=True), Options("dynamo", 18)]
SMALL = [name for name, variant in VARIANTS.items() if variant.size.name == "small"]
FULL = [name for name, variant in VARIANTS.items() if variant.size.name == "full"]
MAIN = ["poster_var_rafdb7", "poster_pp_rafdb7"]
CAMPAIGN = os.environ.get("MIEN_CAMPAIGN") == "1"
FULL_CASES = [(name, way) for name in FULL for way in WAYS] if CAMPAIGN else (
    [(name, way) for name in MAIN for way in SELECTED]
    + [(name, Options("torchscript", 17, dynamic_batch=True)) for name in FULL if name not in MAIN])
INPUTS = 20
TOLERANCE = 1e-4


def label(value: object) -> str | None:
    if isinstance(value, Options):
        return f"{value.exporter}{value.opset or 'default'}{'dynamic' if value.dynamic_batch else 'static'}"
    return None


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convert(mien: Path, model: Path, *options: str) -> tuple[Path, dict]:
    plan = model.with_suffix("".join(options).replace("-", "") + ".plan")
    return plan, json.loads(run(mien, "convert", model, "-o", plan, "--json", *options))


def answer(mien: Path, plan: Path, image: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    folder = plan.parent
    np.save(folder / "image.npy", image)
    words = [word for name in names for word in ("--output", f"{name}={folder / name}.npy")]
    run(mien, "run", plan, "--input", f"image={folder / 'image.npy'}", *words)
    return {name: np.load(folder / f"{name}.npy") for name in names}


def largest(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].shape == value.shape
    return max(float(np.abs(got[name] - value).max()) for name, value in expected.items())


def operators(mien: Path, plan: Path) -> dict[str, int]:
    rows = json.loads(run(mien, "info", plan, "--json"))["operators"]
    return {f"{row['domain']}.{row['op']}".removeprefix("ai.onnx."): int(row["count"]) for row in rows}


def check_structure(counts: dict[str, int], name: str, options: Options) -> None:
    """What every plan of POSTER ends in, whatever the exporter wrote."""
    bare = {op.split(".")[-1]: 0 for op in counts}
    for op, count in counts.items():
        bare[op.split(".")[-1]] += count
    assert bare.get("WindowCrossAttention", 0) == 3, counts
    assert bare.get("Attention", 0) == 2, counts
    assert bare.get("ChannelAttention", 0) == 1, counts
    assert bare.get("VICH", 0) == (VARIANTS[name].head == "vich"), counts
    assert bare.get("Resize", 0) <= 1, counts
    for op in ("Identity", "BatchNormalization", "ReduceMean", "Erf", "Dropout"):
        assert op not in bare, counts
    if not options.dynamic_batch:
        for op in ("Shape", "ConstantOfShape", "Equal", "Where", "Range", "Cast", "Unsqueeze", "Expand"):
            assert op not in bare, counts


def check(mien: Path, folder: Path, name: str, options: Options, inputs: int) -> dict[str, int]:
    model = folder / "model.onnx"
    network = export_variant(name, model, options, seed=1)
    plan, _ = convert(mien, model)
    counts = operators(mien, plan)
    check_structure(counts, name, options)
    data = model.with_suffix(".onnx.data")
    assert plan.stat().st_size < model.stat().st_size + (data.stat().st_size if data.exists() else 0)
    names = chosen_outputs(name, None)
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), session_options, providers=["CPUExecutionProvider"])
    images = [seeded_image(100 + i, 1) for i in range(inputs)]
    batches = [torch.cat(images[:n]) for n in (3, 8)] + [torch.cat(images)] if options.dynamic_batch else []
    for image in (images[:1] if batches else images) + batches:
        got = answer(mien, plan, image.numpy(), names)
        assert largest(got, dict(zip(names, run_torch(network, [image]), strict=True))) < TOLERANCE
        assert largest(got, dict(zip(names, session.run(names, {"image": image.numpy()}), strict=True))) < TOLERANCE
    return counts


@pytest.mark.parametrize("name", SMALL)
def test_small_exports_end_in_one_plan(tmp_path, mien, name):
    """All exporters and opsets: the same operator counts in static plans, and in dynamic ones."""
    seen: dict[bool, dict[str, dict[str, int]]] = {False: {}, True: {}}
    for options in WAYS:
        folder = tmp_path / label(options)
        folder.mkdir()
        seen[options.dynamic_batch][label(options)] = check(mien, folder, name, options, 3)
    for group in seen.values():
        assert len({json.dumps(counts, sort_keys=True) for counts in group.values()}) == 1, group


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), FULL_CASES, ids=label)
def test_full_exports_agree(tmp_path, mien, name, options):
    check(mien, tmp_path, name, options, INPUTS)


@pytest.mark.parametrize("name", ["poster_var_small", "poster_pp_small"])
def test_conversion_is_deterministic(tmp_path, mien, name):
    model = tmp_path / "model.onnx"
    export_variant(name, model, Options("dynamo", None, dynamic_batch=True), seed=1)
    first, _ = convert(mien, model)
    bytes_of_first = first.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "other.onnx"
    again.write_bytes(model.read_bytes())
    second, _ = convert(mien, again)
    assert second.read_bytes() == bytes_of_first


def test_decomposed_and_fused_agree(tmp_path, mien):
    """The plan with the plugin, through its decomposition, and converted without any plugin pass."""
    model = tmp_path / "model.onnx"
    export_variant("poster_var_small", model, Options("torchscript", 17, dynamic_batch=True), seed=1)
    fused, _ = convert(mien, model)
    image = np.concatenate([seeded_image(7 + i, 1).numpy() for i in range(3)])
    names = ["mu", "logvar"]
    with_plugin = answer(mien, fused, image, names)
    bare = tmp_path / "bare" / "mien"
    bare.parent.mkdir()
    bare.write_bytes(mien.read_bytes())
    bare.chmod(0o755)
    assert largest(answer(bare, fused, image, names), with_plugin) < 1e-5
    plain, _ = convert(bare, model)
    assert "poster.VICH" not in operators(bare, plain)
    assert largest(answer(bare, plain, image, names), with_plugin) < 1e-5


def test_samples_match_the_distribution(tmp_path, mien):
    """Mean and variance of z against mu and exp(logvar), within sampling error; the same bits for every batch and thread count."""
    model = tmp_path / "model.onnx"
    export_variant("poster_var_small", model, Options("torchscript", 17, dynamic_batch=True), seed=1)
    plan, _ = convert(mien, model)
    np.save(tmp_path / "three.npy", np.concatenate([seeded_image(5 + i, 1).numpy() for i in range(3)]))
    np.save(tmp_path / "one.npy", seeded_image(5, 1).numpy())
    count = 20000

    def predict(file: str, *options: str) -> list[dict]:
        text = run(mien, "run", plan, "--input", f"image={tmp_path / file}", "--samples", count, "--seed", 3, "--json", *options)
        found = json.loads(text)
        for prediction in found["predictions"]:
            prediction.pop("source", None)
        return found

    three = predict("three.npy")
    mu = np.array(three["outputs"]["mu"]["data"]).reshape(3, -1)
    variance = np.exp(np.array(three["outputs"]["logvar"]["data"])).reshape(3, -1)
    for item, prediction in enumerate(three["predictions"]):
        error = np.sqrt(variance[item] / count)
        assert (np.abs(np.array(prediction["z_mean"]) - mu[item]) < 5 * error).all()
        assert (np.abs(np.array(prediction["z_var"]) / variance[item] - 1) < 5 * np.sqrt(2 / count)).all()
        assert abs(sum(prediction["p"]) - 1) < 1e-9
    assert predict("one.npy")["predictions"][0] == three["predictions"][0]
    assert predict("three.npy", "--threads", "1")["predictions"] == predict("three.npy", "--threads", "2")["predictions"]
