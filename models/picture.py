"""The picture contract, carried out by Pillow: the reference for every other implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.variants import IMAGENET, Picture


def load_picture(path: Path, contract: Picture = IMAGENET) -> torch.Tensor:
    """A picture file as a network input of batch 1."""
    from PIL import Image

    with Image.open(path) as picture:
        resized = picture.convert(contract.color).resize((contract.width, contract.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, dtype=np.float32) / np.float32(contract.scale)
    values = (pixels - np.float32(contract.mean)) / np.float32(contract.std)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))
