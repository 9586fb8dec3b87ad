"""MNN, precision high (fp32), on what mnnconvert makes of the same ONNX file. Inputs are copied in at every run: it reuses their memory."""

import MNN
import numpy as np

PACKAGE = "_mnncengine"


def version() -> str:
    return MNN.version()


def host_tensor(value: np.ndarray):
    return MNN.Tensor(value.shape, MNN.Halide_Type_Float, value, MNN.Tensor_DimensionType_Caffe)


class Engine:
    def __init__(self, request: dict, inputs: dict) -> None:
        self.interpreter = MNN.Interpreter(request["file"])
        self.session = self.interpreter.createSession({"backend": "CPU", "precision": "high", "numThread": request["threads"]})
        self.flags = "CPU, precision high, numThread as said"
        ports = self.interpreter.getSessionInputAll(self.session)
        missing = sorted(set(inputs) - set(ports))
        if missing:
            raise RuntimeError(f"mnnconvert lost input {missing[0]}")
        different = [name for name, value in inputs.items() if tuple(ports[name].getShape()) != value.shape]
        for name in different:
            self.interpreter.resizeTensor(ports[name], inputs[name].shape)
        if different:
            self.interpreter.resizeSession(self.session)
        self.pairs = [(ports[name], host_tensor(value)) for name, value in inputs.items()]
        self.kept = inputs

    def run(self) -> None:
        for port, value in self.pairs:
            port.copyFrom(value)
        self.interpreter.runSession(self.session)

    def outputs(self) -> dict:
        found = {}
        for name, port in self.interpreter.getSessionOutputAll(self.session).items():
            host = host_tensor(np.zeros(port.getShape(), np.float32))
            port.copyToHostTensor(host)
            found[name] = np.array(host.getNumpyData()).reshape(port.getShape())
        return found
