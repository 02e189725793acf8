"""Samples mixed with others of their unit: MixUp, CutMix, Mosaic, CopyPaste."""

from fiberaug.mixes.blending import CutMix, MixUp, MixUpOrCutMix
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.mosaic import Mosaic

__all__ = ["CopyPaste", "CutMix", "MixUp", "MixUpOrCutMix", "Mosaic"]
