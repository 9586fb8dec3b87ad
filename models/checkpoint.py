"""Loading a published checkpoint into one of our networks."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

WRAPPERS = ("model_state_dict", "state_dict", "model")
PREFIX = "module."

# What checkpoints hold and inference never reads.
UNUSED = re.compile(
    r"^(face_landback\.output_layer\.|ir_back\.output_layer\.|VIT\.(patch_embed|eca_block|CON1|IRLinear\d)\."
    r"|VIT\.blocks\.\d+\.conv\.|VIT\.head\.|VIT\.head_vae\.|level_embeds$|fusion_norm\.)|\.num_batches_tracked$"
)
# What a checkpoint may lack: counters, and buffers that are computed from the window's size.
DERIVED = re.compile(r"\.(num_batches_tracked|relative_position_index)$")


class CheckpointError(ValueError):
    """A checkpoint that can't be used, with the reason."""


def state_dict_of(content: object, source: str) -> dict[str, Tensor]:
    """The tensors by name, out of the wrappers and prefixes that training scripts leave around them."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source}: holds a {type(content).__name__}, expected tensors by name")
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{source}: holds no tensors; keys: {', '.join(map(str, list(content)[:8])) or 'none'}")
    while all(name.startswith(PREFIX) for name in state):
        state = {name[len(PREFIX):]: value for name, value in state.items()}
    return state


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` or ``.pth`` file. Nothing in the file is executed."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a checkpoint of weights alone: {reason}") from error
    return state_dict_of(content, str(path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str = "checkpoint") -> list[str]:
    """Copies ``state`` into ``model``. Returns the names that neither the model nor any known training code uses.

    Every name the model needs must be there, with the model's shape; otherwise an error lists all that are not.
    """
    own = model.state_dict()
    missing = sorted(name for name in own if name not in state and not DERIVED.search(name))
    wrong = [f"{name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}"
             for name, value in own.items() if name in state and state[name].shape != value.shape]
    problems = [f"{source}: does not fit the variant"] if missing or wrong else []
    if missing:
        problems.append(f"  missing {len(missing)}: {', '.join(missing)}")
    if wrong:
        problems.append(f"  of another shape {len(wrong)}: {'; '.join(wrong)}")
    if problems:
        raise CheckpointError("\n".join(problems))
    model.load_state_dict(state, strict=False)
    return sorted(name for name in state if name not in own and not UNUSED.search(name))


def load_checkpoint(model: nn.Module, path: Path) -> list[str]:
    """``load_state`` from a file."""
    return load_state(model, read_checkpoint(path), str(path))
