"""Latencies as an SVG of horizontal bars, one group a cell, each group in a scale of its own. Works on what --json writes."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmark.report import cell_title, milliseconds, title

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP, TOP = 860, 150, 190, 14, 4, 34, 74
COLOURS = {"mien": "#c2410c", "mien-bf16": "#fb923c", "mien-int16": "#fdba74", "ort": "#1d4ed8", "openvino": "#0f766e", "openvino-bf16": "#5eead4", "mnn": "#7e22ce",
           "torch": "#6b7280"}


def text(parent: ElementTree.Element, x: float, y: float, words: str, **attributes: str) -> None:
    """A line of text at its baseline."""
    ElementTree.SubElement(parent, "text", {"x": f"{x:g}", "y": f"{y:g}", **{k.replace("_", "-"): v for k, v in attributes.items()}}).text = words


def label(row: dict) -> str:
    """What stands behind a bar."""
    words = f"{milliseconds(row['median_ms'])} ms"
    if "ratio" in row and row["ratio"] != 1:
        words += f", {row['ratio']:.2f} x mien"
    return words + (" (noisy)" if row["noisy"] else "") + (" WRONG" if row["wrong"] else "")


def draw_cell(svg: ElementTree.Element, cell: dict, engines: dict, y: float) -> float:
    """One group; where the next one starts."""
    text(svg, 12, y + 12, cell_title(cell), font_weight="bold")
    y += 20
    longest = max((row["median_ms"] for row in cell["rows"].values() if "median_ms" in row), default=1.0)
    for engine, row in cell["rows"].items():
        text(svg, LEFT - 8, y + 11, title(engine, engines), text_anchor="end")
        if "median_ms" in row:
            width = max(1.0, (WIDTH - LEFT - RIGHT) * row["median_ms"] / longest)
            bar = {"x": str(LEFT), "y": f"{y:g}", "width": f"{width:.1f}", "height": str(BAR), "fill": COLOURS.get(engine, "#000")}
            ElementTree.SubElement(svg, "rect", bar)
            text(svg, LEFT + width + 6, y + 11, label(row))
        else:
            text(svg, LEFT, y + 11, f"no figures: {row['failure'][:90]}", fill="#6b7280")
        y += BAR + GAP
    return y + GROUP - 20


def chart(results: dict) -> str:
    """The whole SVG."""
    cells, machine = results["cells"], results["machine"]
    height = TOP + sum(GROUP + len(cell["rows"]) * (BAR + GAP) for cell in cells)
    svg = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": str(WIDTH), "height": str(height),
                                      "viewBox": f"0 0 {WIDTH} {height}", "font-family": "sans-serif", "font-size": "12", "fill": "#111827"})
    ElementTree.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    text(svg, 12, 24, "Time of one run: shorter is faster", font_size="16", font_weight="bold")
    text(svg, 12, 44, f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['date']}, commit {machine['commit']}", fill="#4b5563")
    text(svg, 12, 60, "each group in its own scale; medians of alternating rounds", fill="#4b5563")
    y: float = TOP
    for cell in cells:
        y = draw_cell(svg, cell, results["engines"], y)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"
