"""What the arguments of Kornia's classes may be in a recipe, which strangers write.

Each is bounded before anything is built. Sides are bounded by what an image may be; the
rest such that 64 RGB images of 224 x 224 px take at most about 5 GiB while they are
augmented.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fiberaug.errors import UsageError
from fiberaug.recipe import shorten

__all__ = ["KINDS", "Kind", "check_argument", "kind_of"]


class Kind(NamedTuple):
    """The values that an argument takes."""

    words: tuple[str, ...] = ()
    """One of these texts."""

    flag: bool = False
    """true or false."""

    null: bool = False
    """null."""

    lengths: tuple[int, ...] = ()
    """Lengths of lists of numbers; 0 is a number alone."""

    whole: bool = False
    """Numbers are whole."""

    odd: bool = False
    """Numbers are odd."""

    low: float = 0
    high: float = 0

    def described(self) -> str:
        """Return the values in words."""
        numbers = "odd numbers" if self.odd else "numbers"
        if self.whole and not self.odd:
            numbers = "whole numbers"
        parts = [repr(word) for word in self.words]
        parts += ["true or false"] * self.flag
        if 0 in self.lengths:
            parts.append(f"{'an' if self.odd else 'a'} {numbers.removesuffix('s')}")
        several = [n for n in self.lengths if n]
        if len(several) > 4:
            parts.append(f"a list of {several[0]} to {several[-1]} {numbers}")
        elif several:
            parts.append(f"a list of {' or '.join(map(str, several))} {numbers}")
        bound = f" from {self.low:g} to {self.high:g}" if self.lengths else ""
        return " or ".join(parts) + bound + " or null" * self.null

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the values."""
        found: list[dict[str, Any]] = []
        if self.words:
            found.append({"enum": list(self.words)})
        if self.flag:
            found.append({"type": "boolean"})
        number = {
            "type": "integer" if self.whole else "number",
            "minimum": self.low,
            "maximum": self.high,
        }
        if 0 in self.lengths:
            found.append(number)
        several = [n for n in self.lengths if n]
        if several:
            found.append(
                {
                    "type": "array",
                    "items": number,
                    "minItems": min(several),
                    "maxItems": max(several),
                }
            )
        if self.null:
            found.append({"type": "null"})
        return found[0] if len(found) == 1 else {"anyOf": found}


_FLAG = Kind(flag=True)
_MANY = tuple(range(1, 65))
_RESAMPLE = Kind(words=("nearest", "bilinear", "bicubic"))
_BORDER = Kind(words=("constant", "reflect", "replicate", "circular"))
_SAMPLED = Kind(words=("zeros", "border", "reflection"))
_FILLED = Kind(words=("zeros", "border", "reflection", "fill"))


def _numbers(
    low: float,
    high: float,
    *lengths: int,
    whole: bool = False,
    odd: bool = False,
    null: bool = False,
) -> Kind:
    return Kind(lengths=lengths, low=low, high=high, whole=whole, odd=odd, null=null)


_SHARE = _numbers(0, 1, 0)
_SHARES = _numbers(0, 1, 2)
_SHARE_OR_RANGE = _numbers(0, 1, 0, 1, 2)
_SIDE = _numbers(1, 16384, 0, whole=True)
_SIDES = _numbers(1, 16384, 2, whole=True)
_KERNEL = _numbers(1, 99, 2, whole=True)
_FACTOR = _numbers(0, 10, 0, 2)
_ANGLE = _numbers(-360, 360, 0, 2)
_SHEAR = _numbers(-89, 89, 0, 2, 4)
_SHIFT = _numbers(-1, 1, 0, 2)

KINDS: Mapping[str, Kind] = {
    # of every class that has the argument
    "additions": _numbers(-0.5, 0.5, 0, 2),
    "align_corners": _FLAG,
    "alpha": _numbers(-100, 100, 2),
    "amount": _SHARE_OR_RANGE,
    "angle": _ANGLE,
    "antialias": _FLAG,
    "b_shift_limit": _SHIFT,
    "bits": _numbers(0, 8, 0, 2),
    "border_type": _BORDER,
    "brightness": _FACTOR,
    "center": _SHARE_OR_RANGE,
    "center_x": _numbers(-10, 10, 2),
    "center_y": _numbers(-10, 10, 2),
    "clip_limit": _numbers(0, 1000, 2),
    "clip_output": _FLAG,
    "contrast": _FACTOR,
    "crop_if_exceeds": _FLAG,
    "cropping_mode": Kind(words=("slice", "resample")),
    "degrees": _ANGLE,
    "direction": _SHIFT,
    "distortion_scale": _SHARE,
    "drop_height": _numbers(1, 128, 2, whole=True),
    "drop_width": _numbers(-128, 128, 2, whole=True),
    "ensure_perm": _FLAG,
    "fill": _numbers(0, 1, 0, *_MANY),
    "fill_value": _SHARE,
    "g_shift_limit": _SHIFT,
    "gain": _SHARE_OR_RANGE,
    "gamma": _numbers(0, 100, 2),
    "grid": _numbers(1, 32, 2, whole=True),
    "grid_size": _numbers(1, 16, 2, whole=True),
    "hue": _numbers(-0.5, 0.5, 0, 2),
    "intensity": _SHARES,
    "jpeg_quality": _numbers(1, 100, 0, 2),
    "keepdim": _FLAG,
    "kernel_size": _KERNEL._replace(odd=True),
    "max_size": _SIDE,
    "max_val": _numbers(0, 1000, 0),
    "mean": _numbers(-1000, 1000, 0, *_MANY),
    "mode": Kind(words=("blackbody", "CIED")),
    "normalized": _FLAG,
    "num_drop_channels": _numbers(1, 64, 0, whole=True),
    "number_of_drops": _numbers(0, 4000, 2, whole=True),
    "order": _numbers(0, 3, 1, 2, 3, 4, whole=True, null=True),
    "p": _SHARE,
    "p_batch": _SHARE,
    "pad_if_needed": _FLAG,
    "pad_mode": _BORDER,
    "pad_value": _SHARE,
    "padding": _numbers(0, 512, 0, 2, 4, whole=True, null=True),
    "padding_mode": _SAMPLED,
    "r_shift_limit": _SHIFT,
    "ratio": _numbers(0.01, 100, 2),
    "resample": _RESAMPLE,
    "rgb_weights": _numbers(0, 1, *_MANY, null=True),
    "roughness": _SHARES,
    "salt_vs_pepper": _SHARE_OR_RANGE,
    "same_on_batch": _FLAG,
    "sampling_method": Kind(words=("basic", "area_preserving")),
    "saturation": _FACTOR,
    "scale": _SHARES,
    "select_from": _numbers(0, 24, 0, *range(1, 26), whole=True, null=True),
    "separable": _FLAG,
    "shade_intensity": _numbers(-1, 0, 2),
    "shade_quantity": _SHARES,
    "sharpness": _FACTOR,
    "shear": _SHEAR,
    "side": Kind(words=("short", "long", "vert", "horz")),
    "sigma": _numbers(0.01, 100, 2),
    "sign": _numbers(-1, 1, 0, 1, 2),
    "size": _SIDES,
    "slow_and_differentiable": _FLAG,
    "snow_coefficient": _SHARES,
    "std": _numbers(1e-6, 1000, 0, *_MANY),
    "thresholds": _numbers(0, 1, 0, 2),
    "times": _numbers(-3, 3, 2),
    "translate": _numbers(0, 1, 2, null=True),
    "translate_x": _numbers(-1, 1, 2, null=True),
    "translate_y": _numbers(-1, 1, 2, null=True),
    "value": _SHARE,
    # of one class
    "CenterCrop.size": _numbers(1, 16384, 0, 2, whole=True),
    "RandomAffine.fill_value": _numbers(0, 1, 0, *_MANY, null=True),
    "RandomAffine.padding_mode": _FILLED,
    "RandomAffine.scale": _numbers(0.01, 100, 2, 4, null=True),
    "RandomAffine.shear": _SHEAR._replace(null=True),
    "RandomCrop.padding_mode": _BORDER,
    "RandomFisheye.gamma": _numbers(0, 10, 2),
    "RandomGamma.gain": _numbers(0, 100, 2),
    "RandomBoxBlur.kernel_size": _KERNEL,
    "RandomGaussianBlur.kernel_size": _numbers(1, 99, 0, 2, whole=True, odd=True),
    "RandomGaussianIllumination.sigma": _SHARE_OR_RANGE,
    "RandomGaussianNoise.mean": _numbers(-1, 1, 0),
    "RandomGaussianNoise.std": _numbers(0, 10, 0),
    # it takes a copy of the image for each pixel of the kernel
    "RandomMedianBlur.kernel_size": _numbers(1, 7, 0, 2, whole=True, odd=True),
    "RandomMotionBlur.kernel_size": _numbers(3, 99, 0, 2, whole=True),
    "RandomResizedCrop.scale": _numbers(1e-4, 1, 2),
    "RandomSnow.brightness": _numbers(1, 100, 2),
    "RandomThinPlateSpline.scale": _numbers(0, 1, 0),
    "Resize.size": _numbers(1, 16384, 0, 2, whole=True),
}
"""By ``argument`` or ``Class.argument``, the latter first."""


def kind_of(name: str, argument: str) -> Kind:
    """Return what an argument of a class takes."""
    return KINDS.get(f"{name}.{argument}") or KINDS[argument]


def check_argument(name: str, argument: str, value: object, where: str) -> None:
    """Check a value of a recipe.

    Args:
        name: Name of the class.
        argument: Name of an argument that it has.
        value: What the recipe says.
        where: Place of the operation, for the message.

    Raises:
        UsageError: With the argument, the value and what it may be.
    """
    kind = kind_of(name, argument)
    if not _fits(value, kind):
        hint = "; YAML takes 1e-3 for text: write 1.0e-3" if _is_number(value) else ""
        raise UsageError(
            f"{where}: {name}: {argument} takes {kind.described()}, got"
            f" {shorten(value)}{hint}"
        )


def _fits(value: object, kind: Kind) -> bool:
    if value is None:
        return kind.null
    if isinstance(value, bool):
        return kind.flag
    if isinstance(value, str):
        return value in kind.words
    if isinstance(value, list | tuple):
        return len(value) in kind.lengths and all(_numeric(v, kind) for v in value)
    return 0 in kind.lengths and _numeric(value, kind)


def _numeric(value: object, kind: Kind) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if (kind.whole and not isinstance(value, int)) or (kind.odd and value % 2 == 0):
        return False
    return kind.low <= value <= kind.high


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False
