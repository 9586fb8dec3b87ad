"""ONNX Runtime, its default optimisations, inputs and outputs bound once."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

PACKAGE = "onnxruntime"


def version() -> str:
    return onnxruntime.__version__


class Engine:
    def __init__(self, request: dict, inputs: dict) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        # An open batch is made fixed: shape arithmetic folds, as it does in a static export.
        for symbol in request["symbols"]:
            options.add_free_dimension_override_by_name(symbol, request["batch"])
        self.flags = "CPU provider, all graph optimisations (default), intra_op threads as said, inter_op 1, open dimension fixed, IO binding"
        self.session = onnxruntime.InferenceSession(request["file"], options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        for name, value in inputs.items():
            self.binding.bind_cpu_input(name, value)
        self.names = [output.name for output in self.session.get_outputs()]
        for name in self.names:
            self.binding.bind_output(name, "cpu")

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> dict:
        return dict(zip(self.names, self.binding.copy_outputs_to_cpu()))
