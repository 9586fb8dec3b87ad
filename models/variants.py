"""The one table of variants: dataset, head, fusion and size of every network that can be built and exported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """A dataset's classes, in the order of its labels."""

    name: str
    labels: tuple[str, ...]


RAFDB7 = Dataset("rafdb7", ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"))
AFFECTNET7 = Dataset("affectnet7", ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"))
AFFECTNET8 = Dataset("affectnet8", AFFECTNET7.labels + ("contempt",))
FERPLUS8 = Dataset("ferplus8", ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"))


@dataclass(frozen=True)
class Size:
    """Widths and depths. Scales, windows and the picture are the same in every size."""

    name: str
    dims: tuple[int, int, int]
    heads: tuple[int, int, int]
    landmark_width: int
    landmark_depths: tuple[int, int, int]
    image_depths: tuple[int, int, int]
    vit_dim: int
    vit_heads: int
    vit_depth: int = 2


FULL = Size("full", dims=(64, 128, 256), heads=(2, 4, 8), landmark_width=512, landmark_depths=(4, 6, 2),
            image_depths=(3, 4, 14), vit_dim=768, vit_heads=8)
# Bound to 3 MB of ONNX, of which the position biases take 2.6: exporters store them per head and pair of positions.
SMALL = Size("small", dims=(8, 12, 24), heads=(1, 1, 2), landmark_width=24, landmark_depths=(1, 1, 1),
             image_depths=(2, 2, 2), vit_dim=16, vit_heads=2)


@dataclass(frozen=True)
class Picture:
    """How a picture becomes the network's input: resize, divide by ``scale``, subtract ``mean``, divide by ``std``."""

    width: int = 224
    height: int = 224
    color: str = "RGB"
    resize: str = "pillow-bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: int = 255


IMAGENET = Picture()


@dataclass(frozen=True)
class Variant:
    """One network. ``head`` is vich or linear; ``nonlinear`` is POSTER-Var's fusion, else it is POSTER++'s."""

    name: str
    dataset: Dataset
    head: str
    layer_embedding: bool
    nonlinear: bool
    size: Size
    picture: Picture = IMAGENET


VARIANTS = {variant.name: variant for variant in (
    # name, dataset, head, layer embedding, nonlinear, size
    Variant("poster_var_rafdb7", RAFDB7, "vich", True, True, FULL),
    Variant("poster_var_affectnet7", AFFECTNET7, "vich", True, True, FULL),
    Variant("poster_var_affectnet8", AFFECTNET8, "vich", True, True, FULL),
    Variant("poster_var_ferplus8", FERPLUS8, "vich", True, True, FULL),
    Variant("poster_var_rafdb7_linear", RAFDB7, "linear", True, True, FULL),
    Variant("poster_var_rafdb7_flat", RAFDB7, "vich", False, True, FULL),
    Variant("poster_pp_rafdb7", RAFDB7, "linear", False, False, FULL),
    Variant("poster_pp_affectnet7", AFFECTNET7, "linear", False, False, FULL),
    Variant("poster_pp_affectnet8", AFFECTNET8, "linear", False, False, FULL),
    Variant("poster_var_small", RAFDB7, "vich", True, True, SMALL),
    Variant("poster_var_small_ferplus8", FERPLUS8, "vich", True, True, SMALL),
    Variant("poster_var_small_linear", RAFDB7, "linear", True, True, SMALL),
    Variant("poster_var_small_flat", RAFDB7, "vich", False, True, SMALL),
    Variant("poster_pp_small", RAFDB7, "linear", False, False, SMALL),
)}
