"""Writes random small models with inputs and ONNX Runtime's outputs (optimisations off) in the layout of the ONNX backend tests, for the
conformance program.  usage: generate.py --seed K --count N [--family NAME] DIRECTORY"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import random
import re
import traceback

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import attention  # noqa: E402
import convolutions  # noqa: E402
import elementwise  # noqa: E402
import indexing  # noqa: E402
import movement  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
import products  # noqa: E402
import reductions  # noqa: E402
import spellings  # noqa: E402
from builder import Graph, is_open  # noqa: E402
from onnx import numpy_helper  # noqa: E402

CONV, POOL, BN = convolutions.convolution, convolutions.pool, convolutions.channel_norm
ELEMENT, MOVE, REDUCE = elementwise.elementwise, movement.movement, reductions.reduction
# What a family starts with, and what it goes on with.
FAMILIES = {
    "conv": ([CONV], [CONV] * 5 + [POOL, BN, convolutions.resize, ELEMENT, MOVE, REDUCE]),
    "image": ([POOL, BN, convolutions.transposed, convolutions.resize, convolutions.shared], [CONV, POOL, BN, convolutions.resize, convolutions.depth, ELEMENT]),
    "attention": ([attention.attention, attention.attention, attention.plain, attention.whole], [spellings.normalise, products.linear, ELEMENT, MOVE]),
    "tokens": ([attention.tokens], [attention.attention, spellings.normalise, products.linear, products.linear, spellings.act]),
    "norm": ([spellings.normalise], [spellings.normalise, spellings.act, spellings.act, ELEMENT, MOVE]),
    "product": ([products.linear, products.matmul, products.einsum], [products.linear, products.matmul, products.einsum, ELEMENT, MOVE]),
    "elementwise": ([ELEMENT, ELEMENT, elementwise.special, elementwise.integers], [ELEMENT] * 5 + [MOVE] * 2 + [REDUCE]),
    "movement": ([ELEMENT, movement.chain], [ELEMENT] + [MOVE] * 3 + [movement.chain]),
    "index": ([indexing.indexing], [indexing.indexing] * 3 + [ELEMENT, MOVE, REDUCE]),
    "shape": ([reductions.shapes], [reductions.shapes] * 2 + [MOVE, MOVE, REDUCE, ELEMENT]),
    "mixed": (
        [ELEMENT],
        [CONV, POOL, products.linear, attention.attention, spellings.normalise, ELEMENT, MOVE, REDUCE, indexing.indexing, reductions.shapes, products.matmul],
    ),
}
OPSETS = [9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 20, 21, 22, 23]
LARGEST = 1e4  # numbers beyond it prove little
ABSOLUTE, RELATIVE = 2e-5, 2e-3  # what the conformance program is told


def build(seed: int, family: str | None) -> tuple[str, onnx.ModelProto | None, Graph]:
    """One model; the seed decides all of it."""
    rng = random.Random(seed)
    chosen = rng.choice(list(FAMILIES))
    family = family or chosen
    graph = Graph(rng, rng.choice(OPSETS), open_sizes=rng.random() < 0.3)
    first, further = FAMILIES[family]
    rng.choice(first)(graph)
    for _ in range(rng.choice([0, 1, 2, 3, 4, 6, 8])):
        rng.choice(further)(graph)
    if not any(v.name not in graph.inputs for v in graph.values):
        return family, None, graph
    return family, graph.finish(), graph


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same floats, each a few units in the last place off."""
    if array.dtype.kind != "f":
        return array
    off = rng.uniform(-1, 1, array.shape) * (2**-10 if array.dtype.itemsize == 2 else 3e-7)
    with np.errstate(all="ignore"):
        return np.asarray(array * (1 + off)).astype(array.dtype)


def cancels(graph: Graph, outputs: list) -> bool:
    """ONNX Runtime keeps float32 between operators on half precision: where those sum up, small results are what is left of rounding."""
    if not any(v.dtype == np.float16 and v.name.startswith("v") for v in graph.values) or not any(n.op_type.startswith("Reduce") for n in graph.nodes):
        return False
    return any(a.dtype.kind == "f" and (np.abs(a) < 2e-3).any() for a in outputs)


def nudged_all(inputs: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([2, seed])
    return {name: nudged(array, rng) for name, array in inputs.items()}


def nudge(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng([1, seed])
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        if tensor.data_type in (1, 10, 11):
            tensor.CopyFrom(numpy_helper.from_array(nudged(numpy_helper.to_array(tensor), rng), tensor.name))
    return other


def steady(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether b is twice as near to a as the comparison will demand of another implementation."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool((a == b).all())
    relative = 2**-9 if a.dtype.itemsize == 2 else RELATIVE / 2
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= ABSOLUTE / 2 + relative * np.abs(b))
    return bool(same.all()) and np.abs(a[np.isfinite(a)]).max(initial=0) <= LARGEST


# ONNX Runtime's answer for none of a thing is its own: 0 for a mean, an error for a maximum.
NOT_OF_NONE = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceLogSum", "ReduceLogSumExp", "ReduceL2", "ReduceSumSquare", "GlobalAveragePool"}
NOT_OF_NONE |= {"GlobalMaxPool", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization", "ArgMax", "ArgMin"}


def of_size(graph: Graph, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Inputs of other sizes."""
    now = {}
    for v in graph.values:
        if v.name in graph.inputs:
            shape = [sizes[d.symbol] if is_open(d) else int(d) for d in v.shape]
            now[v.name] = graph.array(shape, v.dtype, *graph.ranges[v.name])
    return now


def data_sets(graph: Graph, fits) -> list[dict[str, np.ndarray]]:
    """The inputs, and as many more as the open sizes have other numbers. Where one of them is 0, ONNX Runtime checks little: those
    count if it takes 1 as well."""
    if graph.positive and any(numbers[0] == 0 for numbers in graph.symbols.values()):
        return []
    sets = [graph.inputs]
    for which in (1, 2):
        sizes = {symbol: numbers[which] for symbol, numbers in graph.symbols.items()}
        if not sizes:
            break
        if 0 in sizes.values():
            if graph.positive or any(n.op_type in NOT_OF_NONE for n in graph.nodes) or not fits(of_size(graph, {s: n or 1 for s, n in sizes.items()})):
                continue
        sets.append(of_size(graph, sizes))
    return sets


def write(directory: pathlib.Path, model: onnx.ModelProto, graph: Graph, notes: dict[str, int]) -> bool:
    """False when ONNX Runtime refuses the model or its numbers are too wild or too touchy to compare."""
    names = [v.name for v in graph.outputs]
    runs = []
    try:
        # Half a precision is noise more often: more tries.
        tries = 3 if any(v.dtype == np.float16 for v in graph.values) else 1
        first, others = session(model), [session(nudge(model, k)) for k in range(tries)]

        def fits(inputs) -> bool:
            try:
                first.run(names, inputs)
            except Exception:  # noqa: BLE001 - whatever it raises
                return False
            return True

        for inputs in data_sets(graph, fits):
            try:
                outputs = first.run(names, inputs)
                near = [other.run(names, nudged_all(inputs, k)) for k, other in enumerate(others)]
            except Exception:  # noqa: BLE001 - other sizes need not fit
                if not runs:
                    raise
                continue
            outputs = [np.asarray(a) for a in outputs]
            if all(steady(a, np.asarray(b)) for run in near for a, b in zip(outputs, run)) and not cancels(graph, outputs):
                runs.append((inputs, outputs))
            else:
                notes["touchy"] = notes.get("touchy", 0) + 1
                if not runs:
                    return False
    except Exception as error:  # noqa: BLE001 - whatever it raises, the graph proves nothing
        text = re.sub(r"[0-9]+", "#", str(error))[:150]
        notes[text] = notes.get(text, 0) + 1
        if os.environ.get("MIEN_RANDOM_VERBOSE"):
            print(f"{directory.name}: {error}")
        return False
    if not runs:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(model, directory / "model.onnx")
    ports = [i.name for i in model.graph.input]
    for at, (inputs, outputs) in enumerate(runs):
        data = directory / f"test_data_set_{at}"
        data.mkdir(exist_ok=True)
        for prefix, arrays, labels in (("input", [inputs.get(n) for n in ports], ports), ("output", outputs, names)):
            for i, (array, name) in enumerate(zip(arrays, labels)):
                if array is not None:  # an initializer that is an input has none
                    (data / f"{prefix}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())
    return True


def work(arguments: argparse.Namespace, first: int, report) -> None:
    """Seeds from `first` on; a line before each and one at the end say how far it came."""
    for seed in range(first, arguments.seed + arguments.count):
        report(f"seed {seed}")
        notes: dict[str, int] = {}
        family, model, graph = build(seed, arguments.family)
        if model is not None and graph.outputs and write(arguments.directory / f"test_{family}_{seed}", model, graph, notes):
            report("written")
        for note in notes:
            report(f"note {note}")


def apart(arguments: argparse.Namespace, first: int) -> tuple[int, list[str]]:
    """The same in a child, because some models end ONNX Runtime by a signal; the seed after the last one begun, and what it said."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends[0])
        try:
            work(arguments, first, lambda line: os.write(ends[1], line.replace("\n", " ").encode() + b"\n"))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fault of ours: shown, and the parent fails
            traceback.print_exc()
            os._exit(1)
    os.close(ends[1])
    with os.fdopen(ends[0]) as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"generate.py: stopped at {[line for line in lines if line.startswith('seed')][-1]}")
    if os.WIFSIGNALED(status):
        lines.append(f"note onnxruntime ended by signal {os.WTERMSIG(status)}")
    return 1 + max(int(line.split()[1]) for line in lines if line.startswith("seed ")), lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first model; the others follow")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("directory", type=pathlib.Path)
    arguments = parser.parse_args()
    written, at, notes = 0, arguments.seed, collections.Counter()
    while at < arguments.seed + arguments.count:
        at, lines = apart(arguments, at)
        written += lines.count("written")
        notes.update(line[5:] for line in lines if line.startswith("note "))
    for text, count in notes.most_common():
        print(f"{count:5d} {text}")
    print(f"{written} of {arguments.count} models written")


if __name__ == "__main__":
    main()
