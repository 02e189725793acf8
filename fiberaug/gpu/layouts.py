"""How Kornia's classes lay their parameters: which rows can be joined, and how.

Known by the name of the class, never guessed from shapes: a tensor as long as the unit
can be one value for each row, or something else.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.operation import BATCH, OFFSET, SHARED

__all__ = ["LAYOUTS", "REFUSED", "Layout", "layout_of"]


class Layout(NamedTuple):
    """What the batch engine has to know of a class."""

    layout: Mapping[str, str] = {"forward_input_shape": BATCH}
    """How parameters lie; a name that is not there has a value for each row."""

    joined: bool = True
    """Rows of several units can run as one batch of the same pixels."""

    moves: bool = False
    """Pixels move."""

    resizes: bool = False
    """Images can come out in another size."""

    loses_points: str | None = None
    """Why boxes and points cannot go along, where they cannot."""

    erases: bool = False
    """Masks are erased where the image is, though nothing moves."""

    followed: bool = False
    """Kornia has no way for masks: they follow the pixels by their coordinates."""

    pairs: bool = False
    """On the CPU one row alone is convolved another way than two are, and comes out
    otherwise in the last bits."""

    unused: tuple[str, ...] = ()
    """Parameters that are drawn and not read."""


_COLOUR = Layout()
_MOVES = Layout(moves=True)
_RESIZES = Layout(moves=True, resizes=True)
_EVERY_PIXEL = "it displaces each pixel on its own, so that boxes have no map"

LAYOUTS: Mapping[str, Layout] = {
    "CenterCrop": _RESIZES,
    "ColorJiggle": _COLOUR,
    "ColorJitter": _COLOUR,
    "Denormalize": _COLOUR,
    "LongestMaxSize": _RESIZES,
    "Normalize": _COLOUR,
    "PadTo": _RESIZES,
    "RandomAffine": _MOVES,
    "RandomAutoContrast": _COLOUR,
    "RandomBoxBlur": _COLOUR,
    "RandomBrightness": _COLOUR,
    "RandomChannelDropout": Layout({**_COLOUR.layout, "batch_idx": OFFSET}),
    "RandomChannelShuffle": _COLOUR,
    "RandomClahe": _COLOUR,
    "RandomContrast": _COLOUR,
    "RandomCrop": _RESIZES,
    "RandomElasticTransform": Layout(moves=True, loses_points=_EVERY_PIXEL, pairs=True),
    "RandomEqualize": _COLOUR,
    "RandomErasing": Layout(erases=True),
    "RandomFisheye": Layout(moves=True, loses_points=_EVERY_PIXEL, followed=True),
    "RandomGamma": _COLOUR,
    "RandomGaussianBlur": _COLOUR,
    "RandomGaussianIllumination": _COLOUR,
    "RandomGaussianNoise": _COLOUR,
    "RandomGrayscale": _COLOUR,
    "RandomHorizontalFlip": _MOVES,
    "RandomHue": _COLOUR,
    "RandomInvert": _COLOUR,
    "RandomJPEG": Layout(pairs=True),
    "RandomJigsaw": Layout(
        moves=True,
        loses_points="it cuts images into pieces, and boxes would have to be cut too",
        followed=True,
    ),
    "RandomLinearCornerIllumination": _COLOUR,
    "RandomLinearIllumination": _COLOUR,
    "RandomMedianBlur": _COLOUR,
    # idx is the number of a row of whose kernel size the whole unit is
    "RandomMotionBlur": Layout({**_COLOUR.layout, "idx": OFFSET}),
    "RandomPerspective": _MOVES,
    "RandomPlanckianJitter": _COLOUR,
    "RandomPlasmaBrightness": _COLOUR,
    "RandomPlasmaContrast": _COLOUR,
    "RandomPlasmaShadow": _COLOUR,
    "RandomPosterize": _COLOUR,
    "RandomRGBShift": _COLOUR,
    "RandomRain": _COLOUR,
    "RandomResizedCrop": _RESIZES,
    "RandomRotation": _MOVES,
    "RandomRotation90": _MOVES,
    "RandomSaltAndPepperNoise": _COLOUR,
    "RandomSaturation": _COLOUR,
    "RandomSharpness": _COLOUR,
    "RandomShear": _MOVES,
    "RandomSnow": _COLOUR,
    "RandomSolarize": _COLOUR,
    "RandomThinPlateSpline": Layout(
        moves=True, loses_points=_EVERY_PIXEL, followed=True
    ),
    "RandomTranslate": _MOVES,
    "RandomVerticalFlip": _MOVES,
    "Resize": _RESIZES,
    "SmallestMaxSize": _RESIZES,
}
"""All 2D augmentations of Kornia 0.9 that work on one image at a time."""

_POLICY = "it draws one policy for the whole batch; use {} of fiberaug"
_MIX = "it mixes images whose labels and keys it does not know; use {} of fiberaug"

REFUSED: Mapping[str, str] = {
    "AutoAugment": _POLICY.format("AutoAugment"),
    "ManyToManyAugmentationDispather": "it makes several batches of one",
    "ManyToOneAugmentationDispather": "it makes one batch of several",
    "PatchMix": _MIX.format("CutMix"),
    "PatchSequential": "it draws for patches, whose number is not that of the rows;"
    " put the operations into the list by themselves",
    "RandAugment": _POLICY.format("RandAugment"),
    "RandomCutMixV2": _MIX.format("CutMix"),
    "RandomDissolving": "it downloads a diffusion model, and draws as it is applied",
    "RandomMixUpV2": _MIX.format("MixUp"),
    "RandomMosaic": _MIX.format("Mosaic"),
    "RandomTransplantation": _MIX.format("CopyPaste"),
    "TrivialAugment": _POLICY.format("TrivialAugmentWide"),
    "VideoSequential": "it takes videos, and batches are of images",
}
"""What Kornia has and batches cannot be given to, and why."""


def layout_of(module: nn.Module) -> Layout:
    """Return the layout of a Kornia augmentation.

    Args:
        module: The augmentation; its arguments decide as well: with ``same_on_batch``
            some classes read the parameters of one row for all of them.

    Raises:
        UsageError: It is none, or one that cannot run on batches; with the reason.
    """
    name = type(module).__name__
    ours = type(module).__module__.startswith("kornia.augmentation.")
    if ours and name in LAYOUTS:
        return _of(name, LAYOUTS[name], module)
    if ours and name in REFUSED:
        raise UsageError(f"{name} cannot run in gpu_transform: {REFUSED[name]}")
    if ours and name.endswith("3D"):
        raise UsageError(
            f"{name} cannot run in gpu_transform: it takes volumes, and batches are of"
            " images; use the 2D class"
        )
    raise UsageError(
        f"{type(module).__module__}.{name} is no augmentation of Kornia's that"
        " gpu_transform knows, and how it lays its parameters cannot be guessed; write"
        " it as a subclass of fiberaug.gpu.operation.Operation, with draw and run"
    )


def _of(name: str, known: Layout, module: Any) -> Layout:  # noqa: ANN401  # Kornia's
    """Return the layout of a class as the arguments of this instance leave it."""
    same = bool(module.same_on_batch)
    match name:
        case "ColorJiggle" | "ColorJitter" if module._fixed_order is None:  # noqa: SLF001
            known = _by_unit(known, "order")
        case "ColorJiggle" | "ColorJitter":
            known = known._replace(unused=("order",))
        case "RandomMotionBlur" if module._fixed_kernel_size is None:  # noqa: SLF001
            known = _by_unit(known)
        case "RandomMotionBlur":
            known = known._replace(unused=("idx",))
        case "RandomErasing" | "RandomGaussianBlur" if same:
            known = _by_unit(known)  # all rows take the values of row 0
        case "RandomGaussianNoise" if same:
            known = _by_unit(known, "gaussian_noise")  # [1, C, H, W]
    return known


def _by_unit(known: Layout, *shared: str) -> Layout:
    layout = {**known.layout, **dict.fromkeys(shared, SHARED)}
    return known._replace(layout=layout, joined=False)
