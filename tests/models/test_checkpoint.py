"""Published checkpoints: wrappers, prefixes, unused names, and clear refusals."""

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; scripts/venv.sh installs it")

from models.checkpoint import CheckpointError, load_checkpoint, load_state
from models.exporting import CheckpointWarning, build

NAME = "poster_var_small"
UNUSED = {
    "VIT.CON1.weight": torch.zeros(2, 2, 1, 1),
    "VIT.blocks.0.conv.weight": torch.zeros(3, 3, 1),
    "VIT.head.linear.weight": torch.zeros(7, 16),
    "VIT.head_vae.layernorm.weight": torch.zeros(16),
    "face_landback.output_layer.linear.weight": torch.zeros(2, 2),
    "ir_back.output_layer.0.weight": torch.zeros(2),
}


def weights(seed: int = 5) -> dict[str, torch.Tensor]:
    """What training code saves: more than inference needs."""
    return dict(build(NAME, seed).state_dict()) | UNUSED


def save(folder: Path, content: object) -> Path:
    path = folder / "checkpoint.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefixes_are_taken_off(tmp_path, wrapper, prefix):
    state = {prefix + name: value for name, value in weights().items()}
    path = save(tmp_path, state if wrapper is None else {wrapper: state, "epoch": 7, "best_acc": 0.93})
    network = build(NAME, 1)
    assert load_checkpoint(network, path) == []
    for name, value in build(NAME, 5).state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_counters_and_position_indices_may_be_absent():
    state = {name: value for name, value in weights().items()
             if not name.endswith(("num_batches_tracked", "relative_position_index"))}
    assert load_state(build(NAME, 1), state) == []


def test_every_missing_name_is_listed():
    state = weights()
    del state["conv1.bias"], state["VIT.head_vae.fc_logvar.weight"]
    with pytest.raises(CheckpointError, match="missing 2: VIT.head_vae.fc_logvar.weight, conv1.bias"):
        load_state(build(NAME, 1), state, "x.pth")


def test_another_number_of_classes_is_refused():
    with pytest.raises(CheckpointError, match=r"VIT.head_vae.fc_mu.weight is \(7, 16\), expected \(8, 16\)"):
        load_state(build("poster_var_small_ferplus8", 1), weights())


def test_a_refused_checkpoint_changes_nothing():
    network, state = build(NAME, 1), weights()
    del state["conv1.bias"]
    with pytest.raises(CheckpointError):
        load_state(network, state)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in build(NAME, 1).state_dict().items())


def test_a_variant_without_layer_embedding_leaves_it_unread():
    assert load_state(build("poster_var_small_flat", 1), weights()) == []


def test_unknown_names_are_told(tmp_path):
    path = save(tmp_path, weights() | {"VIT.surprise.weight": torch.zeros(1)})
    with pytest.warns(CheckpointWarning, match="1 unknown names ignored: VIT.surprise.weight"):
        build(NAME, checkpoint=path)


class Payload:
    """What must not be loaded."""

    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"model": Payload()}, protocol=2)],
                         ids=["empty", "text", "pickle"])
def test_other_files_are_refused_and_nothing_runs(tmp_path, capsys, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="x.pth: not a checkpoint of weights alone"):
        load_checkpoint(build(NAME, 1), path)
    assert "executed" not in capsys.readouterr().out


def test_a_pickled_object_in_torchs_own_format_is_refused(tmp_path, capsys):
    with pytest.raises(CheckpointError, match="not a checkpoint of weights alone"):
        load_checkpoint(build(NAME, 1), save(tmp_path, {"model": Payload()}))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    with pytest.raises(CheckpointError, match="holds"):
        load_checkpoint(build(NAME, 1), save(tmp_path, content))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="none.pth: No such file"):
        load_checkpoint(build(NAME, 1), tmp_path / "none.pth")
