"""From the records of a cell to the figures that are shown: medians over the rounds, ratios, judgement of the outputs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import numpy as np

from benchmark.compare import EXACT, SAME, compare
from benchmark.peers import ENGINES, ours_beside, ratio_end
from benchmark.rounds import Attempt

MEDIANS = ("median_ms", "min_ms", "runs", "items_per_second", "cores", "load_ms", "first_run_ms", "answer_ms", "import_ms", "bare_bytes",
           "base_bytes", "peak_bytes", "library_bytes", "others_cores", "idle_cores", "paced_cores")


def engine_row(attempt: Attempt, engine: str, reference: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The figures of one engine in one cell, or the reason why there are none."""
    precision = ENGINES[engine].precision
    if engine in attempt.failures:
        return {"precision": precision, "failure": attempt.failures[engine]}
    records = attempt.records[engine]
    row: dict[str, object] = {"precision": precision, "spread": attempt.spread(engine), "noisy": attempt.noisy(engine),
                              "rounds_ms": [record["median_ms"] for record in records]}
    for key in MEDIANS:
        values = [record[key] for record in records if key in record]
        if values:
            row[key] = statistics.median(values)
    exact = [compare(record["outputs"], reference, EXACT[precision]) for record in records]
    judged = [compare(record["outputs"], reference, SAME[precision]) for record in records] if ENGINES[engine].module else exact
    largest = max(found for found, _ in judged)
    row["difference"] = largest if math.isfinite(largest) else None
    row["wrong"] = sorted({line for _, lines in judged for line in lines})
    row["inexact"] = any(lines for _, lines in exact)
    return row


def cell_rows(attempt: Attempt, reference: Mapping[str, np.ndarray]) -> dict[str, dict[str, object]]:
    """The figures of all engines, with ratios: how many times as long as mien in the same precision, and in others of as many bits."""
    rows = {engine: engine_row(attempt, engine, reference) for engine in attempt.records}
    for row in rows.values():
        for engine in ours_beside(str(row["precision"])):
            ours = rows.get(engine, {})
            if "median_ms" in row and "median_ms" in ours:
                end = ratio_end(engine, str(row["precision"]))
                row[f"ratio{end}"] = row["median_ms"] / ours["median_ms"]
                for key in ("answer_ms", "peak_bytes"):
                    row[f"{key.partition('_')[0]}_ratio{end}"] = row[key] / ours[key]
    return rows


def subnormal_rows(attempts: Mapping[bool, Attempt], references: Mapping[bool, Mapping[str, np.ndarray]]) -> dict[str, dict[str, object]]:
    """Of attempts with normal (False) and with subnormal inputs (True): the second one's figures, with how many times as long it takes."""
    rows = {engine: engine_row(attempts[True], engine, references[True]) for engine in attempts[True].records}
    for engine, row in rows.items():
        normal = engine_row(attempts[False], engine, references[False])
        if "median_ms" in row and "median_ms" in normal:
            row |= {"normal_ms": normal["median_ms"], "subnormal_ratio": row["median_ms"] / normal["median_ms"]}
            row["noisy"] = row["noisy"] or normal["noisy"]
    return rows


def engine_facts(attempts: list[Attempt]) -> dict[str, dict[str, object]]:
    """Versions, flags and sizes, which are the same in every cell; flags are those of the first."""
    facts: dict[str, dict[str, object]] = {}
    for attempt in attempts:
        for engine, records in attempt.records.items():
            if records and engine not in facts:
                known = {key: records[0][key] for key in ("version", "flags", "library_bytes")}
                facts[engine] = {"title": ENGINES[engine].title, "precision": ENGINES[engine].precision, **known}
    return facts
