"""The command line: goes through models, batches and threads, and writes the table, the JSON and the chart."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark import machine, models, processes
from benchmark.chart import chart
from benchmark.figures import cell_rows, engine_facts, subnormal_rows
from benchmark.peers import ENGINES, MIEN, PEERS, ROOT, chosen
from benchmark.processes import Cell, Effort
from benchmark.report import milliseconds, report, wrong
from benchmark.rounds import Attempt, EngineError, measure

OUTPUT = ROOT / ".cache" / "bench" / "results"
IDLE_RATE = 10.0
# Times normal noise: every element of the inputs is subnormal. What is compared then.
SUBNORMAL = 1e-39
SUBNORMAL_ENGINES = ("mien", "ort")
EPILOG = f"""\
A model is a variant of scripts/export.py (TorchScript, opset 17), VARIANT:dynamo (opset 20), or an .onnx file with an open batch. Exports
are kept in .cache/bench. Every output of every round is compared with ONNX Runtime's; a wrong one ends in exit status 1, as does a model
that mien cannot run. What mien must keep (1e-4 of the largest magnitude in fp32, 5e-2 in bf16, 1e-2 in int16) a peer may miss without failing: that is said. Peers without figures are in the table with the reason. Default models: {' '.join(models.DEFAULT)}.
"""


def tell(text: str) -> None:
    """Progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bench.py", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
                                   description="Measures mien beside its peers: same model, input, threads and precision, alternating rounds.")
    made.add_argument("--models", nargs="+", metavar="MODEL", help="(all the default ones)")
    made.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="(1 2)")
    made.add_argument("--batch", nargs="+", type=int, metavar="N", help="(1 8)")
    made.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER", help=f"of {' '.join(PEERS)} (all)")
    made.add_argument("--rounds", type=int, metavar="N", help="alternating rounds (3)")
    made.add_argument("--seconds", type=float, metavar="S", help="of each measurement (3)")
    made.add_argument("--retries", type=int, metavar="N", help="how often a noisy cell is measured again (2)")
    made.add_argument("--no-idle", dest="idle", action="store_false", help="without the idle CPU")
    made.add_argument("--quick", action="store_true", help="POSTER-Var, batch 1, 2 rounds of 1 second, 1 retry, where not said otherwise")
    made.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="of bench.md, bench.json, bench.svg (.cache/bench/results)")
    return made


def settle(options: argparse.Namespace) -> None:
    """Fills in what was not said."""
    quick = options.quick
    options.models = options.models or list(models.DEFAULT[:1] if quick else models.DEFAULT)
    options.batch = options.batch or ([1] if quick else [1, 8])
    options.rounds = options.rounds if options.rounds is not None else 2 if quick else 3
    options.seconds = options.seconds if options.seconds is not None else 1.0 if quick else 3.0
    options.retries = options.retries if options.retries is not None else 1 if quick else 2


def model_bytes(path: Path) -> int:
    """With its external data beside it."""
    data = path.with_name(path.name + ".data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def measure_cell(cell: Cell, engines: list[str], options: argparse.Namespace, effort: Effort) -> tuple[dict, Attempt]:
    """All engines in one cell, as it goes into the JSON. Raises EngineError when there is no reference."""
    reference = processes.run("ort", cell, Effort(seconds=0, runs=1, warmup_ms=0))["outputs"]
    attempt, made = measure(engines, options.rounds, options.retries, lambda engine: processes.run(engine, cell, effort), machine.others_now, tell)
    rows = cell_rows(attempt, reference)
    for engine, row in rows.items():
        if "failure" not in row:
            row["model_bytes"] = model_bytes(cell.model.file(ENGINES[engine].form))
    shown = {"model": cell.model.name, "batch": cell.batch, "threads": cell.threads, "attempts": made, "noise": attempt.noise(),
             "others_before": attempt.others_before, "rows": rows}
    return shown, attempt


def measure_model(name: str, engines: list[str], options: argparse.Namespace, results: dict, attempts: list[Attempt], folder: Path) -> None:
    """All cells of a model. Raises EngineError."""
    model = models.prepare(name, {ENGINES[engine].form for engine in engines}, tell)
    for batch in options.batch:
        inputs = processes.write_inputs(model, batch, folder)
        for threads in options.threads:
            tell(f"{name}, batch {batch}, {threads} thread(s)")
            shown, attempt = measure_cell(Cell(model, batch, threads, inputs), engines, options, Effort(seconds=options.seconds))
            attempts.append(attempt)
            results["cells"].append(shown)
            tell(", ".join(f"{engine} {milliseconds(row['median_ms'])} ms" for engine, row in shown["rows"].items() if "median_ms" in row))


def measure_idle(engines: list[str], options: argparse.Namespace, results: dict, attempts: list[Attempt], folder: Path) -> None:
    """What every fp32 engine burns between calls of a small network. Raises EngineError."""
    model = models.prepare(models.IDLE, {ENGINES[engine].form for engine in engines}, tell)
    cell = Cell(model, 1, max(options.threads), processes.write_inputs(model, 1, folder))
    tell(f"idle CPU, {models.IDLE}, {cell.threads} thread(s)")
    fp32 = [engine for engine in engines if ENGINES[engine].precision == "fp32"]
    shown, attempt = measure_cell(cell, fp32, options, Effort(seconds=0.5, idle_rate=IDLE_RATE))
    attempts.append(attempt)
    results["idle"] = shown | {"rate": IDLE_RATE}


def measure_subnormal(name: str, engines: list[str], options: argparse.Namespace, results: dict, folder: Path) -> None:
    """What subnormal inputs cost, in the smallest cell of a model: both kinds of inputs alternate. Raises EngineError."""
    model = models.prepare(name, {"onnx"}, tell)
    batch, threads = min(options.batch), min(options.threads)
    cells = {small: Cell(model, batch, threads, processes.write_inputs(model, batch, folder, SUBNORMAL if small else 1.0)) for small in (False, True)}
    references = {small: processes.run("ort", cell, Effort(seconds=0, runs=1, warmup_ms=0))["outputs"] for small, cell in cells.items()}
    tell(f"{name}, batch {batch}, {threads} thread(s), subnormal inputs")
    keys = {f"{engine} {small}": (engine, small) for engine in engines if engine in SUBNORMAL_ENGINES for small in cells}
    effort = Effort(seconds=min(options.seconds, 1.0))
    both, made = measure(list(keys), options.rounds, options.retries, lambda key: processes.run(keys[key][0], cells[keys[key][1]], effort),
                         machine.others_now, tell)
    attempts = {small: Attempt({}, {}, both.others_before) for small in cells}
    for key, (engine, small) in keys.items():
        attempts[small].records[engine] = both.records[key]
        if key in both.failures:
            attempts[small].failures[engine] = both.failures[key]
    results["subnormal"].append({"model": name, "batch": batch, "threads": threads, "attempts": made, "noise": both.noise(),
                                 "rows": subnormal_rows(attempts, references)})


def write(results: dict, folder: Path) -> None:
    """The three files, each replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("bench.json", json.dumps(results, indent=1) + "\n"), ("bench.md", report(results)), ("bench.svg", chart(results))):
        part = folder / f".{name}"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 good, 1 a wrong output or something that mien can't run, 2 wrong usage."""
    made = parser()
    options = made.parse_args(arguments)
    settle(options)
    if min(options.threads + options.batch + [options.rounds]) < 1 or options.retries < 0 or options.seconds < 0:
        made.error("threads, batch and rounds are numbers from 1, seconds and retries from 0")
    if not MIEN.exists():
        made.error(f"{MIEN} is not built; cmake --preset release && cmake --build build")
    engines = chosen(options.peers)
    found = machine.describe(ROOT) | {"others_cores": machine.others_now()}
    effort = Effort(seconds=options.seconds)
    results: dict = {"schema": 1, "machine": found, "cells": [], "subnormal": [], "idle": None, "engines": {},
                     "options": {"rounds": options.rounds, "seconds": effort.seconds, "runs": effort.runs, "warmup_ms": effort.warmup_ms,
                                 "retries": options.retries, "engines": engines}}
    attempts: list[Attempt] = []
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        steps = [lambda name=name: measure_model(name, engines, options, results, attempts, Path(folder)) for name in options.models]
        steps += [lambda name=name: measure_subnormal(name, engines, options, results, Path(folder)) for name in options.models]
        if options.idle:
            steps.append(lambda: measure_idle(engines, options, results, attempts, Path(folder)))
        for step in steps:
            try:
                step()
            except EngineError as error:
                broken.append(str(error))
            results["engines"] = engine_facts(attempts)
            write(results, options.output)
    print(report(results))
    tell(f"bench.md, bench.json and bench.svg are in {options.output}")
    broken += wrong(results)
    for line in broken:
        tell(f"FAILED: {line}")
    return 1 if broken else 0
