"""Are the outputs of an engine those of ONNX Runtime?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Largest difference allowed, as a share of the reference's largest magnitude, or absolute where that is under 1.
# EXACT is what the precision gives when nothing is approximated (bf16 has 8 bits: networks of fifty layers end near 1e-2), and what mien must keep.
# A peer beyond it is less exact, for whatever reason, which is said beside its figures: MNN at precision high ends 4e-7 to 2e-6 (relative) from
# double precision on convolutional networks as all others do, but 4e-4 to 1e-3 on those with attention, where others keep 1e-6 to 2e-5. Beyond SAME a peer
# does not compute the same network: fp32 has three times MNN's error; bf16 is not told apart better by its outputs, for seeded ViT-S/16 amplifies rounding
# errors: all in bf16, PyTorch ends 0.21 of the largest magnitude from double precision, OpenVINO 0.17, and mien 0.15, which is
# more than it may.
# int16 has 12 to 13 bits where numbers are like one another, which is eight times nearer: what is asked of POSTER-Var is asked of all.
EXACT = {"fp32": 1e-4, "bf16": 5e-2, "int16": 1e-2}
SAME = {"fp32": 3e-3, "bf16": 2.5e-1}

Arrays = Mapping[str, np.ndarray]


def difference(name: str, value: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; infinite where the shape or the place of a NaN differs."""
    if value.shape != expected.shape:
        return float("inf")
    both_nan = np.isnan(value) & np.isnan(expected)
    equal = both_nan | (value == expected)
    with np.errstate(invalid="ignore"):
        apart = np.where(equal, 0.0, np.abs(value.astype(np.float64) - expected.astype(np.float64)))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))


def compare(outputs: Arrays, reference: Arrays, tolerance: float) -> tuple[float, list[str]]:
    """The largest difference over all outputs, and a line for each output that is beyond the tolerance."""
    largest, wrong = 0.0, []
    for name, expected in reference.items():
        if name not in outputs:
            largest = float("inf")
            wrong.append(f"output '{name}' is missing")
            continue
        found = difference(name, outputs[name], expected)
        finite = np.abs(expected[np.isfinite(expected)])
        allowed = tolerance * max(1.0, float(finite.max(initial=0.0)))
        largest = max(largest, found)
        if outputs[name].shape != expected.shape:
            wrong.append(f"output '{name}' has shape {list(outputs[name].shape)}, expected {list(expected.shape)}")
        elif not found <= allowed:
            wrong.append(f"output '{name}' differs by {found:.3g}, allowed {allowed:.3g}")
    return largest, wrong
