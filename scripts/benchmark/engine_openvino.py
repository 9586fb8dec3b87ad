"""OpenVINO, latency hint, one stream, in fp32 or in its own default precision (bf16 where the CPU has it)."""

import openvino

PACKAGE = "openvino"


def version() -> str:
    return openvino.get_version().split("-")[0]


class Engine:
    def __init__(self, request: dict, inputs: dict) -> None:
        core = openvino.Core()
        model = core.read_model(request["file"])
        model.reshape({name: list(value.shape) for name, value in inputs.items()})
        config = {"INFERENCE_NUM_THREADS": request["threads"], "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if request["precision"] == "fp32":
            config["INFERENCE_PRECISION_HINT"] = "f32"
        self.compiled = core.compile_model(model, "CPU", config)
        used = self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if (used == "f32") != (request["precision"] == "fp32"):
            raise RuntimeError(f"OpenVINO computes in {used} on this CPU, {request['precision']} was asked for")
        self.flags = f"INFERENCE_PRECISION_HINT {used}{'' if request['precision'] == 'fp32' else ' (default)'}, LATENCY, 1 stream, INFERENCE_NUM_THREADS as said"
        self.request = self.compiled.create_infer_request()
        self.kept = {name: openvino.Tensor(value) for name, value in inputs.items()}
        for name, tensor in self.kept.items():
            self.request.set_tensor(name, tensor)

    def run(self) -> None:
        self.request.infer()

    def outputs(self) -> dict:
        return {port.get_any_name(): self.request.get_tensor(port).data for port in self.compiled.outputs}
