"""Writes hypot.onnx: distance = sqrt(x*x + y*y) of two float vectors of 5, for the plugin's test. Needs the onnx package."""

import pathlib

from onnx import TensorProto, checker, helper, save

nodes = [
    helper.make_node("Mul", ["x", "x"], ["xx"], name="square_x"),
    helper.make_node("Mul", ["y", "y"], ["yy"], name="square_y"),
    helper.make_node("Add", ["xx", "yy"], ["sum"], name="sum"),
    helper.make_node("Sqrt", ["sum"], ["distance"], name="root"),
]
ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in ("x", "y", "distance")]
graph = helper.make_graph(nodes, "hypot", ports[:2], ports[2:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model)
save(model, pathlib.Path(__file__).with_name("hypot.onnx"))
