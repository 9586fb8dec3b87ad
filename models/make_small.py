"""Writes models/poster_var_small: the small network's export with reference inputs and outputs.

    python -m models.make_small [--folder FOLDER]

Cases: ``seeded``, and each picture of models/pictures after the picture contract. All outputs come from torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from models.exporting import INPUT, Options, export_variant, natural_outputs
from models.picture import load_picture
from models.reference import run_torch, write_arrays, write_data_set
from models.weights import seeded_image

HERE = Path(__file__).resolve().parent
NAME = "poster_var_small"
SEED = 1
PICTURES = ("astronaut.png", "grace_hopper.jpg")
OPTIONS = Options(exporter="torchscript", opset=17)


def cases() -> dict[str, torch.Tensor]:
    """The inputs by case."""
    pictures = {Path(name).stem: load_picture(HERE / "pictures" / name) for name in PICTURES}
    return {"seeded": seeded_image(SEED)} | pictures


def make_small(folder: Path) -> None:
    """Writes everything into ``folder``."""
    network = export_variant(NAME, folder / "model.onnx", OPTIONS, seed=SEED)
    for case, image in cases().items():
        outputs = dict(zip(natural_outputs(NAME), run_torch(network, [image]), strict=True))
        write_arrays(folder, case, {"input": image.numpy()} | outputs)
        if case == "seeded":
            write_data_set(folder / "test_data_set_0", {INPUT: image.numpy()}, outputs)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.make_small", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE / NAME, help="where to (default: %(default)s)")
    make_small(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
