"""One measurement of one peer, in a process of its own: `python -m benchmark.worker REQUEST`, REQUEST and the answer being JSON.

The request has: engine, file, inputs (name to .npy), outputs (a folder), threads, batch, precision, seconds, runs, warmup_ms,
idle_rate (0: not measured). The answer is the record that processes.py describes. Peers print on stdout what they like: our own
answer goes to the descriptor that was stdout at the start, theirs to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time


def status_bytes(field: str) -> int:
    """VmHWM or another field of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":"))


def library_bytes(package: str) -> int:
    """Sizes of the shared libraries that this process has mapped from the folder of an installed package, or beside it by its name."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        paths = {line.split(maxsplit=5)[5].strip() for line in file if line.count("/")}
    mark = f"/site-packages/{package}"
    return sum(os.path.getsize(path) for path in paths if mark in path and ".so" in os.path.basename(path))


def timed_runs(run, request: dict) -> dict:
    """Warm-up, then runs for so many seconds and at least so many."""
    start = time.perf_counter()
    while (time.perf_counter() - start) * 1e3 < request["warmup_ms"]:
        run()
    times: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    while len(times) < request["runs"] or time.perf_counter() - start < request["seconds"]:
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1e3)
    wall = time.perf_counter() - start
    return {"median_ms": statistics.median(times), "min_ms": min(times), "runs": len(times), "cores": (time.process_time() - cpu) / wall,
            "items_per_second": len(times) * request["batch"] / wall}


def idle_runs(run, rate: float, seconds: float = 3.0) -> dict:
    """Calls at a steady rate; the CPU time that passes between them is what idle threads burn. As mien bench does."""
    start, cpu_start, in_calls = time.perf_counter(), time.process_time(), 0.0
    for i in range(round(seconds * rate)):
        cpu = time.process_time()
        run()
        in_calls += time.process_time() - cpu
        time.sleep(max(0.0, start + (i + 1) / rate - time.perf_counter()))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return {"paced_cores": cpu / wall, "idle_cores": (cpu - in_calls) / wall}


def main() -> None:
    answer_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.argv[1])
    record: dict = {"bare_bytes": status_bytes("VmHWM")}
    start = time.perf_counter()
    module = importlib.import_module(f"benchmark.engine_{request['engine']}")
    import numpy as np
    record |= {"import_ms": (time.perf_counter() - start) * 1e3, "base_bytes": status_bytes("VmHWM"), "version": module.version()}
    if not request.get("probe"):
        inputs = {name: np.load(path) for name, path in request["inputs"].items()}
        start = time.perf_counter()
        engine = module.Engine(request, inputs)
        record["load_ms"] = (time.perf_counter() - start) * 1e3
        start = time.perf_counter()
        engine.run()
        outputs = {name: np.array(value) for name, value in engine.outputs().items()}
        record["first_run_ms"] = (time.perf_counter() - start) * 1e3
        record["answered"] = time.clock_gettime(time.CLOCK_MONOTONIC)
        record |= timed_runs(engine.run, request)
        if request["idle_rate"] > 0:
            record |= idle_runs(engine.run, request["idle_rate"])
        for name, value in outputs.items():
            np.save(os.path.join(request["outputs"], f"{list(outputs).index(name)}.npy"), value)
        record |= {"output_names": list(outputs), "peak_bytes": status_bytes("VmHWM"), "flags": engine.flags}
    record["library_bytes"] = library_bytes(module.PACKAGE)
    json.dump(record, answer_to)
    answer_to.close()
    # Some peers crash while they take themselves down; what we came for is said.
    os._exit(0)


if __name__ == "__main__":
    main()
