"""Writes models/spelled: every network of models/spellings.py by both exporters, with seeded inputs and outputs.

    python -m models.make_spellings [--folder FOLDER] [NAME ...]

Each folder SPELLING_EXPORTER is in ONNX backend-test layout; its outputs come from torch.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.exporting import Options, export
from models.reference import run_torch, write_data_set
from models.spellings import SPELLINGS
from models.weights import seed_weights

HERE = Path(__file__).resolve().parent
SEED = 1
EXPORTERS = {
    "ts16": Options("torchscript", 16, notes=False),
    "ts17": Options("torchscript", 17, dynamic_batch=True, notes=False),
    "dynamo18": Options("dynamo", 18, notes=False),
    "dynamo20": Options("dynamo", 20, dynamic_batch=True, notes=False),
}


def network(name: str) -> nn.Module:
    """A spelling with its weights."""
    made = SPELLINGS[name].make()
    seed_weights(made, SEED)
    return made.eval()


def inputs(name: str) -> dict[str, torch.Tensor]:
    """A spelling's inputs."""
    made = {}
    for key, shape in SPELLINGS[name].inputs.items():
        random = np.random.default_rng([SEED, zlib.crc32(key.encode())])
        made[key] = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
    return made


def make_spelling(name: str, exporter: str, folder: Path) -> None:
    """Writes one folder."""
    made, given, outputs = network(name), inputs(name), SPELLINGS[name].outputs
    export(made, given, outputs, {}, EXPORTERS[exporter], folder / "model.onnx")
    results = run_torch(made, list(given.values()))
    write_data_set(folder / "test_data_set_0", {key: value.numpy() for key, value in given.items()},
                   dict(zip(outputs, results, strict=True)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.make_spellings", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE / "spelled", help="where to (default: %(default)s)")
    parser.add_argument("names", metavar="NAME", nargs="*", help="which spellings (default: all)")
    options = parser.parse_args(arguments)
    for name in options.names or SPELLINGS:
        for exporter in EXPORTERS:
            make_spelling(name, exporter, options.folder / f"{name}_{exporter}")


if __name__ == "__main__":
    main()
