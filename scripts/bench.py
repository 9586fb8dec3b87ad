#!/usr/bin/env python3
"""Times mien beside ONNX Runtime: same model, inputs, threads and precision (fp32), in alternating runs, with the outputs compared.

usage: .venv/bin/python scripts/bench.py [--models poster_var_rafdb7 ...] [--threads 1 2] [--batch 1] [--rounds 3] [--json FILE]

Models are names of scripts/export.py or .onnx files. Prints a table: medians in milliseconds, load time, process start to first
answer, peak resident memory, file sizes. Fails when an output differs by more than 1e-3.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
MIEN = ROOT / "build" / "mien"


def ort_worker(model: str, input_file: str, threads: int, seconds: float) -> None:
    """In a process of its own: load, first run, runs for so many seconds; one JSON object on stdout."""
    start = time.perf_counter()
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    begin = time.perf_counter()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - begin
    feed = {session.get_inputs()[0].name: np.load(input_file)}
    begin = time.perf_counter()
    outputs = session.run(None, feed)
    first = time.perf_counter() - begin
    answer = time.perf_counter() - start
    warm = time.perf_counter()
    while time.perf_counter() - warm < 0.2:
        session.run(None, feed)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 10 or time.perf_counter() - begin < seconds:
        t = time.perf_counter()
        session.run(None, feed)
        times.append((time.perf_counter() - t) * 1e3)
    peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(json.dumps({"median_ms": statistics.median(times), "min_ms": min(times), "runs": len(times), "load_ms": load * 1e3,
                      "first_run_ms": first * 1e3, "answer_ms": answer * 1e3, "peak_bytes": peak,
                      "outputs": {o.name: v.tolist() for o, v in zip(session.get_outputs(), outputs)}, "version": ort.__version__}))


def run_json(command: list[str]) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def mien_answer(plan: pathlib.Path, name: str, input_file: pathlib.Path, threads: int, work: pathlib.Path, outputs: list[str]):
    """Process start to first answer, and the outputs."""
    import numpy as np

    words = [w for o in outputs for w in ("--output", f"{o}={work / (o + '.npy')}")]
    start = time.perf_counter()
    subprocess.run([str(MIEN), "run", str(plan), "--input", f"{name}={input_file}", "--threads", str(threads), *words], check=True)
    return (time.perf_counter() - start) * 1e3, {o: np.load(work / f"{o}.npy") for o in outputs}


def measure(model: pathlib.Path, plan: pathlib.Path, threads: int, batch: int, arguments, work: pathlib.Path) -> dict:
    import numpy as np
    import onnx

    port = onnx.load(model, load_external_data=False).graph.input[0]
    shape = [d.dim_value or batch for d in port.type.tensor_type.shape.dim]
    if shape[0] != batch:
        sys.exit(f"{model.name} has a fixed batch of {shape[0]}; export it with --dynamic-batch for batch {batch}")
    input_file = work / "input.npy"
    np.save(input_file, np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    mien_runs, ort_runs = [], []
    for _ in range(arguments.rounds):
        mien_runs.append(run_json([str(MIEN), "bench", str(plan), "--json", "--threads", str(threads), "--batch", str(batch),
                                   "--input", f"{port.name}={input_file}", "--seconds", str(arguments.seconds)]))
        ort_runs.append(run_json([sys.executable, __file__, "--ort-worker", str(model), str(input_file), str(threads), str(arguments.seconds)]))
    answer, outputs = mien_answer(plan, port.name, input_file, threads, work, list(ort_runs[0]["outputs"]))
    error = max(float(np.abs(outputs[k] - np.array(v, np.float32)).max(initial=0)) for k, v in ort_runs[0]["outputs"].items())

    def median(runs: list[dict], key: str) -> float:
        return statistics.median(r[key] for r in runs)

    row = {"model": model.stem, "threads": threads, "batch": batch, "largest_difference": error, "isa": mien_runs[0]["isa"],
           "plan_bytes": plan.stat().st_size, "onnx_bytes": model.stat().st_size, "ort_version": ort_runs[0]["version"]}
    for key in ("median_ms", "load_ms", "first_run_ms", "peak_bytes"):
        row[f"mien_{key}"], row[f"ort_{key}"] = median(mien_runs, key), median(ort_runs, key)
    row["mien_answer_ms"], row["ort_answer_ms"] = answer, median(ort_runs, "answer_ms")
    row["ratio"] = row["ort_median_ms"] / row["mien_median_ms"]
    return row


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--ort-worker":
        ort_worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["poster_var_rafdb7"], help="export.py variants or .onnx files")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds; medians over them")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--json", type=pathlib.Path, help="writes all figures there")
    arguments = parser.parse_args()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    print(f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; fp32; medians of {arguments.rounds} alternating rounds\n")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        for name in arguments.models:
            model = pathlib.Path(name)
            if model.suffix != ".onnx":
                model = work / f"{name}.onnx"
                subprocess.run([sys.executable, str(ROOT / "scripts" / "export.py"), "--variant", name, "--opset", "17", "--exporter", "torchscript",
                                "--dynamic-batch", "-o", str(model)], check=True, stdout=subprocess.DEVNULL)
            plan = work / f"{model.stem}.plan"
            subprocess.run([str(MIEN), "convert", str(model), "-o", str(plan)], check=True, stdout=subprocess.DEVNULL)
            rows += [measure(model, plan, t, b, arguments, work) for b in arguments.batch for t in arguments.threads]
    head = ("model", "threads", "batch", "mien ms", "ort ms", "ort/mien", "answer ms", "ort answer", "peak MB", "ort peak", "difference")
    print(("{:<26}" + "{:>11}" * 10).format(*head))
    for r in rows:
        print(f"{r['model'][:25]:<26}{r['threads']:>11}{r['batch']:>11}{r['mien_median_ms']:>11.2f}{r['ort_median_ms']:>11.2f}{r['ratio']:>11.2f}"
              f"{r['mien_answer_ms']:>11.0f}{r['ort_answer_ms']:>11.0f}{r['mien_peak_bytes'] / 1e6:>11.0f}{r['ort_peak_bytes'] / 1e6:>11.0f}"
              f"{r['largest_difference']:>11.1e}")
    print(f"\nmien kernels {rows[0]['isa']}; onnxruntime {rows[0]['ort_version']}, same threads, default options")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    wrong = [r for r in rows if not r["largest_difference"] <= 1e-3]
    if wrong:
        sys.exit(f"WRONG: {[(r['model'], r['largest_difference']) for r in wrong]}")


if __name__ == "__main__":
    main()
