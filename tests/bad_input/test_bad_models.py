"""Hostile and broken models: one clear line, exit status 1, no file left, no signal, in two seconds and little memory."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed; scripts/venv.sh installs it")

import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

# Of a child. Processor time, which other work on the machine does not lengthen; one that sleeps is stopped after a while. The
# address space includes libraries.
SECONDS, ASLEEP, MEMORY = 4, 120, 3 << 30


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def refuse(mien: Path, folder: Path, data: bytes | None, *expected: str, name: str = "bad.onnx") -> str:
    """Converts, and expects a refusal that names what is wrong. Returns the message."""
    model, plan = folder / name, folder / "bad.plan"
    if data is not None:
        model.write_bytes(data)
    done = subprocess.run([str(mien), "convert", str(model), "-o", str(plan)], capture_output=True, text=True, timeout=ASLEEP, check=False,
                          preexec_fn=limit)
    assert done.returncode == 1, (done.returncode, done.stderr[-500:])
    assert not plan.exists()
    assert not [f for f in os.listdir(folder) if f.startswith("bad.plan") or f.endswith(".tmp")]
    first = done.stderr.splitlines()[0]
    assert first.startswith("mien convert: ")
    for text in expected:
        assert text in done.stderr, done.stderr
    return done.stderr


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def port(name: str, shape=(2,), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs=None, outputs=None, initializers=(), opset=17, **kwargs) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs if inputs is not None else [port("x")], outputs if outputs is not None else [port("y")],
                              list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **kwargs).SerializeToString()


def node(op: str, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, inputs, list(outputs), name=f"the_{op}", **attributes)


GOOD = model([node("Relu", ["x"])])


# ---- bytes


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x08\x08", b"<html><body>not found</body></html>", b"\x1f\x8b\x08\x00" + bytes(50),
                                  os.urandom(16) * 64, b"\x00" * 1000], ids=["empty", "one", "ir-only", "html", "gzip", "noise", "zeros"])
def test_not_a_model(mien, tmp_path, data):
    refuse(mien, tmp_path, data)


def test_every_truncation(mien, tmp_path):
    for length in range(len(GOOD)):
        refuse(mien, tmp_path, GOOD[:length])


@pytest.mark.parametrize("depth", [101, 3000, 100000])
def test_nested_graphs(mien, tmp_path, depth):
    inner = b""
    for _ in range(depth):  # graph{node{attribute{g{ ...
        inner = field(1, field(5, field(6, inner)))
        if len(inner) > 4_000_000:
            break
    refuse(mien, tmp_path, varint(1 << 3) + b"\x08" + field(7, inner), "nest" if depth < 100000 else "")


@pytest.mark.parametrize("number", [1, 5, 11], ids=["nodes", "initializers", "inputs"])
def test_a_million_empty_messages(mien, tmp_path, number):
    refuse(mien, tmp_path, varint(1 << 3) + b"\x08" + field(7, field(number, b"") * 1_000_000) + field(8, varint(2 << 3) + b"\x11"))


def test_a_graph_given_many_times(mien, tmp_path):
    refuse(mien, tmp_path, b"\x08\x08" + field(7, b"") * 200_000)


@pytest.mark.parametrize("tail", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x00\x00", b"\x0b", b"\x0e", b"\xff" * 11],
                         ids=["length-2^32", "length-2^63", "tag-0", "group", "wire-6", "varint-11"])
def test_bad_wire(mien, tmp_path, tail):
    refuse(mien, tmp_path, GOOD + tail)


def test_bad_names(mien, tmp_path):
    for bad in (b"a\0b", b"\xff\xfe", b"\xc0\xaf"):
        refuse(mien, tmp_path, b"\x08\x08" + field(7, field(1, field(1, b"x") + field(2, bad) + field(4, b"Relu"))))


def test_not_a_regular_file(mien, tmp_path):
    os.mkfifo(tmp_path / "bad.onnx")
    refuse(mien, tmp_path, None)
    (tmp_path / "folder.onnx").mkdir()
    refuse(mien, tmp_path, None, name="folder.onnx")
    refuse(mien, tmp_path, None, "missing.onnx", name="missing.onnx")


# ---- meaning


def test_all_unsupported_nodes_at_once(mien, tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), helper.make_node("Frobnicate", ["a"], ["b"], name="first_unknown"),
             helper.make_node("Other", ["b"], ["y"], name="second_unknown", domain="com.example")]
    graph = helper.make_graph(nodes, "g", [port("x")], [port("y")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 3)], ir_version=8)
    refuse(mien, tmp_path, data.SerializeToString(), "first_unknown", "Frobnicate", "second_unknown", "Other", "17", "com.example")


@pytest.mark.parametrize(("nodes", "expected"), [
    ([node("Relu", ["missing"])], ["missing"]),
    ([node("Add", ["y", "x"])], ["y"]),
    ([node("Add", ["x", "c"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["c"]), node("Relu", ["c"])], ["cycl"]),
    ([node("Relu", ["x"]), node("Abs", ["x"])], ["y"]),
    ([node("Relu", ["x"], ["a"])], ["y"]),
    ([node("Relu", [""])], ["input"]),
    ([node("Relu", ["x", "x"])], ["input"]),
    ([node("Relu", ["x"], colour=3)], ["colour"]),
    ([node("Concat", ["x", "x"], axis=7)], ["axis"]),
    ([node("Transpose", ["x"], perm=[0, 0])], ["perm"]),
], ids=["nobody", "itself", "cycle", "twice", "no-output", "absent", "too-many", "attribute", "axis", "perm"])
def test_wrong_graphs(mien, tmp_path, nodes, expected):
    refuse(mien, tmp_path, model(nodes), *expected)


def constant(values, name="c", dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


@pytest.mark.parametrize(("op", "constants", "attributes", "inputs"), [
    ("Reshape", [[3]], {}, [port("x")]),
    ("Reshape", [[-1, -1]], {}, [port("x")]),
    ("Reshape", [[2**62, 2**62]], {}, [port("x")]),
    ("Reshape", [[1] * 70], {}, [port("x")]),
    ("Expand", [[2**31, 2**31, 2]], {}, [port("x")]),
    ("Tile", [[2**62]], {}, [port("x")]),
    ("Tile", [[-1]], {}, [port("x")]),
    ("Gather", [2], {}, [port("x")]),
    ("Gather", [-3], {}, [port("x")]),
    ("Gather", [-(2**63)], {}, [port("x")]),
    ("Gather", [0], {"axis": 0}, [port("x", (0,))]),
    ("GatherND", [[[5]]], {}, [port("x")]),
    ("Slice", [[0], [1], [0], [0]], {}, [port("x")]),
    ("Slice", [[0], [1], [4]], {}, [port("x")]),
    ("Split", [[1, 2]], {"axis": 0}, [port("x")]),
    ("Unsqueeze", [[0, 0]], {}, [port("x")]),
    ("Squeeze", [[0]], {}, [port("x")]),
    ("Pad", [[-5, 0]], {}, [port("x")]),
    ("Conv", [], {}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3, 3))]),
    ("Conv", [], {"strides": [0, 1]}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"dilations": [0, 1]}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"group": 0}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"group": 3}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"pads": [2**62] * 4}, [port("x", (1, 2, 5, 5)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {}, [port("x", (1, 2, 2, 2)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {}, [port("x", (0, 2, 2, 2)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"dilations": [1, 2], "strides": [3, 3]}, [port("x", (1, 2, 3, 4)), port("w", (1, 2, 3, 3))]),
    ("Conv", [], {"auto_pad": "VALID"}, [port("x", (1, 2, 0, 5)), port("w", (1, 2, 1, 1))]),
    ("ConvTranspose", [], {"pads": [1, 1, 2, 2]}, [port("x", (1, 2, 1, 1)), port("w", (2, 3, 3, 3))]),
    ("MaxPool", [], {"kernel_shape": [4, 4]}, [port("x", (1, 2, 2, 2))]),
    ("AveragePool", [], {"kernel_shape": [1, 9], "strides": [2, 2]}, [port("x", (1, 2, 2, 2))]),
    ("LpPool", [], {"kernel_shape": [4, 4], "pads": [0, 0, 1, 0]}, [port("x", (1, 2, 2, 2))]),
    ("MaxPool", [], {"kernel_shape": [0, 1]}, [port("x", (1, 2, 5, 5))]),
    ("MaxPool", [], {"kernel_shape": [2]}, [port("x", (1, 2, 5, 5))]),
    ("MatMul", [], {}, [port("x", (2, 3)), port("w", (4, 5))]),
    ("Gemm", [], {}, [port("x", (2, 3)), port("w", (4, 5))]),
    ("Add", [], {}, [port("x", (2, 3)), port("w", (4,))]),
    ("Add", [], {}, [port("x"), port("w", (2,), TensorProto.INT64)]),
    ("Softmax", [], {"axis": 3}, [port("x")]),
    ("LayerNormalization", [], {"axis": 9}, [port("x"), port("w")]),
    ("ConstantOfShape", [], {}, [port("x", (70,), TensorProto.INT64)]),
], ids=str)
def test_wrong_nodes_are_named(mien, tmp_path, op, constants, attributes, inputs):
    initializers = [constant(c, f"c{i}") for i, c in enumerate(constants)]
    names = [i.name for i in inputs] + [i.name for i in initializers]
    outputs = ["y", "z"] if op == "Split" else ["y"]
    data = model([helper.make_node(op, names, outputs, name="the_culprit", **attributes)], inputs,
                 [helper.make_empty_tensor_value_info("y")], initializers)
    refuse(mien, tmp_path, data, "the_culprit", op)


def test_sizes_that_overflow(mien, tmp_path):
    refuse(mien, tmp_path, model([node("Add", ["x", "w"])], [port("x", (2**40, 1)), port("w", (1, 2**40))]), "limit")


def test_folding_is_bounded(mien, tmp_path):
    for shape in ([17592186044800], [2**31, 2**31, 4], [10**9, 10]):
        refuse(mien, tmp_path, model([node("ConstantOfShape", ["c"])], [], [helper.make_empty_tensor_value_info("y")], [constant(shape)]))
    doubling = [node("Concat", ["x0", "x0"], ["x1"], axis=0)] + [
        helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], name=f"double{i}", axis=0) for i in range(1, 64)]
    refuse(mien, tmp_path, model(doubling, [], [helper.make_empty_tensor_value_info("x64")], [constant([1, 2, 3, 4], "x0")]))


def test_opset_imports(mien, tmp_path):
    for imports in ([], [helper.make_opsetid("", 0)], [helper.make_opsetid("", 10**9)], [helper.make_opsetid("", 17), helper.make_opsetid("", 13)]):
        graph = helper.make_graph([node("Relu", ["x"])], "g", [port("x")], [port("y")])
        proto = onnx.ModelProto(ir_version=8, graph=graph)
        proto.opset_import.extend(imports)
        refuse(mien, tmp_path, proto.SerializeToString(), "import")


def test_a_newer_ir_version_is_no_reason(mien, tmp_path):
    graph = helper.make_graph([node("Relu", ["x"])], "g", [port("x")], [port("y")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    proto.ir_version = 99
    (tmp_path / "new.onnx").write_bytes(proto.SerializeToString())
    subprocess.run([str(mien), "convert", str(tmp_path / "new.onnx"), "-o", str(tmp_path / "new.plan")], check=True, capture_output=True)


def function(name: str, nodes) -> onnx.FunctionProto:
    return helper.make_function("local", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])


def test_functions_that_call_themselves(mien, tmp_path):
    call = lambda name: helper.make_node(name, ["a"], ["b"], domain="local")  # noqa: E731
    for functions in ([function("F", [call("F")])], [function("F", [call("G")]), function("G", [call("F")])]):
        graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="local", name="caller")], "g", [port("x")], [port("y")])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], functions=functions, ir_version=8)
        refuse(mien, tmp_path, proto.SerializeToString(), "F")


def test_functions_that_double(mien, tmp_path):
    """F0 calls F1 twice, F1 calls F2 twice ...: 2^40 nodes in a few kilobytes."""
    functions = [helper.make_function("local", f"F{i}", ["a"], ["b"], [helper.make_node(f"F{i + 1}", ["a"], ["m"], domain="local"),
                                                                         helper.make_node(f"F{i + 1}", ["m"], ["b"], domain="local")],
                                      [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]) for i in range(40)]
    functions.append(function("F40", [helper.make_node("Relu", ["a"], ["b"])]))
    graph = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="local")], "g", [port("x")], [port("y")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], functions=functions, ir_version=8)
    refuse(mien, tmp_path, proto.SerializeToString())


# ---- tensors


def tensor(**fields) -> onnx.TensorProto:
    proto = TensorProto(name="c", data_type=fields.pop("data_type", TensorProto.FLOAT), dims=fields.pop("dims", [2]))
    for key, value in fields.items():
        if isinstance(value, list):
            getattr(proto, key).extend(value)
        else:
            setattr(proto, key, value)
    return proto


@pytest.mark.parametrize("bad", [
    tensor(raw_data=b"1234567"), tensor(raw_data=b"1234"), tensor(raw_data=b"123456789012"), tensor(float_data=[1.0]),
    tensor(float_data=[1.0, 2.0, 3.0]), tensor(float_data=[1.0, 2.0], raw_data=b"12345678"), tensor(int64_data=[1, 2]), tensor(data_type=0),
    tensor(data_type=99), tensor(dims=[-1], raw_data=b""), tensor(dims=[2**62, 2**62], raw_data=b""), tensor(dims=[0, 2**62, 2**62]),
    tensor(data_type=TensorProto.INT4, dims=[700_000_000], raw_data=b"1"), tensor(dims=[1] * 70, raw_data=b"1234"), tensor(),
], ids=lambda t: " ".join(str(t).split())[:60])
def test_bad_tensors(mien, tmp_path, bad):
    refuse(mien, tmp_path, model([node("Add", ["x", "c"])], initializers=[bad]), "c")


# ---- external data


def external(mien, tmp_path, entries: dict[str, str], *expected: str) -> None:
    proto = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        proto.external_data.add(key=key, value=value)
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "data.bin").write_bytes(bytes(64))
    refuse(mien, folder, model([node("Add", ["x", "c"])], initializers=[proto]), *expected)


@pytest.mark.parametrize("location", ["../outside.bin", "a/../../outside.bin", "/etc/passwd", "//etc/passwd", "", ".", "a/", "missing.bin", "fifo",
                                      "out-link", "out-folder/outside.bin", "folder"])
def test_external_data_stays_in_its_folder(mien, tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").mkdir()
    (folder / "folder").mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(64))
    os.mkfifo(folder / "fifo")
    (folder / "out-link").symlink_to(tmp_path / "outside.bin")
    (folder / "out-folder").symlink_to(tmp_path)
    external(mien, tmp_path, {"location": location, "offset": "0", "length": "8"})


@pytest.mark.parametrize("entries", [
    {"offset": "-1"}, {"offset": "9223372036854775807"}, {"offset": "18446744073709551615"}, {"offset": "60", "length": "8"}, {"length": "-1"},
    {"length": "4"}, {"length": "1125899906842624"}, {"offset": "12abc"}, {"offset": " 12"}, {"offset": "0x10"}, {"offset": "1e1"},
    {"offset": "1" * 40}, {"offset": "64", "length": "8"}, {"length": "12"}], ids=str)
def test_external_numbers(mien, tmp_path, entries):
    external(mien, tmp_path, {"location": "data.bin", **entries})
