"""PyTorch eager in inference_mode, on our own definition of the network, pickled whole beside its export."""

import torch

PACKAGE = "torch"


def version() -> str:
    return torch.__version__


class Engine:
    def __init__(self, request: dict, inputs: dict) -> None:
        torch.set_num_threads(request["threads"])
        torch.set_num_interop_threads(1)
        self.flags = "eager, inference_mode, num_threads as said, interop 1"
        self.network = torch.load(request["file"], weights_only=False).eval()
        self.values = [torch.from_numpy(value) for value in inputs.values()]
        self.names = request["output_names"]

    def run(self) -> None:
        with torch.inference_mode():
            self.found = self.network(*self.values)

    def outputs(self) -> dict:
        found = self.found if isinstance(self.found, (tuple, list)) else (self.found,)
        return {name: value.numpy() for name, value in zip(self.names, found, strict=True)}
