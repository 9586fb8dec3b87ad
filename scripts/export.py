#!/usr/bin/env python3
"""Exports a variant of the models folder to ONNX, with its labels and picture contract in the file's metadata."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from models import exporting
    from models.checkpoint import CheckpointError
    from models.variants import VARIANTS
except ModuleNotFoundError as error:
    sys.exit(f"export.py: no Python package {error.name}; run scripts/venv.sh, then .venv/bin/python scripts/export.py")

EXAMPLES = """\
examples:
  export.py --list
  export.py --variant poster_var_small -o small.onnx
  export.py --variant poster_var_rafdb7 --checkpoint rafdb.pth --dynamic-batch -o rafdb.onnx
  export.py --variant poster_var_affectnet8 --exporter dynamo --opset 18 --external-data -o affectnet.onnx
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="export.py", description=__doc__, epilog=EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="print the variants and leave")
    made.add_argument("--variant", metavar="NAME", help="which network; --list names them")
    made.add_argument("--checkpoint", metavar="FILE", type=Path,
                      help="trained weights, .pt or .pth; seeded ones otherwise")
    made.add_argument("--seed", metavar="K", type=int, default=0,
                      help="seed of the weights without a checkpoint (default: 0)")
    made.add_argument("--untrained", action="store_true",
                      help="PyTorch's own initial weights instead of seeded ones; not reproducible")
    made.add_argument("--exporter", choices=("torchscript", "dynamo"), default="torchscript",
                      help="which of PyTorch's exporters (default: torchscript)")
    made.add_argument("--opset", metavar="N", type=int,
                      help="13 to 20 for torchscript (default: 17), from 18 for dynamo (default: the exporter's own)")
    made.add_argument("--batch", metavar="N", type=int, default=1, help="batch of the export (default: 1)")
    made.add_argument("--dynamic-batch", action="store_true", help="leave the batch open, as the dimension N")
    made.add_argument("--outputs", metavar="NAMES",
                      help="mu,logvar, or logits, which is mu alone (default: all that the variant has)")
    made.add_argument("--external-data", action=argparse.BooleanOptionalAction, default=False,
                      help="weights in FILE.data beside the model (default: inside it)")
    made.add_argument("-o", "--output", metavar="FILE", type=Path, help="the file to write")
    return made


def print_variants() -> None:
    """One line a variant."""
    for name in exporting.known_names():
        variant = VARIANTS.get(name)
        if variant is None:
            print(f"{name:<28} 1000 classes, for benchmarks")
            continue
        fusion = "POSTER-Var" if variant.nonlinear else "POSTER++"
        embedding = "" if variant.layer_embedding or not variant.nonlinear else ", no layer embedding"
        print(f"{name:<28} {fusion}, {variant.head} head{embedding}, {variant.size.name}, {variant.dataset.name}: "
              f"{' '.join(variant.dataset.labels)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    options_parser = parser()
    options = options_parser.parse_args(arguments)
    if options.list:
        print_variants()
        return 0
    if options.variant is None or options.output is None:
        options_parser.error("--variant and --output are needed, or --list")
    if options.untrained and options.checkpoint:
        options_parser.error("--untrained and --checkpoint exclude each other")
    how = exporting.Options(exporter=options.exporter, opset=options.opset, batch=options.batch,
                            dynamic_batch=options.dynamic_batch, external_data=options.external_data)
    wanted = options.outputs.split(",") if options.outputs is not None else None
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            exporting.export_variant(options.variant, options.output, how, outputs=wanted,
                                     seed=None if options.untrained else options.seed, checkpoint=options.checkpoint)
    except (exporting.ExportError, CheckpointError) as error:
        print(f"export.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"export.py: {error.filename or options.output}: {error.strerror}", file=sys.stderr)
        return 1
    for note in notes:
        if issubclass(note.category, exporting.CheckpointWarning):
            print(f"export.py: {note.message}", file=sys.stderr)
    print(exporting.summary(options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
