"""Writes random small models with inputs and ONNX Runtime's outputs (optimisations off) in the layout of the ONNX backend tests, for the
conformance program.  usage: generate.py --seed K --count N DIRECTORY"""

from __future__ import annotations

import argparse
import os
import pathlib
import random

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import nodes  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from builder import Graph  # noqa: E402
from onnx import numpy_helper  # noqa: E402

FAMILIES = {
    "conv": [nodes.convolution] * 5 + [nodes.pool, nodes.elementwise, nodes.reduction],
    "attention": [nodes.attention, nodes.layer, nodes.linear, nodes.elementwise],
    "elementwise": [nodes.elementwise] * 5 + [nodes.movement] * 2 + [nodes.reduction],
    "movement": [nodes.elementwise] + [nodes.movement] * 5,
    "mixed": [nodes.convolution, nodes.pool, nodes.linear, nodes.attention, nodes.layer, nodes.elementwise, nodes.movement, nodes.reduction],
}


def build(seed: int) -> tuple[str, onnx.ModelProto, Graph]:
    """One model; the seed decides all of it."""
    rng = random.Random(seed)
    family = rng.choice(list(FAMILIES))
    graph = Graph(rng, rng.choice([13, 14, 15, 16, 17, 18, 19, 20]))
    first = {"conv": nodes.convolution, "attention": nodes.attention}.get(family, nodes.elementwise)
    first(graph)
    for _ in range(rng.randrange(1, 8)):
        rng.choice(FAMILIES[family])(graph)
    return family, graph.finish(dynamic=rng.random() < 0.25), graph


def write(directory: pathlib.Path, model: onnx.ModelProto, graph: Graph) -> bool:
    """False when ONNX Runtime refuses the model or the numbers are too wild to compare."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs = session.run([v.name for v in graph.outputs], graph.inputs)
    except Exception as error:  # noqa: BLE001 - whatever it raises, the graph proves nothing
        print(f"{directory.name}: refused by onnxruntime: {str(error)[:150]}")
        return False
    if any(a.dtype.kind == "f" and a.size and np.abs(a[np.isfinite(a)]).max(initial=0) > 1e4 for a in outputs):
        return False
    data = directory / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    onnx.save(model, directory / "model.onnx")
    names = [i.name for i in model.graph.input]
    for prefix, arrays, labels in (("input", [graph.inputs[n] for n in names], names), ("output", outputs, [v.name for v in graph.outputs])):
        for i, (array, name) in enumerate(zip(arrays, labels)):
            (data / f"{prefix}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first model; the others follow")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("directory", type=pathlib.Path)
    arguments = parser.parse_args()
    written = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        family, model, graph = build(seed)
        if graph.outputs:
            written += write(arguments.directory / f"test_{family}_{seed}", model, graph)
    print(f"{written} of {arguments.count} models written")


if __name__ == "__main__":
    main()
