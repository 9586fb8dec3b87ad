"""Every way of exporting agrees with torch in onnxruntime, and says in the file what it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

import onnx
from agreement import run_file, worst

from models.exporting import ExportError, Options, build, chosen_outputs, export_variant
from models.reference import run_torch
from models.variants import VARIANTS
from models.weights import seeded_image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "export.py"
WAYS = [Options("torchscript", opset, dynamic_batch=dynamic) for opset in (13, 16, 17, 20) for dynamic in (False, True)]
WAYS += [Options("dynamo", opset, dynamic_batch=dynamic) for opset in (None, 18) for dynamic in (False, True)]


def label(value: object) -> str | None:
    if isinstance(value, Options):
        return f"{value.exporter}{value.opset or 'default'}{'dynamic' if value.dynamic_batch else 'static'}"
    return None


def check(name: str, options: Options, path: Path, tolerance: float, outputs: list[str] | None = None) -> None:
    """Exports a variant and compares it with torch, at batch 3 too where the batch is open."""
    network = export_variant(name, path, options, seed=1, outputs=outputs)
    for batch in (1, 3) if options.dynamic_batch else (options.batch,):
        image = seeded_image(20 + batch, batch)
        expected = dict(zip(chosen_outputs(name, outputs), run_torch(network, [image]), strict=True))
        assert worst(run_file(path, {"image": image.numpy()}), expected) < tolerance


@pytest.mark.parametrize("name", ["poster_var_small", "poster_pp_small"])
@pytest.mark.parametrize("options", WAYS, ids=label)
def test_small_exports_agree(tmp_path, name, options):
    check(name, options, tmp_path / "model.onnx", 1e-4)


@pytest.mark.full
@pytest.mark.parametrize("name", ["poster_var_rafdb7", "poster_pp_rafdb7"])
@pytest.mark.parametrize("options", WAYS, ids=label)
def test_full_exports_agree(tmp_path, name, options):
    check(name, options, tmp_path / "model.onnx", 1e-3)
    (tmp_path / "model.onnx").unlink()


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.size.name == "full"]
                         + ["resnet50", "mobilenetv2", "vit_s16"])
def test_every_full_network_exports(tmp_path, name):
    check(name, Options("torchscript", 17, dynamic_batch=True), tmp_path / "model.onnx", 1e-3)
    (tmp_path / "model.onnx").unlink()


@pytest.mark.parametrize("name", ["poster_var_small_linear", "poster_var_small_flat", "poster_var_small_ferplus8"])
@pytest.mark.parametrize("options", [Options("torchscript", 17), Options("dynamo", dynamic_batch=True)], ids=label)
def test_the_other_small_variants_agree(tmp_path, name, options):
    check(name, options, tmp_path / "model.onnx", 1e-4)


@pytest.mark.parametrize("options", [Options("torchscript", 16), Options("dynamo")], ids=label)
def test_logits_alone_are_mu(tmp_path, options):
    path = tmp_path / "model.onnx"
    check("poster_var_small", options, path, 1e-4, ["logits"])
    image = seeded_image(1)
    mu, _ = run_torch(build("poster_var_small", 1), [image])
    assert worst(run_file(path, {"image": image.numpy()}), {"logits": mu}) < 1e-4


def test_a_fixed_batch_is_exported(tmp_path):
    path = tmp_path / "model.onnx"
    check("poster_var_small", Options(batch=2), path, 1e-4)
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


@pytest.mark.parametrize("options", [Options("torchscript", 17, dynamic_batch=True),
                                     Options("dynamo", dynamic_batch=True)], ids=label)
def test_the_file_says_what_it_is(tmp_path, options):
    path = tmp_path / "model.onnx"
    export_variant("poster_var_small_ferplus8", path, options)
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["mien.variant"] == "poster_var_small_ferplus8"
    assert json.loads(entries["mien.labels"]) == list(VARIANTS["poster_var_small_ferplus8"].dataset.labels)
    assert json.loads(entries["mien.picture"]) == {
        "width": 224, "height": 224, "color": "RGB", "resize": "pillow-bilinear",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 255}
    image = model.graph.input[0]
    dims = image.type.tensor_type.shape.dim
    assert (image.name, dims[0].dim_param, [dim.dim_value for dim in dims[1:]]) == ("image", "N", [3, 224, 224])
    assert [output.name for output in model.graph.output] == ["mu", "logvar"]
    assert str(SCRIPT.parent.parent) not in model.SerializeToString().decode("latin-1")


def test_initializers_have_the_checkpoints_names(tmp_path):
    path = tmp_path / "model.onnx"
    network = export_variant("poster_var_small", path, Options("dynamo"), seed=1, outputs=["logits"])
    names = {initializer.name for initializer in onnx.load(path).graph.initializer}
    kept = names & set(network.state_dict())
    assert {"conv1.weight", "VIT.head_vae.fc_mu.weight", "ir_back.body1.0.res_layer.0.running_mean"} <= kept


def test_weights_go_beside_the_model_when_asked(tmp_path):
    inside, outside = tmp_path / "inside.onnx", tmp_path / "outside.onnx"
    export_variant("poster_var_small", inside, seed=1)
    export_variant("poster_var_small", outside, Options(external_data=True), seed=1)
    assert outside.stat().st_size < 200_000 < (tmp_path / "outside.onnx.data").stat().st_size
    image = seeded_image(1).numpy()
    assert worst(run_file(outside, {"image": image}), run_file(inside, {"image": image})) == 0
    export_variant("poster_var_small", outside, seed=1)
    assert not (tmp_path / "outside.onnx.data").exists()


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for options in (Options(), Options("dynamo")):
        contents = set()
        for name in ("a.onnx", "b.onnx"):
            export_variant("poster_var_small", tmp_path / name, options, seed=3)
            contents.add((tmp_path / name).read_bytes())
        assert len(contents) == 1, options


@pytest.mark.parametrize("name, options, outputs, message", [
    ("poster_var_tiny", Options(), None, "no variant 'poster_var_tiny'; there are poster_var_rafdb7, "),
    ("poster_var_small", Options(opset=12), None, "torchscript exporter writes opset 13 to 20, asked for 12"),
    ("poster_var_small", Options("dynamo", 17), None, "dynamo exporter writes opset 18 to "),
    ("poster_var_small", Options("script"), None, "no exporter 'script'"),
    ("poster_var_small", Options(batch=0), None, "batch is 0"),
    ("poster_var_small", Options(), ["z"], "outputs of poster_var_small are mu,logvar or logits, asked for z"),
    ("poster_pp_small", Options(), ["mu", "logvar"], "outputs of poster_pp_small are logits, asked for mu,logvar"),
])
def test_what_cannot_be_exported_is_refused(tmp_path, name, options, outputs, message):
    with pytest.raises(ExportError, match=message):
        export_variant(name, tmp_path / "model.onnx", options, outputs=outputs)
    assert list(tmp_path.iterdir()) == []


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_the_command_exports(tmp_path):
    checkpoint, path = tmp_path / "weights.pt", tmp_path / "new" / "model.onnx"
    network = build("poster_var_small", 9)
    torch.save({"model": network.state_dict() | {"odd": torch.zeros(1)}}, checkpoint)
    done = command("--variant", "poster_var_small", "--checkpoint", checkpoint, "--opset", 16, "--dynamic-batch",
                   "--outputs", "mu,logvar", "-o", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: opset 16, IR 8, ") and len(done.stdout.splitlines()) == 1
    assert done.stderr == f"export.py: {checkpoint}: 1 unknown names ignored: odd\n"
    image = seeded_image(1, 2)
    expected = dict(zip(("mu", "logvar"), run_torch(network, [image]), strict=True))
    assert worst(run_file(path, {"image": image.numpy()}), expected) < 1e-4


def test_the_command_lists_and_refuses(tmp_path):
    listed = command("--list")
    assert listed.returncode == 0
    for name in VARIANTS:
        assert name in listed.stdout
    assert command().returncode == 2
    refused = command("--variant", "poster_var_small", "--outputs", "z", "-o", tmp_path / "m.onnx")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    refused = command("--variant", "poster_var_small", "--checkpoint", tmp_path / "none.pt", "-o", tmp_path / "m.onnx")
    assert (refused.returncode, refused.stderr) == (1, f"export.py: {tmp_path}/none.pt: No such file or directory\n")
