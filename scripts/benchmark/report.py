"""Results as tables in Markdown, aligned so that they read well as plain text too. Works on the dictionary that --json writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.peers import ENGINES, ours_beside, ratio_end

MISSING = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. The first column is aligned left, and the last where it holds words; the rest right."""
    texts = [[cell.replace("|", "/").replace("\n", " ") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    words = head[-1] in ("note", "flags")
    left = {0, len(head) - 1} if words else {0}

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))) + " |"

    rule = "|" + "|".join("-" * (width + 2) if i in left else "-" * (width + 1) + ":" for i, width in enumerate(widths)) + "|"
    return "\n".join([line(texts[0]), rule, *(line(row) for row in texts[1:])])


def show(row: dict, key: str, form: Callable[[float], str]) -> str:
    """A figure, or a dash."""
    return form(row[key]) if row.get(key) is not None else MISSING


def milliseconds(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(value: float) -> str:
    """Of 1e6 bytes."""
    return f"{value / 1e6:.1f}"


def plain(form: str) -> Callable[[float], str]:
    """A format as a function."""
    return lambda value: format(value, form)


COLUMNS = (
    ("ms", "median_ms", milliseconds), ("/ mien", "ratio", plain(".2f")), ("items/s", "items_per_second", plain(".1f")),
    ("cores", "cores", plain(".2f")), ("spread", "spread", plain(".0%")), ("load ms", "load_ms", milliseconds),
    ("first run ms", "first_run_ms", milliseconds), ("start to answer ms", "answer_ms", milliseconds), ("base MB", "base_bytes", megabytes),
    ("peak MB", "peak_bytes", megabytes), ("model MB", "model_bytes", megabytes), ("difference", "difference", plain(".1e")),
)


def note(row: dict) -> str:
    """What must be known of a row."""
    if "failure" in row:
        return f"no figures: {row['failure'][:160]}"
    notes = [f"WRONG: {line}" for line in row["wrong"]]
    if row["inexact"] and not row["wrong"]:
        notes.append(f"less exact than {row['precision']} allows")
    if row["noisy"]:
        notes.append("noisy")
    return "; ".join(notes)


def cell_title(cell: dict) -> str:
    """Which model, batch and threads."""
    threads = f"{cell['threads']} thread{'s' if cell['threads'] != 1 else ''}"
    return f"{cell['model']}, batch {cell['batch']}, {threads}"


def cell_text(cell: dict, engines: dict) -> str:
    """One cell."""
    rows = [[title(engine, engines), *(show(row, key, form) for _, key, form in COLUMNS), note(row)] for engine, row in cell["rows"].items()]
    quiet = "" if not cell["noise"] else f"\nNoisy after {cell['attempts']} attempts: {'; '.join(cell['noise'])}.\n"
    return f"### {cell_title(cell)}\n\n{table(['engine', *(head for head, _, _ in COLUMNS), 'note'], rows)}\n{quiet}"


def title(engine: str, engines: dict) -> str:
    """The name in the tables; that of the option where the engine never ran."""
    return engines[engine]["title"] if engine in engines else engine


RATIOS = (("time of one run", "ratio", "median_ms", milliseconds, " ms"), ("start to first answer", "answer_ratio", "answer_ms", milliseconds, " ms"),
          ("peak resident memory", "peak_ratio", "peak_bytes", megabytes, " MB"))


def ratios_text(results: dict, what: str, ratio: str, key: str, form: Callable[[float], str], unit: str) -> str:
    """How many times mien's figure each peer's is; ~ marks a noisy cell, * an engine that is less exact than its precision allows."""
    engines = [engine for engine in dict.fromkeys(e for cell in results["cells"] for e in cell["rows"]) if not engine.startswith("mien")]
    pairs = [(engine, ours) for engine in engines for ours in ours_beside(ENGINES[engine].precision)]
    rows = []
    for cell in results["cells"]:
        mark = "~" if cell["noise"] else ""
        stars = {engine: "*" if cell["rows"].get(engine, {}).get("inexact") else "" for engine in engines}
        found = [show(cell["rows"].get(engine, {}), ratio + ratio_end(ours, ENGINES[engine].precision), lambda value: f"{mark}{value:.2f}") + stars[engine]
                 for engine, ours in pairs]
        rows.append([cell_title(cell), show(cell["rows"].get("mien", {}), key, form), *found])
    heads = [title(engine, results["engines"]) + ("" if ours == "mien" else f" / {title(ours, results['engines'])}") for engine, ours in pairs]
    return table([f"{what} / mien's", f"mien{unit}", *heads], rows)


def scaling_text(results: dict) -> str:
    """mien's time on one thread over its time on more."""
    times = {(cell["model"], cell["batch"], cell["threads"]): cell["rows"].get("mien", {}).get("median_ms") for cell in results["cells"]}
    rows = []
    for (model, batch, threads), value in times.items():
        one = times.get((model, batch, 1))
        if threads > 1 and one and value:
            rows.append([model, str(batch), str(threads), f"{one / value:.2f}"])
    return "" if not rows else table(["mien on more threads", "batch", "threads", "times as fast as on 1"], rows) + "\n"


def idle_text(idle: dict, engines: dict) -> str:
    """What is burnt between calls."""
    cores = plain(".4f")
    rows = [[title(engine, engines), show(row, "median_ms", milliseconds), show(row, "idle_cores", cores), show(row, "paced_cores", cores), note(row)]
            for engine, row in idle["rows"].items()]
    head = ["engine", "ms a call", "cores between calls", "cores in all", "note"]
    return f"### Idle CPU: {idle['rate']:g} calls a second of {idle['model']}, {idle['threads']} threads\n\n{table(head, rows)}\n"


def subnormal_text(cells: list[dict], engines: dict) -> str:
    """Times with subnormal inputs over times with normal ones."""
    names = list(dict.fromkeys(engine for cell in cells for engine in cell["rows"]))
    rows = []
    for cell in cells:
        mark = "~" if cell["noise"] else ""
        found = [[show(cell["rows"].get(name, {}), key, form) for key, form in
                  (("normal_ms", milliseconds), ("median_ms", milliseconds), ("subnormal_ratio", lambda value: f"{mark}{value:.2f}"))] for name in names]
        rows.append([cell_title(cell), *(text for three in found for text in three)])
    head = ["every element of the inputs subnormal", *(text for name in names for text in (f"{title(name, engines)} ms, normal", "subnormal", "ratio"))]
    return f"### Subnormal inputs\n\n{table(head, rows)}\n"


def head_text(results: dict) -> str:
    """The machine, the versions, the flags and how it was measured."""
    machine, options = results["machine"], results["options"]
    others = f"{machine['others_cores']:.2f} cores used by others at the start, load average {machine['load_average']:.2f}"
    rows = [[facts["title"], facts["precision"], str(facts["version"]), megabytes(facts["library_bytes"]), facts["flags"]]
            for facts in results["engines"].values()]
    return "\n".join([
        f"{machine['cpu']}, {machine['cpus']} CPUs ({' '.join(machine['cpu_flags'])}), governor {machine['governor']}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}",
        f"{machine['date']}, commit {machine['commit']}; {others}",
        f"{options['rounds']} alternating rounds of {options['seconds']:g} s (at least {options['runs']} runs) in fresh processes, after "
        f"{options['warmup_ms']:g} ms of warm-up; figures are medians over the rounds of medians", "",
        table(["engine", "precision", "version", "libraries MB", "flags"], rows), "",
        "cores: CPU time over wall time of the timed runs. load, first run: inside the process, without the interpreter's start and imports;",
        "start to answer: from the start of a fresh process, all in (`mien run`; for the peers Python, numpy and the peer's import too).",
        "base: peak resident memory before the model is loaded (the interpreter, numpy, the peer's libraries); peak: at the end.",
        "difference: largest absolute, against ONNX Runtime.", ""])


def report(results: dict) -> str:
    """Everything as text."""
    parts = [head_text(results), *(cell_text(cell, results["engines"]) for cell in results["cells"])]
    if results.get("subnormal"):
        parts.append(subnormal_text(results["subnormal"], results["engines"]))
    if results.get("idle"):
        parts.append(idle_text(results["idle"], results["engines"]))
    if results["cells"]:
        parts += ["### Ratios to mien in the same precision\n", "~ noisy, * less exact than the precision allows\n", *(ratios_text(results, *ratio) + "\n" for ratio in RATIOS), scaling_text(results)]
    return "\n".join(part for part in parts if part)


def wrong(results: dict) -> list[str]:
    """A line for every wrong output and for every cell that mien has no figures in: why the bench fails."""
    found = []
    cells = [*results["cells"], *results.get("subnormal", []), *([results["idle"]] if results.get("idle") else [])]
    for cell in cells:
        where = cell_title(cell) + (", subnormal inputs" if cell in results.get("subnormal", []) else "")
        found += [f"{where}: {engine}: {line}" for engine, row in cell["rows"].items() for line in row.get("wrong", [])]
        if "failure" in cell["rows"].get("mien", {}):
            found.append(f"{where}: mien: {cell['rows']['mien']['failure']}")
    return found
