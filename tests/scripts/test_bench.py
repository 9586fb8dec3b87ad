"""scripts/bench.py without its peers: order, repetition, judgement, table and chart."""

import json
import subprocess
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

np = pytest.importorskip("numpy", reason="numpy is not installed; scripts/venv.sh installs it")

from benchmark import chart, compare, figures, main, models, peers, processes, report, rounds, worker  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = {"logits": np.array([[1.0, -2.0, 0.5]], np.float32)}


def record(milliseconds: float = 10.0, outputs: dict | None = None, others: float = 0.0) -> dict:
    """What processes.run returns, of a measurement that never was."""
    return {"median_ms": milliseconds, "min_ms": milliseconds, "runs": 7, "items_per_second": 1e3 / milliseconds, "cores": 1.0, "load_ms": 5.0,
            "first_run_ms": 12.0, "answer_ms": 40.0, "bare_bytes": 9e6, "base_bytes": 30e6, "peak_bytes": 80e6, "library_bytes": 3e6,
            "version": "1.2", "flags": "a <b> & c", "others_cores": others, "outputs": outputs or OUTPUT}


def test_rounds_alternate_and_a_failure_leaves_the_others():
    order = []

    def run(engine):
        order.append(engine)
        if engine == "b":
            raise rounds.EngineError("no operator")
        return record()

    attempt = rounds.alternate(["a", "b", "c"], 3, run)
    assert order == ["a", "b", "c", "a", "c", "a", "c"]
    assert attempt.failures == {"b": "no operator"}
    assert {engine: len(found) for engine, found in attempt.records.items()} == {"a": 3, "b": 0, "c": 3}


def measured(times: list[list[float]], retries: int, others_before: float = 0.0, others: float = 0.0):
    """One engine; ``times`` has the rounds of each attempt."""
    feed = iter([time for attempt in times for time in attempt])
    return rounds.measure(["a"], len(times[0]), retries, lambda engine: record(next(feed), others=others), lambda: others_before)


def test_quiet_rounds_are_measured_once():
    attempt, made = measured([[10.0, 10.9], [0.0, 0.0]], 2)
    assert (made, attempt.noise()) == (1, [])


def test_unsteady_rounds_are_measured_again_until_quiet():
    attempt, made = measured([[10.0, 11.2], [10.0, 10.1], [0.0, 0.0]], 2)
    assert (made, attempt.noise()) == (2, [])
    assert [found["median_ms"] for found in attempt.records["a"]] == [10.0, 10.1]


def test_what_stays_noisy_is_marked_and_the_quietest_attempt_kept():
    attempt, made = measured([[10.0, 19.0], [10.0, 12.0], [10.0, 15.0]], 2)
    assert made == 3
    assert [found["median_ms"] for found in attempt.records["a"]] == [10.0, 12.0]
    assert attempt.noise() == ["rounds differ (a by 20%)"]
    assert figures.cell_rows(rounds.Attempt({"mien": attempt.records["a"]}), OUTPUT)["mien"]["noisy"]


@pytest.mark.parametrize("before, during", [(0.5, 0.0), (0.0, 0.5)])
def test_a_busy_machine_is_noise_however_steady_the_times(before, during):
    attempt, made = measured([[10.0, 10.0], [10.0, 10.0]], 1, before, during)
    assert (made, attempt.noise()) == (2, ["others used up to 0.50 cores"])


def changed(delta: float, index: int = 1) -> dict:
    """The expected output with one element off."""
    value = OUTPUT["logits"].copy()
    value[0, index] += np.float32(delta)
    return {"logits": value}


def test_outputs_within_the_tolerance_pass():
    # the largest expected magnitude is 2: fp32 allows 2e-4
    assert compare.compare(changed(1.5e-4), OUTPUT, compare.EXACT["fp32"])[1] == []
    assert compare.compare(changed(0.05), OUTPUT, compare.EXACT["bf16"])[1] == []


@pytest.mark.parametrize("outputs, precision, said", [
    (changed(3e-4), "fp32", "differs by 0.0003"),
    (changed(0.05), "fp32", "differs by 0.05"),
    (changed(0.2), "bf16", "differs by 0.2"),
    (changed(np.nan), "bf16", "differs by inf"),
    (changed(np.inf), "bf16", "differs by inf"),
    ({"logits": OUTPUT["logits"][0]}, "fp32", "has shape [3], expected [1, 3]"),
    ({"other": OUTPUT["logits"]}, "fp32", "is missing"),
])
def test_wrong_outputs_are_said(outputs, precision, said):
    largest, wrong = compare.compare(outputs, OUTPUT, compare.EXACT[precision])
    assert len(wrong) == 1 and said in wrong[0]
    assert largest > 2e-4


def test_the_reference_may_have_nan_and_infinity():
    odd = {"logits": np.array([[np.nan, np.inf, 1.0]], np.float32)}
    assert compare.compare(odd, odd, 1e-4) == (0.0, [])
    assert compare.compare({"logits": np.array([[np.nan, -np.inf, 1.0]], np.float32)}, odd, 1e-4)[1]
    assert compare.compare({"logits": np.array([[0.0, np.inf, 1.0]], np.float32)}, odd, 1e-4)[1]


def test_ratios_are_to_mien_in_the_same_precision():
    rows = figures.cell_rows(rounds.Attempt({"mien": [record(10)], "ort": [record(25)], "openvino-bf16": [record(8)]}), OUTPUT)
    assert rows["ort"]["ratio"] == 2.5
    assert "ratio" not in rows["openvino-bf16"]
    rows = figures.cell_rows(rounds.Attempt({"mien": [record(10)], "mien-bf16": [record(4)], "openvino-bf16": [record(8)]}), OUTPUT)
    assert rows["openvino-bf16"]["ratio"] == 2.0
    assert "ratio_int16" not in rows["openvino-bf16"]
    rows = figures.cell_rows(rounds.Attempt({"mien-int16": [record(5)], "mien-bf16": [record(4)], "openvino-bf16": [record(8)]}), OUTPUT)
    assert (rows["openvino-bf16"]["ratio"], rows["openvino-bf16"]["ratio_int16"], rows["mien-int16"]["ratio"]) == (2.0, 1.6, 1.0)


def test_a_round_that_is_wrong_once_is_wrong():
    attempt = rounds.Attempt({"mien": [record(), record(outputs=changed(0.5)), record()]})
    assert figures.cell_rows(attempt, OUTPUT)["mien"]["wrong"] == ["output 'logits' differs by 0.5, allowed 0.0002"]


@pytest.mark.parametrize("engine, delta, inexact, wrong", [
    ("mnn", 1e-4, False, False), ("mnn", 2e-3, True, False), ("mnn", 0.1, True, True), ("mien", 2e-3, True, True),
    ("openvino-bf16", 0.05, False, False), ("openvino-bf16", 0.4, True, False), ("openvino-bf16", 0.6, True, True),
    ("mien-bf16", 0.05, False, False), ("mien-bf16", 0.4, True, True), ("mien-int16", 0.01, False, False), ("mien-int16", 0.05, True, True)])
def test_a_peer_may_be_less_exact_which_is_said_and_mien_may_not(engine, delta, inexact, wrong):
    row = figures.cell_rows(rounds.Attempt({engine: [record(), record(outputs=changed(delta))]}), OUTPUT)[engine]
    assert (row["inexact"], bool(row["wrong"])) == (inexact, wrong)
    assert ("less exact" in report.note(row), "WRONG" in report.note(row)) == (inexact and not wrong, wrong)


def results(wrong_peer: str | None = None) -> dict:
    """A bench of one cell, of mien, a peer and one that is not there, with characters that Markdown and XML mind."""
    outputs = {engine: changed(0.5) if engine == wrong_peer else OUTPUT for engine in ("mien", "ort")}
    attempt = rounds.Attempt({engine: [record(10.0 if engine == "mien" else 20.0, found)] for engine, found in outputs.items()} | {"mnn": []},
                             {"mnn": "Reshape | <odd> & 'unknown'"})
    cell = {"model": "a<b>&c", "batch": 1, "threads": 2, "attempts": 1, "noise": attempt.noise(), "others_before": 0.0,
            "rows": figures.cell_rows(attempt, OUTPUT)}
    found = {"cpu": "x & y", "cpus": 2, "cpu_flags": [], "governor": "g", "memory_bytes": 2**30, "kernel": "6", "date": "d", "commit": "c",
             "load_average": 0.1, "others_cores": 0.0}
    return {"schema": 1, "machine": found, "options": {"rounds": 1, "seconds": 1.0, "runs": 5, "warmup_ms": 200.0}, "cells": [cell],
            "idle": cell | {"rate": 10.0}, "engines": figures.engine_facts([attempt])}


def table_rows(text: str) -> list[list[str]]:
    """The cells of all table lines."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_table_has_every_engine_and_is_rectangular():
    text = report.cell_text(results()["cells"][0], results()["engines"])
    rows = table_rows(text)
    assert {len(row) for row in rows} == {len(report.COLUMNS) + 2}
    found = {row[0]: row for row in rows}
    assert found["mien"][1:3] == ["10.0", "1.00"]
    assert found["ONNX Runtime"][1:3] == ["20.0", "2.00"]
    assert found["mnn"][-1] == "no figures: Reshape / <odd> & 'unknown'"
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def test_the_report_survives_json_and_says_how_it_was_measured():
    found = json.loads(json.dumps(results(), allow_nan=False))
    text = report.report(found)
    for words in ("x & y", "commit c", "a <b> & c", "Idle CPU: 10 calls a second", "1 alternating rounds of 1 s", "peak resident memory"):
        assert words in text


def test_the_chart_is_well_formed_and_has_a_bar_a_figure():
    svg = ElementTree.fromstring(chart.chart(results("ort")))
    bars = [rect for rect in svg.iter("{http://www.w3.org/2000/svg}rect") if rect.get("height") != "100%"]
    words = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert len(bars) == 2
    assert float(bars[1].get("width")) == pytest.approx(2 * float(bars[0].get("width")), rel=1e-3)
    assert "a<b>&c, batch 1, 2 threads" in words
    assert any("20.0 ms, 2.00 x mien" in text and "WRONG" in text for text in words)
    assert any("no figures: Reshape" in text for text in words)


def fake_bench(monkeypatch, tmp_path, run) -> int:
    """main() over a model that is there already."""
    plan = tmp_path / "m.plan"
    plan.write_bytes(b"plan")
    forms = dict.fromkeys(("plan", "onnx", "mnn", "torch", "plan-bf16", "plan-int16"), plan)
    made = models.Model("m", plan, forms, {}, {"image": ["N", 3]}, ["logits"])
    monkeypatch.setattr(models, "prepare", lambda name, wanted, tell: made)
    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(main.machine, "others_now", lambda seconds=1.0: 0.0)
    monkeypatch.setattr(main, "MIEN", plan)
    return main.main(["--models", "m", "--peers", "ort", "mnn", "--quick", "--output", str(tmp_path / "out")])


def test_subnormal_inputs_are_measured_beside_normal_ones(monkeypatch, tmp_path, capsys):
    largest = {}

    def run(engine, cell, effort):
        value = np.abs(np.load(cell.inputs["image"])).max()
        small = value < np.finfo(np.float32).tiny
        largest[bool(small)] = value
        return record(30.0 if small and engine == "ort" else 12.0 if small else 10.0)

    assert fake_bench(monkeypatch, tmp_path, run) == 0
    assert 0 < largest[True] < 1e-37 < largest[False]
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert len(written["subnormal"]) == 1
    assert (written["subnormal"][0]["batch"], written["subnormal"][0]["threads"]) == (1, 1)
    assert {engine: row["subnormal_ratio"] for engine, row in written["subnormal"][0]["rows"].items()} == {"mien": 1.2, "ort": 3.0}
    said = [row for row in table_rows(capsys.readouterr().out) if row[0] == "m, batch 1, 1 thread"]
    assert ["m, batch 1, 1 thread", "10.0", "12.0", "1.20", "10.0", "30.0", "3.00"] in said


def test_a_bench_fails_on_a_wrong_output_of_subnormal_inputs(monkeypatch, tmp_path, capsys):
    def run(engine, cell, effort):
        small = np.abs(np.load(cell.inputs["image"])).max() < np.finfo(np.float32).tiny
        return record(outputs=changed(0.5) if small and engine == "mien" else None)

    assert fake_bench(monkeypatch, tmp_path, run) == 1
    assert "FAILED: m, batch 1, 1 thread, subnormal inputs: mien: output" in capsys.readouterr().err


def test_a_bench_writes_its_three_files(monkeypatch, tmp_path, capsys):
    assert fake_bench(monkeypatch, tmp_path, lambda engine, cell, effort: record()) == 0
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [(cell["batch"], cell["threads"]) for cell in written["cells"]] == [(1, 1), (1, 2)]
    assert (tmp_path / "out" / "bench.md").read_text().strip() == capsys.readouterr().out.strip()
    ElementTree.parse(tmp_path / "out" / "bench.svg")


@pytest.mark.parametrize("engine", ["mien", "mnn"])
def test_a_bench_fails_on_a_wrong_output(monkeypatch, tmp_path, capsys, engine):
    run = lambda name, cell, effort: record(outputs=changed(0.5) if name == engine else None)  # noqa: E731
    assert fake_bench(monkeypatch, tmp_path, run) == 1
    said = capsys.readouterr()
    assert f"FAILED: m, batch 1, 1 thread: {engine}: output 'logits' differs by 0.5" in said.err
    assert "WRONG" in said.out


def test_a_bench_fails_when_mien_does_but_not_when_a_peer_does(monkeypatch, tmp_path, capsys):
    def run_without(absent):
        def run(engine, cell, effort):
            if engine == absent:
                raise rounds.EngineError("no memory")
            return record()
        return run

    assert fake_bench(monkeypatch, tmp_path, run_without("mnn")) == 0
    assert "no figures: no memory" in capsys.readouterr().out
    assert fake_bench(monkeypatch, tmp_path, run_without("mien")) == 1


def test_a_peer_that_is_not_installed_says_how(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "PEER_PYTHON", tmp_path / "no" / "python")
    made = models.Model("m", tmp_path / "m.onnx", {"onnx": tmp_path / "m.onnx"})
    with pytest.raises(rounds.EngineError, match="scripts/venv.sh peers"):
        processes.run("ort", processes.Cell(made, 1, 1, {}), processes.Effort())


def test_a_fixed_batch_is_refused_by_name():
    made = models.Model("m", Path("m.onnx"), inputs={"image": [1, 3, 4, 4]})
    assert made.shapes(1) == {"image": [1, 3, 4, 4]}
    with pytest.raises(rounds.EngineError, match=r"m.onnx: input image is \[1, 3, 4, 4\], batch 8"):
        made.shapes(8)


def test_mien_is_measured_in_every_precision_of_the_peers():
    assert peers.chosen(["ort"]) == ["mien", "ort"]
    assert peers.chosen(["openvino-bf16", "ort"]) == ["mien", "mien-bf16", "mien-int16", "ort", "openvino-bf16"]


def test_the_cache_is_made_anew_for_another_stamp_only(tmp_path):
    made = []

    def make(part):
        made.append(part)
        part.write_text("model")

    for stamp in ("one", "one", "two"):
        assert models.cached(tmp_path / "m.onnx", stamp, make).read_text() == "model"
    assert len(made) == 2


def test_idle_threads_that_spin_are_seen():
    assert worker.idle_runs(lambda: None, 20, seconds=0.5)["idle_cores"] < 0.1
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        found = worker.idle_runs(lambda: None, 20, seconds=0.5)
    finally:
        stop.set()
        spinner.join()
    assert found["idle_cores"] > 0.1


def test_mien_bench_measures_what_is_burnt_between_calls(mien, tmp_path):
    plan = tmp_path / "small.plan"
    subprocess.run([mien, "convert", ROOT / "models" / "poster_var_small" / "model.onnx", "-o", plan], check=True, capture_output=True)
    words = [mien, "bench", plan, "--seconds", "0", "--runs", "1", "--warmup", "0", "--idle-rate", "10", "--json"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert found["idle_rate"] == 10
    assert 0 <= found["idle_cores"] < 0.1
    assert found["idle_cores"] < found["paced_cores"]
    assert 0 < found["base_bytes"] < found["peak_bytes"]
