"""The table of what can be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIEN = ROOT / "build" / "mien"
# With the exporters; and what is measured.
EXPORT_PYTHON = ROOT / ".venv" / "bin" / "python"
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Engine:
    """``module``: of benchmark.engine_*, empty for mien itself. ``form``: what it loads, see models.Model."""

    title: str
    precision: str
    form: str
    module: str = ""


ENGINES = {
    "mien": Engine("mien", "fp32", "plan"),
    "mien-bf16": Engine("mien, bf16", "bf16", "plan-bf16"),
    "mien-int16": Engine("mien, int16", "int16", "plan-int16"),
    "ort": Engine("ONNX Runtime", "fp32", "onnx", "ort"),
    "openvino": Engine("OpenVINO, f32", "fp32", "onnx", "openvino"),
    "openvino-bf16": Engine("OpenVINO, default", "bf16", "onnx", "openvino"),
    "mnn": Engine("MNN", "fp32", "mnn", "mnn"),
    "torch": Engine("PyTorch eager", "fp32", "torch", "torch"),
}
PEERS = tuple(name for name, engine in ENGINES.items() if engine.module)


def ours_beside(precision: str) -> tuple[str, ...]:
    """The engines that a peer of this precision is compared with: operands of as many bits."""
    return {"fp32": ("mien",), "bf16": ("mien-bf16", "mien-int16")}.get(precision, (f"mien-{precision}",))


def ratio_end(ours: str, precision: str) -> str:
    """How the keys of ratios to that engine of ours end in rows of that precision."""
    return "" if ENGINES[ours].precision == precision else f"_{ENGINES[ours].precision}"


def chosen(peers: list[str]) -> list[str]:
    """mien in fp32, in what is compared with the other peers, and the peers, in the table's order."""
    wanted = {"mien", *peers, *(ours for peer in peers for ours in ours_beside(ENGINES[peer].precision))}
    return [name for name in ENGINES if name in wanted]
