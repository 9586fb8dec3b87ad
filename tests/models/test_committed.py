"""The committed graphs: what torch says today is what their reference outputs say, and so does onnxruntime."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

import numpy as np
import onnx
from agreement import read_data_set, run_file, worst
from onnx import numpy_helper

from models import make_small, make_spellings
from models.exporting import build, natural_outputs
from models.reference import run_torch
from models.spellings import SPELLINGS

MODELS = Path(make_small.__file__).resolve().parent
SMALL = MODELS / make_small.NAME
SPELLED = MODELS / "spelled"
CASES = ("seeded", "astronaut", "grace_hopper")


def outputs_of(case: str) -> dict[str, np.ndarray]:
    return {name: np.load(SMALL / f"{case}.{name}.npy") for name in natural_outputs(make_small.NAME)}


def test_the_small_model_is_small():
    assert (SMALL / "model.onnx").stat().st_size <= 3_000_000


@pytest.mark.parametrize("case", CASES)
def test_torch_and_onnxruntime_give_the_committed_outputs(case):
    image, expected = np.load(SMALL / f"{case}.input.npy"), outputs_of(case)
    computed = run_torch(build(make_small.NAME, make_small.SEED), [torch.from_numpy(image)])
    assert worst(dict(zip(expected, computed, strict=True)), expected) < 2e-5
    assert worst(run_file(SMALL / "model.onnx", {"image": image}), expected) < 1e-4


def test_the_inputs_are_reproduced():
    for case, image in make_small.cases().items():
        assert np.array_equal(np.load(SMALL / f"{case}.input.npy"), image.numpy()), case


def test_the_backend_test_folder_holds_the_seeded_case():
    inputs, outputs = read_data_set(SMALL / "test_data_set_0", onnx.load(SMALL / "model.onnx"))
    assert np.array_equal(inputs["image"], np.load(SMALL / "seeded.input.npy"))
    assert worst(outputs, outputs_of("seeded")) == 0


def test_the_small_model_is_reproduced(tmp_path):
    make_small.make_small(tmp_path)
    made, committed = onnx.load(tmp_path / "model.onnx"), onnx.load(SMALL / "model.onnx")
    for new, old in zip(made.graph.initializer, committed.graph.initializer, strict=True):
        np.testing.assert_allclose(numpy_helper.to_array(new), numpy_helper.to_array(old), rtol=1e-6, atol=1e-7)
    for model in (made, committed):
        del model.graph.initializer[:]
    assert made == committed
    new_files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert new_files == sorted(path.relative_to(SMALL) for path in SMALL.rglob("*") if path.is_file())


def test_every_spelling_is_committed_and_tiny():
    folders = {f"{name}_{exporter}" for name in SPELLINGS for exporter in make_spellings.EXPORTERS}
    assert {path.name for path in SPELLED.iterdir()} == folders
    assert max(path.stat().st_size for path in SPELLED.rglob("*") if path.is_file()) < 40_000


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_agree(name):
    given = {key: value.numpy() for key, value in make_spellings.inputs(name).items()}
    computed = run_torch(make_spellings.network(name), list(make_spellings.inputs(name).values()))
    expected = dict(zip(SPELLINGS[name].outputs, computed, strict=True))
    for exporter in make_spellings.EXPORTERS:
        folder = SPELLED / f"{name}_{exporter}"
        inputs, outputs = read_data_set(folder / "test_data_set_0", onnx.load(folder / "model.onnx"))
        assert all(np.array_equal(inputs[key], value) for key, value in given.items())
        assert worst(outputs, expected) < 1e-5
        assert worst(run_file(folder / "model.onnx", inputs), outputs) < 1e-5, exporter


IDEAS = {
    "attention": ["attention_index", "attention_first_tokens", "attention_unbind", "attention_chunk", "attention_slice",
                  "attention_scaled_query", "attention_divided", "attention_sdpa", "attention_einsum", "attention_bmm"],
    "window": ["window_four", "window_sdpa", "window_einsum"],
    "layer_norm": ["layer_norm_pow", "layer_norm_rsqrt", "layer_norm_var"],
    "gelu": ["gelu_module", "gelu_erf_divided", "gelu_erf_scaled"],
}


@pytest.mark.parametrize("idea", IDEAS)
def test_spellings_of_one_idea_compute_the_same(idea):
    results = {}
    for name in IDEAS[idea]:
        results[name] = run_torch(make_spellings.network(name), list(make_spellings.inputs(name).values()))[0]
    first = results.pop(IDEAS[idea][0])
    for name, result in results.items():
        np.testing.assert_allclose(result, first, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", make_small.PICTURES)
def test_pictures_follow_the_contract(name):
    from PIL import Image

    from models.picture import load_picture

    path = MODELS / "pictures" / name
    image = load_picture(path)
    assert image.shape == (1, 3, 224, 224) and image.dtype == torch.float32
    with Image.open(path) as picture:
        pixel = picture.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR).getpixel((100, 50))
    expected = [(value / 255 - mean) / std
                for value, mean, std in zip(pixel, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    np.testing.assert_allclose(image[0, :, 50, 100], expected, atol=1e-6)
