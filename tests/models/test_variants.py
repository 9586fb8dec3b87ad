"""The table, the networks it names, and their seeded weights."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

import numpy as np

from models.checkpoint import DERIVED, UNUSED
from models.exporting import build, known_names, natural_outputs
from models.poster import Poster
from models.reference import run_torch
from models.variants import FULL, VARIANTS
from models.weights import seeded_image

SMALL_NAMES = [name for name, variant in VARIANTS.items() if variant.size.name == "small"]
FULL_NAMES = [name for name, variant in VARIANTS.items() if variant.size.name == "full"]
NAMES = Path(__file__).with_name("checkpoint_names.txt")


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint of 7 classes, batch norms' counters left out."""
    shapes = {}
    for line in NAMES.read_text().splitlines():
        name, _, dims = line.partition(" ")
        shapes[name] = tuple(int(dim) for dim in dims.split(",") if dim)
    return shapes


def own_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of our definition, the counters left out."""
    with torch.device("meta"):
        network = Poster(VARIANTS[name])
    return {key: tuple(value.shape) for key, value in network.state_dict().items()
            if not key.endswith("num_batches_tracked")}


def parameter_count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_full_network_has_the_published_names_and_shapes():
    published, own = published_shapes(), own_shapes("poster_var_rafdb7")
    assert {name: published.get(name) for name in own} == own
    assert [name for name in published if name not in own and not UNUSED.search(name)] == []


def test_what_the_full_network_leaves_out_is_named_unused():
    left_out = set(published_shapes()) - set(own_shapes("poster_var_rafdb7"))
    groups = {".".join(name.split(".")[:2]) for name in left_out}
    assert groups == {"face_landback.output_layer", "ir_back.output_layer", "VIT.patch_embed", "VIT.eca_block",
                      "VIT.CON1", "VIT.IRLinear1", "VIT.IRLinear2", "VIT.blocks", "VIT.head", "VIT.head_vae"}


@pytest.mark.parametrize("name", FULL_NAMES)
def test_every_full_variant_keeps_the_published_shapes(name):
    published, variant = published_shapes(), VARIANTS[name]
    classes = len(variant.dataset.labels)
    for key, shape in own_shapes(name).items():
        if key.startswith(("embed_v.proj.", "embed_q.1.")):
            assert not variant.nonlinear, key
        elif key.startswith(("VIT.head.", "VIT.head_vae.")):
            assert shape[0] == classes and shape[1:] == published[key][1:], key
        else:
            assert shape == published[key], key
    assert ("level_embeds" in own_shapes(name)) == variant.layer_embedding
    assert ("fusion_norm.weight" in own_shapes(name)) == variant.nonlinear


@pytest.mark.parametrize("name, millions", [("resnet50", 25.557), ("mobilenetv2", 3.505), ("vit_s16", 22.051)])
def test_the_benchmark_networks_have_the_known_sizes(name, millions):
    assert parameter_count(build(name, None)) / 1e6 == pytest.approx(millions, abs=0.001)


def test_names_say_the_dataset_and_labels_are_distinct():
    assert len(known_names()) == len(set(known_names()))
    for name, variant in VARIANTS.items():
        labels = variant.dataset.labels
        assert len(labels) == len(set(labels)) == int(variant.dataset.name[-1])
        assert variant.head in ("vich", "linear")
        assert variant.size is not FULL or variant.dataset.name in name


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_small_outputs_have_the_classes_and_are_of_order_one(name):
    network = build(name, 1)
    outputs = run_torch(network, [seeded_image(1, 3)])
    assert len(outputs) == len(natural_outputs(name))
    for values in outputs:
        assert values.shape == (3, len(VARIANTS[name].dataset.labels))
        assert np.isfinite(values).all()
        assert 0.1 < np.abs(values).max() < 10
        assert np.abs(values[0] - values[1]).max() > 0.02, "does not depend on the picture"


@pytest.mark.parametrize("name", ["poster_var_small", "poster_pp_small"])
def test_every_weight_shows_in_the_outputs(name):
    network, image = build(name, 1), seeded_image(1)
    expected = np.concatenate(run_torch(network, [image]), axis=1)
    silent = []
    for key, value in network.state_dict().items():
        if DERIVED.search(key):
            continue
        before = value.clone()
        value.copy_(value.flatten().roll(1).view_as(value))
        changed = np.concatenate(run_torch(network, [image]), axis=1)
        value.copy_(before)
        if np.abs(changed - expected).max() < 5e-4:
            silent.append(key)
    assert silent == []


def test_seeded_weights_are_a_seeds_own():
    first, again, other = build("poster_var_small", 1), build("poster_var_small", 1), build("poster_var_small", 2)
    for (name, one), two, three in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
        assert not torch.equal(one, three), name


def test_seeded_batch_norms_are_not_trivial():
    norms = [layer for layer in build("poster_var_small", 1).modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all((norm.running_mean != 0).all() and (norm.running_var != 1).all() for norm in norms)
    assert any((norm.weight < 0).any() for norm in norms)


def test_windows_are_partitioned_and_put_back():
    from models.window_attention import window_partition, window_reverse

    x = torch.arange(2 * 6 * 9 * 4.0).view(2, 6, 9, 4)
    windows = window_partition(x, 3)
    assert windows.shape == (12, 3, 3, 4)
    assert torch.equal(windows[4], x[0, 3:6, 3:6])
    assert torch.equal(window_reverse(windows.view(12, 9, 4), 3, 6, 9), x)


def test_position_index_counts_rows_then_columns():
    from models.window_attention import relative_position_index

    index = relative_position_index(2)
    assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_more_windows_than_one_ask_the_same_queries():
    from models.window_attention import WindowCrossAttention

    torch.manual_seed(0)
    attention = WindowCrossAttention(8, 2, 3)
    windows, query = torch.randn(4, 9, 8), torch.randn(1, 1, 2, 9, 4)
    together = attention(windows, query)
    for i in range(4):
        assert torch.allclose(together[i:i + 1], attention(windows[i:i + 1], query), atol=1e-6)
