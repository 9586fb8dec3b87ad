"""From a variant's name to an ONNX file that carries its labels and its picture contract."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from models.checkpoint import load_checkpoint
from models.poster import Poster
from models.variants import IMAGENET, VARIANTS, Picture, Variant
from models.weights import seed_weights, seeded_image
from models.zoo import ZOO

ROOT = Path(__file__).resolve().parent.parent
INPUT = "image"
BATCH = "N"
TORCHSCRIPT_OPSETS = range(13, 21)
DYNAMO_OPSETS = range(18, 27)
# Under this size a tensor stays in the model file, whatever happens to the others.
EXTERNAL_THRESHOLD = 1024

Inputs = Mapping[str, Tensor]


class ExportError(ValueError):
    """A combination of options that can't be exported, with the reason."""


class CheckpointWarning(UserWarning):
    """Something in a checkpoint that was not used and is not known to be unused."""


@dataclass(frozen=True)
class Options:
    """How to export. ``opset`` None is 17 for TorchScript and the exporter's own default for dynamo.

    ``notes`` keeps dynamo's account of where each node comes from, most of the size of a small file.
    """

    exporter: str = "torchscript"
    opset: int | None = None
    batch: int = 1
    dynamic_batch: bool = False
    external_data: bool = False
    notes: bool = True


def known_names() -> list[str]:
    """Every name ``build`` takes."""
    return [*VARIANTS, *ZOO]


def natural_outputs(name: str) -> list[str]:
    """The outputs of a variant, all of them."""
    return ["mu", "logvar"] if name in VARIANTS and VARIANTS[name].head == "vich" else ["logits"]


def chosen_outputs(name: str, wanted: Sequence[str] | None) -> list[str]:
    """``wanted`` checked against what the variant has; all it has when None. ``logits`` of a vich head is mu alone."""
    given = natural_outputs(name)
    if wanted is None:
        return given
    if list(wanted) not in (given, ["logits"]):
        possible = " or ".join(dict.fromkeys([",".join(given), "logits"]))
        raise ExportError(f"the outputs of {name} are {possible}, asked for {','.join(wanted) or 'none'}")
    return list(wanted)


def build(name: str, seed: int | None = 0, checkpoint: Path | None = None) -> nn.Module:
    """The network of a variant, ready to run: weights of a checkpoint, else of a seed, else PyTorch's own (None)."""
    if name in VARIANTS:
        network: nn.Module = Poster(VARIANTS[name])
    elif name in ZOO:
        network = ZOO[name]()
    else:
        raise ExportError(f"no variant {name!r}; there are {', '.join(known_names())}")
    if checkpoint is not None:
        unknown = load_checkpoint(network, checkpoint)
        if unknown:
            warnings.warn(f"{checkpoint}: {len(unknown)} unknown names ignored: {', '.join(unknown)}",
                          CheckpointWarning, stacklevel=2)
    elif seed is not None:
        seed_weights(network, seed)
    return network.eval()


def metadata(name: str) -> dict[str, str]:
    """What the file says about itself."""
    variant: Variant | None = VARIANTS.get(name)
    picture: Picture = variant.picture if variant else IMAGENET
    entries = {"mien.variant": name, "mien.picture": json.dumps(asdict(picture))}
    if variant:
        entries["mien.labels"] = json.dumps(variant.dataset.labels)
    return entries


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the exporters' progress, tracer warnings and deprecations; errors are exceptions and still come out."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def check_options(options: Options) -> None:
    """Refuses what the exporters would refuse later and less clearly, or do wrong."""
    allowed = {"torchscript": TORCHSCRIPT_OPSETS, "dynamo": DYNAMO_OPSETS}.get(options.exporter)
    if allowed is None:
        raise ExportError(f"no exporter {options.exporter!r}; there are torchscript, dynamo")
    if options.opset is not None and options.opset not in allowed:
        raise ExportError(f"the {options.exporter} exporter writes opset {allowed[0]} to {allowed[-1]}, "
                          f"asked for {options.opset}")
    if options.batch < 1:
        raise ExportError(f"the batch is {options.batch}, expected at least 1")


def write_torchscript(network: nn.Module, inputs: Inputs, outputs: Sequence[str], options: Options, path: Path) -> None:
    """The older exporter, which traces."""
    axes = {name: {0: BATCH} for name in (*inputs, *outputs)} if options.dynamic_batch else None
    torch.onnx.export(network, tuple(inputs.values()), str(path), dynamo=False, opset_version=options.opset or 17,
                      input_names=list(inputs), output_names=list(outputs), dynamic_axes=axes)


def write_dynamo(network: nn.Module, inputs: Inputs, outputs: Sequence[str], options: Options, path: Path) -> None:
    """The newer exporter, PyTorch's default. It takes a batch of 1 in the example as a constant."""
    values, shapes = tuple(inputs.values()), None
    if options.dynamic_batch:
        batch = torch.export.Dim(BATCH)
        shapes = tuple({0: batch} for _ in values)
        values = tuple(value if value.shape[0] > 1 else torch.cat((value, value)) for value in values)
    program = torch.onnx.export(network, values, None, dynamo=True, opset_version=options.opset,
                                input_names=list(inputs), output_names=list(outputs), dynamic_shapes=shapes,
                                verbose=False)
    assert program is not None
    program.save(str(path), external_data=False)


def finish(path: Path, entries: Mapping[str, str], options: Options, target: Path) -> None:
    """Adds the metadata, takes this machine's folders out of the nodes' notes, checks, and writes ``target``."""
    model = onnx.load(path)
    for key, value in sorted(entries.items()):
        model.metadata_props.add(key=key, value=value)
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = entry.value.replace(f"{ROOT}/", "")
    if not options.notes:
        drop_notes(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = target.with_name(target.name + ".data")
    data.unlink(missing_ok=True)
    onnx.save_model(model, str(target), save_as_external_data=options.external_data, all_tensors_to_one_file=True,
                    location=data.name, size_threshold=EXTERNAL_THRESHOLD)
    if data.exists():
        data.chmod(target.stat().st_mode)
    onnx.checker.check_model(str(target), full_check=True)


def drop_notes(model: onnx.ModelProto) -> None:
    """Removes what dynamo writes about every node and value: where in the source it comes from."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]


def export(network: nn.Module, inputs: Inputs, outputs: Sequence[str], entries: Mapping[str, str], options: Options,
           target: Path) -> None:
    """Writes ``network``, whose results are ``outputs``, to ``target``."""
    check_options(options)
    write = write_dynamo if options.exporter == "dynamo" else write_torchscript
    with tempfile.TemporaryDirectory() as folder, quiet(), torch.no_grad():
        path = Path(folder) / "model.onnx"
        write(network, inputs, outputs, options, path)
        finish(path, entries, options, target)


def export_variant(name: str, target: Path, options: Options = Options(), *, seed: int | None = 0,
                   checkpoint: Path | None = None, outputs: Sequence[str] | None = None) -> nn.Module:
    """Builds a variant, writes it to ``target`` and returns the network, which then has the same outputs."""
    picked = chosen_outputs(name, outputs)
    check_options(options)
    network = build(name, seed, checkpoint)
    if picked != natural_outputs(name):
        network.VIT.head_vae.mean_only = True
    image = seeded_image(0, options.batch)
    export(network, {INPUT: image}, picked, metadata(name), options, target)
    return network


def summary(path: Path) -> str:
    """One line about an exported file."""
    model = onnx.load(path, load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return f"{path}: opset {opset}, IR {model.ir_version}, {len(model.graph.node)} nodes"
