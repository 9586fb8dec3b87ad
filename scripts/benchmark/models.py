"""The models: exported, and converted for every engine, into a cache that later runs find again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.peers import EXPORT_PYTHON, MIEN, PEER_PYTHON, ROOT
from benchmark.rounds import EngineError

CACHE = ROOT / ".cache" / "bench"
DEFAULT = ("poster_var_rafdb7", "poster_var_rafdb7:dynamo", "poster_pp_rafdb7", "resnet50", "mobilenetv2", "vit_s16")
# Of about half a millisecond: for what threads burn between the calls.
IDLE = "tiny_conv"
SAVE_NETWORK = "import sys, torch; from models.exporting import build; torch.save(build(sys.argv[1]), sys.argv[2])"


@dataclass
class Model:
    """``forms``: the file of each form that exists; ``reasons``: why the others don't. Shapes are as the plan has them, open ones by name."""

    name: str
    onnx: Path
    forms: dict[str, Path] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, list[int | str]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    convert_ms: float = 0.0

    def file(self, form: str) -> Path:
        """The file of a form. Raises EngineError with the reason when there is none."""
        if form not in self.forms:
            raise EngineError(self.reasons[form])
        return self.forms[form]

    def symbols(self) -> list[str]:
        """Names of the open dimensions."""
        return sorted({size for shape in self.inputs.values() for size in shape if isinstance(size, str)})

    def shapes(self, batch: int) -> dict[str, list[int]]:
        """Shapes of the inputs with every open dimension being the batch. Raises EngineError where the model has another one, fixed."""
        found = {name: [batch if isinstance(size, str) else size for size in shape] for name, shape in self.inputs.items()}
        for name, shape in found.items():
            if not shape or shape[0] != batch:
                raise EngineError(f"{self.onnx.name}: input {name} is {shape}, batch {batch} is not possible; export it with --dynamic-batch")
        return found


def last_line(text: str) -> str:
    """What a failed program said at the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def command(words: list[str | Path], cwd: Path | None = None) -> str:
    """Runs a program and returns its stdout. Raises EngineError with its last words when it fails."""
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd)
    except OSError as error:
        raise EngineError(f"{words[0]}: {error.strerror}") from error
    if done.returncode:
        name = Path(words[0]).name
        why = f"{name}: ended by signal {-done.returncode}" if done.returncode < 0 else last_line(done.stderr or done.stdout)
        raise EngineError(why if why.startswith(name) else f"{name}: {why}")
    return done.stdout


def definitions() -> str:
    """A hash of everything that an export depends on."""
    found = hashlib.sha256()
    for path in sorted([*ROOT.glob("models/*.py"), ROOT / "scripts" / "export.py", ROOT / "scripts" / "requirements.txt"]):
        found.update(path.read_bytes())
    return found.hexdigest()


def cached(target: Path, stamp: str, make: Callable[[Path], None]) -> Path:
    """``target``, made anew unless it was made from the same ``stamp``. Appears whole or not at all."""
    note = target.with_name(target.name + ".made-from")
    if not (target.exists() and note.exists() and note.read_text() == stamp):
        note.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name("part-" + target.name)
        part.unlink(missing_ok=True)
        make(part)
        part.replace(target)
        note.write_text(stamp)
    return target


def export(name: str, tell: Callable[[str], None]) -> Path:
    """The ONNX file of VARIANT or VARIANT:dynamo, with an open batch; TorchScript at opset 17, dynamo at 20."""
    variant, _, exporter = name.partition(":")
    exporter = exporter or "torchscript"
    opset = {"torchscript": "17", "dynamo": "20"}.get(exporter)
    if opset is None:
        raise EngineError(f"{name}: no exporter {exporter!r}; there are torchscript, dynamo")

    def make(part: Path) -> None:
        tell(f"exporting {name}")
        command([EXPORT_PYTHON, ROOT / "scripts" / "export.py", "--variant", variant, "--exporter", exporter, "--opset", opset,
                 "--dynamic-batch", "-o", part])

    return cached(CACHE / f"{variant}-{exporter}-{opset}-dynamic.onnx", definitions(), make)


def add_form(model: Model, form: str, make: Callable[[], Path]) -> None:
    """Keeps the file, or the reason why there is none."""
    try:
        model.forms[form] = make()
    except EngineError as error:
        model.reasons[form] = str(error)


def make_plan(model: Model, precision: str) -> Path:
    """Always converted anew: the converter is what changes."""
    plan = CACHE / f"{model.onnx.stem}-{precision}.plan"
    options = [] if precision == "fp32" else ["--precision", precision]
    command([MIEN, "convert", model.onnx, "-o", plan, *options])
    return plan


def make_mnn(model: Model) -> Path:
    """By mnnconvert of the peers' environment, without quantisation."""
    program = PEER_PYTHON.with_name("mnnconvert")
    if not program.exists():
        raise EngineError("mnnconvert is not installed; scripts/venv.sh peers installs it")
    found = model.onnx.stat()

    def make(part: Path) -> None:
        said = command([program, "-f", "ONNX", "--modelFile", model.onnx, "--MNNModel", part, "--bizCode", "bench"])
        if not part.exists():
            raise EngineError(f"mnnconvert: {last_line(said)}")

    return cached(CACHE / f"{model.onnx.stem}.mnn", f"{model.onnx} {found.st_size} {found.st_mtime_ns}", make)


def make_network(model: Model) -> Path:
    """The pickled network of a variant."""
    if model.name.endswith(".onnx"):
        raise EngineError("no PyTorch definition of an ONNX file")
    variant = model.name.partition(":")[0]

    def make(part: Path) -> None:
        command([EXPORT_PYTHON, "-c", SAVE_NETWORK, variant, part], cwd=ROOT)

    return cached(CACHE / f"{variant}.pt", definitions(), make)


def prepare(name: str, forms: set[str], tell: Callable[[str], None]) -> Model:
    """A model in the wanted forms. Raises EngineError when it can't be exported or mien can't convert it."""
    onnx = Path(name) if name.endswith(".onnx") else export(name, tell)
    if not onnx.exists():
        raise EngineError(f"{onnx}: no such file")
    model = Model(name, onnx.resolve(), {"onnx": onnx.resolve()})
    model.forms["plan"] = make_plan(model, "fp32")
    facts = json.loads(command([MIEN, "info", model.forms["plan"], "--json"]))
    odd = [port for port in facts["inputs"] if port["dtype"] != "f32"]
    if odd:
        raise EngineError(f"{name}: input {odd[0]['name']} is {odd[0]['dtype']}; the bench makes f32 inputs only")
    model.inputs = {port["name"]: port["shape"] for port in facts["inputs"]}
    model.outputs = [port["name"] for port in facts["outputs"]]
    for form, make in (("plan-bf16", lambda: make_plan(model, "bf16")), ("plan-int16", lambda: make_plan(model, "int16")),
                       ("mnn", lambda: make_mnn(model)), ("torch", lambda: make_network(model))):
        if form in forms:
            add_form(model, form, make)
    return model
