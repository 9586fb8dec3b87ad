"""mien profile: the table, JSON, Chrome trace and page of one plan agree with each other and with figures from elsewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest

SMALL = Path(__file__).resolve().parents[2] / "models" / "poster_var_small" / "model.onnx"
QUICK = ("--seconds", "0", "--runs", "5", "--warmup", "1", "--threads", "2")
RUN, NODE, PHASE, WORK = "run", "node", "phase", "work"


def call(*words: object, status: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, (done.returncode, done.stderr)
    return done


def plan_of(mien: Path, model: Path, folder: Path) -> Path:
    plan = folder / (model.stem + ".plan")
    call(mien, "convert", model, "-o", plan)
    return plan


@pytest.fixture(scope="module")
def small(mien: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plan_of(mien, SMALL, tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def files(mien: Path, small: Path) -> tuple[dict, dict, str]:
    """The JSON, the trace and the page of one profile."""
    trace, page = small.with_suffix(".trace.json"), small.with_suffix(".html")
    done = call(mien, "profile", small, *QUICK, "--json", "--trace", trace, "--html", page)
    assert sorted(f.name for f in small.parent.iterdir()) == sorted([small.name, trace.name, page.name])
    return json.loads(done.stdout), json.loads(trace.read_text()), page.read_text()


def test_json_adds_up(files: tuple[dict, dict, str]) -> None:
    profile = files[0]
    nodes, operators = profile["nodes"], profile["operators"]
    assert profile["schema"] == 1 and profile["threads"] == 2 and profile["runs"] == 5
    assert [n["ms"] for n in nodes] == sorted((n["ms"] for n in nodes), reverse=True)
    assert len({n["index"] for n in nodes}) == len(nodes) == sum(o["nodes"] for o in operators)
    assert sum(n["ms"] for n in nodes) == pytest.approx(profile["nodes_ms"]) == pytest.approx(sum(o["ms"] for o in operators))
    between = 100 * profile["between_nodes_ms"] / (profile["nodes_ms"] + profile["between_nodes_ms"])
    assert sum(n["percent"] for n in nodes) + between == pytest.approx(100)
    for n in nodes:
        assert 0 < n["fastest_ms"] <= n["ms"] and n["kernel"] and n["output"].startswith("f32[") and n["phases"] >= 1
        assert n["items"] >= n["pieces"] >= n["phases"] and 0 < n["busy_percent"] <= 100.1
        assert n["gflops_per_second"] == pytest.approx(n["flops"] / n["ms"] / 1e6)
        assert n["gbytes_per_second"] == pytest.approx(n["bytes"] / n["ms"] / 1e6)
        assert n["percent_of_peak"] == pytest.approx(100 * n["gflops_per_second"] / profile["peak_gflops_per_second"])
    assert profile["arena_bytes"] >= profile["live_bytes"] > 0
    assert {"mien.Conv", "mien.Linear", "poster.WindowCrossAttention"} <= {o["op"] for o in operators}


def test_text_shows_the_same_nodes(mien: Path, small: Path, files: tuple[dict, dict, str]) -> None:
    text = call(mien, "profile", small, *QUICK).stdout
    for n in files[0]["nodes"]:
        assert any(n["op"] in line and n["output"] in line and n["kernel"] in line and line.endswith(" " + n["name"])
                   for line in text.splitlines()), n
    assert re.search(r"^Arena: .* KB, largest live set .* KB", text, re.M)
    top = call(mien, "profile", small, *QUICK, "--top", "3").stdout
    assert f"... {len(files[0]['nodes']) - 3} more" in top


def test_trace_nests(files: tuple[dict, dict, str]) -> None:
    profile, trace, _ = files
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M" and e["name"] == "thread_name"}
    assert names == {"thread 0 (caller)", "thread 1"}
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in events)
    nodes = [e for e in events if e["cat"] == NODE]
    assert sorted(e["name"] for e in nodes) == sorted(n["name"] for n in profile["nodes"])
    assert len([e for e in events if e["cat"] == RUN]) == 1
    assert {e["cat"] for e in events if e["tid"] == 1} <= {WORK}
    slack = 1e-6
    for tid in (0, 1):
        ends: list[float] = []
        for e in sorted((e for e in events if e["tid"] == tid), key=lambda e: (e["ts"], -e["dur"])):
            while ends and e["ts"] >= ends[-1] - slack:
                ends.pop()
            assert not ends or e["ts"] + e["dur"] <= ends[-1] + slack
            ends.append(e["ts"] + e["dur"])
    for work in (e for e in events if e["cat"] == WORK):  # inside a node of its name, also on the other thread
        assert any(n["name"] == work["name"] and n["ts"] <= work["ts"] + slack
                   and work["ts"] + work["dur"] <= n["ts"] + n["dur"] + slack for n in nodes)


def page_data(page: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1))


def test_page_is_whole_and_alone(files: tuple[dict, dict, str]) -> None:
    profile, trace, page = files
    assert page.rstrip().endswith("</html>") and "@DATA@" not in page
    assert not re.search(r"""https?://|src=|@import|url\(|<link|fetch\(|XMLHttpRequest""", page)
    assert "default-src 'none'" in page
    data = page_data(page)
    assert data["nodes"] == profile["nodes"] and data["operators"] == profile["operators"]
    assert sum(map(len, data["fastest"]["tracks"])) == len([e for e in trace["traceEvents"] if e["ph"] == "X"])


def test_places_share_memory_in_turn(files: tuple[dict, dict, str]) -> None:
    data = page_data(files[2])
    places = data["places"]
    assert len(places) > 20 and all(p["offset"] + p["bytes"] <= data["arena_bytes"] for p in places)
    for i, a in enumerate(places):
        for b in places[:i]:
            apart = a["last"] < b["first"] or b["last"] < a["first"]
            assert apart or a["offset"] >= b["offset"] + b["bytes"] or b["offset"] >= a["offset"] + a["bytes"], (a, b)
    # The largest sum alive at once, here by plain counting, is what the runtime reports (which rounds each value up to 64 bytes).
    most = max(sum((p["bytes"] + 63) // 64 * 64 for p in places if p["first"] <= i <= p["last"]) for i in range(data["instructions"] + 1))
    assert most == data["live_bytes"]


def test_files_are_replaced_at_once_or_not_at_all(mien: Path, small: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.html"
    old.write_text("what was there")
    done = call(mien, "profile", small, *QUICK, "--html", old, "--trace", tmp_path / "none" / "t.json", status=1)
    assert done.stdout == "" and re.match(r"mien profile: .*none/t\.json", done.stderr)
    done = call(mien, "profile", small, *QUICK, "--html", old, "--input", "image=/no/such.npy", status=1)
    assert old.read_text() == "what was there" and [f.name for f in tmp_path.iterdir()] == ["old.html"]


@pytest.mark.parametrize("words, said", [
    ((), "plan is missing"),
    (("x.plan", "--top", "-1"), "--top is '-1'"),
    (("x.plan", "--batch", "0"), "--batch is '0'"),
    (("x.plan", "--trace"), "needs a value"),
    (("x.plan", "--flame"), "unknown option '--flame'"),
])
def test_wrong_usage(mien: Path, words: tuple[str, ...], said: str) -> None:
    assert said in call(mien, "profile", *words, status=2).stderr


def save(folder: Path, name: str, nodes: list, inputs: list, outputs: list, initializers: list) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; scripts/venv.sh installs it")
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, initializers)
    path = folder / f"{name}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_operations_are_those_of_the_definition(mien: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; scripts/venv.sh installs it")
    np = pytest.importorskip("numpy")
    port, weights = onnx.helper.make_tensor_value_info, lambda name, *shape: onnx.numpy_helper.from_array(np.ones(shape, np.float32) / 8, name)
    nodes = [onnx.helper.make_node("Conv", ["x", "k"], ["a"], "three", pads=[1, 1, 1, 1]),
             onnx.helper.make_node("Conv", ["a", "g"], ["b"], "grouped", group=4, strides=[2, 2]),
             onnx.helper.make_node("MatMul", ["b", "w"], ["c"], "product"),
             onnx.helper.make_node("Softmax", ["c"], ["y"], "rows")]
    model = save(tmp_path, "m", nodes, [port("x", 1, (2, 24, 20, 20))], [port("y", 1, None)],
                 [weights("k", 32, 24, 3, 3), weights("g", 16, 8, 2, 2), weights("w", 10, 7)])
    rows = json.loads(call(mien, "profile", plan_of(mien, model, tmp_path), *QUICK, "--json").stdout)["nodes"]
    found = {n["op"]: n["flops"] for n in rows if not n["op"].endswith("Conv")}
    assert all(n["busy_percent"] <= 100.1 for n in rows)  # also where one item of work is shared out in phases of its own
    assert sorted(n["flops"] for n in rows if n["op"].endswith("Conv")) == [2 * 2 * 16 * 10 * 10 * 8 * 2 * 2, 2 * 2 * 32 * 20 * 20 * 24 * 3 * 3]
    assert [flops for op, flops in found.items() if op.endswith(("MatMul", "Linear"))] == [2 * 2 * 16 * 10 * 10 * 7]
    assert found["Softmax"] == 0 and [n["kernel"] for n in rows if n["op"] == "Softmax"] == ["vector"]


def test_hostile_names_stay_data(mien: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; scripts/venv.sh installs it")
    name = '</script><script>alert("1")</script><!--'
    port = onnx.helper.make_tensor_value_info
    model = save(tmp_path, "m", [onnx.helper.make_node("Softmax", ["x"], ["y"], name)], [port("x", 1, (3,))], [port("y", 1, (3,))], [])
    page = tmp_path / "page.html"
    call(mien, "profile", plan_of(mien, model, tmp_path), *QUICK, "--html", page)
    assert [n["name"] for n in page_data(page.read_text())["nodes"]] == [name]
    assert page.read_text().count("<script") == 2


def test_sizes_that_depend_on_data(mien: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; scripts/venv.sh installs it")
    port = onnx.helper.make_tensor_value_info
    model = save(tmp_path, "m", [onnx.helper.make_node("NonZero", ["x"], ["y"], "which")], [port("x", 1, (3, 4))], [port("y", 7, (2, None))], [])
    plan, page = plan_of(mien, model, tmp_path), tmp_path / "page.html"
    profile = json.loads(call(mien, "profile", plan, *QUICK, "--json", "--html", page).stdout)
    assert [(n["name"], n["output"], n["kernel"]) for n in profile["nodes"]] == [("which", "?", "")]
    assert page_data(page.read_text())["places"] == []
    assert re.search(r"NonZero +\? +which$", call(mien, "profile", plan, *QUICK).stdout, re.M)
