"""What the tests share: running an exported file in onnxruntime and comparing it with torch."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def run_file(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What onnxruntime computes, by output name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def worst(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest absolute difference over all outputs, which must have the same names and shapes."""
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].shape == value.shape, name
        assert np.isfinite(value).all(), name
    return max(float(np.abs(got[name] - value).max()) for name, value in expected.items())


def read_data_set(folder: Path, model: onnx.ModelProto) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and outputs of a backend-test folder, by name."""
    def tensors(kind: str, count: int) -> dict[str, np.ndarray]:
        protos = [onnx.load_tensor(folder / f"{kind}_{i}.pb") for i in range(count)]
        return {proto.name: numpy_helper.to_array(proto) for proto in protos}

    return tensors("input", len(model.graph.input)), tensors("output", len(model.graph.output))
