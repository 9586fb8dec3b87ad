"""Reference inputs and outputs beside an exported model, in ONNX backend-test layout and as numpy files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn


@torch.no_grad()
def run_torch(network: nn.Module, inputs: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
    """What torch computes."""
    results = network(*inputs)
    results = (results,) if isinstance(results, Tensor) else results
    return tuple(result.numpy() for result in results)


def write_data_set(folder: Path, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
    """``input_0.pb``, ..., ``output_0.pb``, ...: one tensor a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for i, (name, value) in enumerate(tensors.items()):
            proto = numpy_helper.from_array(np.ascontiguousarray(value), name)
            (folder / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def write_arrays(folder: Path, case: str, tensors: Mapping[str, np.ndarray]) -> None:
    """``CASE.NAME.npy`` for every tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in tensors.items():
        np.save(folder / f"{case}.{name}.npy", np.ascontiguousarray(value))
