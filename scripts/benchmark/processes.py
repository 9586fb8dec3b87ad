"""Starts one measurement, of mien or of a peer, in a process of its own, and returns its record.

A record has: median_ms, min_ms, runs, items_per_second, cores (CPU time over wall time of the timed runs); load_ms and first_run_ms
(inside the process, without the interpreter's start and imports), answer_ms (from the start of the process to its first answer, all
in); bare_bytes, base_bytes, peak_bytes (largest resident memory of the bare interpreter, with what the engine imports, and at the
end); library_bytes, version, flags, others_cores (used by other programs meanwhile), outputs (name to array of the first run), and
with an idle rate idle_cores and paced_cores.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.machine import Others
from benchmark.models import Model, last_line
from benchmark.peers import ENGINES, MIEN, PEER_PYTHON, ROOT
from benchmark.rounds import EngineError, Record

TIMEOUT_S = 900
INSTALL = "not installed; scripts/venv.sh peers installs it"


@dataclass(frozen=True)
class Effort:
    """How long one measurement is. ``idle_rate``: calls a second of the idle measurement, 0 for none."""

    seconds: float = 3.0
    runs: int = 5
    warmup_ms: float = 200.0
    idle_rate: float = 0.0


@dataclass(frozen=True)
class Cell:
    """One row group of the table. ``inputs``: input name to .npy file."""

    model: Model
    batch: int
    threads: int
    inputs: Mapping[str, Path]


def write_inputs(model: Model, batch: int, folder: Path, scale: float = 1.0) -> dict[str, Path]:
    """Seeded noise for every input, of this standard deviation."""
    made = {}
    for i, (name, shape) in enumerate(model.shapes(batch).items()):
        made[name] = folder / f"input{i}-{scale:g}.npy"
        np.save(made[name], (scale * np.random.default_rng([0, i]).standard_normal(shape)).astype(np.float32))
    return made


def environment(threads: int) -> dict[str, str]:
    """Every library that counts threads by itself gets the same number; nobody reports home."""
    scripts = ROOT / "scripts"
    return os.environ | {"OMP_NUM_THREADS": str(threads), "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": f"{scripts}{os.pathsep}{ROOT}"}


def start(words: list[str], threads: int) -> tuple[str, float, float]:
    """Runs a program; its stdout and the monotonic seconds at which it was started and had ended. Raises EngineError with its last words."""
    begin = time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(threads), timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"no answer in {TIMEOUT_S} s") from error
    except OSError as error:
        raise EngineError(f"{words[0]}: {error.strerror}") from error
    end = time.clock_gettime(time.CLOCK_MONOTONIC)
    if done.returncode:
        raise EngineError(f"ended by signal {-done.returncode}" if done.returncode < 0 else last_line(done.stderr))
    return done.stdout, begin, end


@functools.cache
def our_library_bytes() -> int:
    """libmien.so and the plugins beside it, stripped as a distribution ships them."""
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in [MIEN.with_name("libmien.so"), *sorted(MIEN.parent.glob("plugins/*.so"))]:
            copy = Path(folder) / path.name
            shutil.copy(path, copy)
            subprocess.run(["strip", str(copy)], check=True)
            total += copy.stat().st_size
    return total


def run_mien(engine: str, cell: Cell, effort: Effort, folder: Path) -> Record:
    """`mien run`, which ends after its first answer, for that, and then `mien bench`: a peer gives its first answer first too."""
    plan = str(cell.model.file(ENGINES[engine].form))
    inputs = [word for name, path in cell.inputs.items() for word in ("--input", f"{name}={path}")]
    threads = ["--threads", str(cell.threads)]
    files = {name: folder / f"{i}.npy" for i, name in enumerate(cell.model.outputs)}
    outputs = [word for name, path in files.items() for word in ("--output", f"{name}={path}")]
    _, begin, end = start([str(MIEN), "run", plan, *inputs, *outputs, *threads], cell.threads)
    idle = ["--idle-rate", str(effort.idle_rate)] if effort.idle_rate > 0 else []
    said, _, _ = start([str(MIEN), "bench", plan, *inputs, *threads, "--batch", str(cell.batch), *idle, "--seconds", str(effort.seconds),
                        "--runs", str(effort.runs), "--warmup", str(effort.warmup_ms), "--json"], cell.threads)
    record = json.loads(said)
    return record | {
        "cores": record["cpu_cores"], "answer_ms": (end - begin) * 1e3, "bare_bytes": record["base_bytes"],
        "library_bytes": our_library_bytes(), "flags": f"kernels {record['isa']}, --threads as said",
        "outputs": {name: np.load(path) for name, path in files.items()}}


def run_peer(engine: str, cell: Cell, effort: Effort, folder: Path) -> Record:
    """The worker, in the peers' environment."""
    if not PEER_PYTHON.exists():
        raise EngineError(INSTALL)
    known = ENGINES[engine]
    request = {"engine": known.module, "file": str(cell.model.file(known.form)), "precision": known.precision, "threads": cell.threads,
               "batch": cell.batch, "inputs": {name: str(path) for name, path in cell.inputs.items()}, "outputs": str(folder),
               "symbols": cell.model.symbols(), "output_names": cell.model.outputs, "seconds": effort.seconds, "runs": effort.runs,
               "warmup_ms": effort.warmup_ms, "idle_rate": effort.idle_rate}
    try:
        said, begin, _ = start([str(PEER_PYTHON), "-m", "benchmark.worker", json.dumps(request)], cell.threads)
    except EngineError as error:
        raise EngineError(INSTALL if "ModuleNotFoundError" in str(error) else str(error)) from error
    record = json.loads(said)
    outputs = {name: np.load(folder / f"{i}.npy") for i, name in enumerate(record["output_names"])}
    return record | {"answer_ms": (record["answered"] - begin) * 1e3, "outputs": outputs}


def run(engine: str, cell: Cell, effort: Effort) -> Record:
    """One measurement. Raises EngineError."""
    others = Others()
    with tempfile.TemporaryDirectory() as folder:
        record = (run_peer if ENGINES[engine].module else run_mien)(engine, cell, effort, Path(folder))
    return record | {"others_cores": others.cores()}
