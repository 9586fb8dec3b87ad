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
    "ort": Engine("ONNX Runtime", "fp32", "onnx", "ort"),
    "openvino": Engine("OpenVINO, f32", "fp32", "onnx", "openvino"),
    "openvino-bf16": Engine("OpenVINO, default", "bf16", "onnx", "openvino"),
    "mnn": Engine("MNN", "fp32", "mnn", "mnn"),
    "torch": Engine("PyTorch eager", "fp32", "torch", "torch"),
}
PEERS = tuple(name for name, engine in ENGINES.items() if engine.module)


def ours_beside(precision: str) -> str:
    """The engine that a peer of this precision is compared with."""
    return "mien" if precision == "fp32" else f"mien-{precision}"


def chosen(peers: list[str]) -> list[str]:
    """mien in fp32, in every other precision that a peer has, and the peers, in the table's order."""
    wanted = {"mien", *peers, *(ours_beside(ENGINES[peer].precision) for peer in peers)}
    return [name for name in ENGINES if name in wanted]
