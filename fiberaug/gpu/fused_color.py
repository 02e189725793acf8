"""Kornia's colour operations, written as rounds.

Known are the classes of :data:`COLORS`, with the arithmetic of Kornia 0.9. Parameters
are those that Kornia drew.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from kornia import augmentation as K

from fiberaug.errors import UsageError
from fiberaug.gpu.fused_rounds import Kind, Rounds
from fiberaug.gpu.fused_rows import RowParams

__all__ = ["COLORS", "Color", "color_of", "normalize"]

GRAY = (0.299, 0.587, 0.114)
UNIT = (0.0, 1.0)


class Color(NamedTuple):
    """How an operation is written."""

    write: Callable[[Rounds, Any, RowParams], None]
    """Write (rounds, the Kornia module, what was drawn)."""

    rounds: int = 0
    """The most kinds that a row gets."""

    cliffs: bool = False
    """Whether values that lie next to each other can come out far apart."""

    places: bool = False
    """Whether it looks at where a pixel is."""


def color_of(module: object) -> Color | None:
    """Return how a Kornia module is written, None for one that is not known."""
    known = COLORS.get(type(module))
    flags = getattr(module, "flags", {})
    peak = flags.get("max_val", 1.0)
    return known if isinstance(peak, int | float) else None


def normalize(rounds: Rounds, on: npt.NDArray[np.bool_], mean: Any, std: Any) -> None:  # noqa: ANN401  # numbers of any kind
    """Add ``(x - mean) / std``; each a number, or one for each channel.

    Raises:
        UsageError: There are more or fewer numbers than channels.
    """
    mean, std = (_channels(rounds, "Normalize", v) for v in (mean, std))
    rounds.affine(on, 1 / std, -mean / std)


def _channels(rounds: Rounds, name: str, value: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401
    found = np.asarray(value, np.float64).reshape(-1)
    if found.size not in (1, rounds.channels):
        raise UsageError(
            f"{name} has {found.size} numbers, images have {rounds.channels} channels;"
            " give one number, or one for each channel"
        )
    return found


def _only_rgb(rounds: Rounds, name: str) -> None:
    if rounds.channels != 3:
        raise UsageError(
            f"{name} is for images of 3 channels, these have {rounds.channels}; leave"
            ' it out, or decode with {"color": "rgb"}',
            stage="augment",
        )


def _brightness(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _clipped(rounds, module, drawn.on, offset=_f64(drawn["brightness_factor"]) - 1)


def _contrast(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _clipped(rounds, module, drawn.on, scale=_f64(drawn["contrast_factor"]))


def _clipped(
    rounds: Rounds,
    module: Any,  # noqa: ANN401
    on: npt.NDArray[np.bool_],
    scale: npt.ArrayLike = 1.0,
    offset: npt.ArrayLike = 0.0,
) -> None:
    if module.clip_output:
        rounds.clamp(on)
    clip = UNIT if module.clip_output else (-np.inf, np.inf)
    scale, offset = (np.asarray(v).reshape(-1, 1) for v in (scale, offset))
    rounds.affine(on, scale, offset, clip)


def _saturation(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _only_rgb(rounds, type(module).__name__)
    factor = _f64(drawn["saturation_factor"])
    rounds.clamp(drawn.on)
    rounds.hue(drawn.on, np.zeros_like(factor), factor)


def _hue(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _only_rgb(rounds, type(module).__name__)
    turn = _f64(drawn["hue_factor"]) * 6
    rounds.clamp(drawn.on)
    rounds.hue(drawn.on, turn, np.ones_like(turn))


def _color_jiggle(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _in_order(rounds, module, drawn, _jiggle)


def _color_jitter(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _in_order(rounds, module, drawn, _jitter)


def _in_order(
    rounds: Rounds,
    module: Any,  # noqa: ANN401
    drawn: RowParams,
    write: Callable[[Rounds, str, int, npt.NDArray[np.bool_], RowParams], None],
) -> None:
    """Write four adjustments in the order that each row has."""
    rounds.clamp(drawn.on)
    fixed = module._fixed_order  # noqa: SLF001
    order = (
        drawn["order"]
        if fixed is None
        else np.broadcast_to(np.asarray(fixed, int), (drawn.rows, len(fixed)))
    )
    for column in order.T:
        for step in np.unique(column):
            on = drawn.on & (column == step)
            write(rounds, type(module).__name__, int(step), on, drawn)
    rounds.clamp(drawn.on)


def _jiggle(
    rounds: Rounds, name: str, step: int, on: npt.NDArray[np.bool_], drawn: RowParams
) -> None:
    factor = _f64(drawn[_STEPS[step]])
    match step:
        case 0:
            rounds.affine(on & (factor != 1), 1, factor[:, None] - 1, UNIT)
        case 1:
            rounds.affine(on & (factor != 1), factor[:, None], 0, UNIT)
        case 2 if (factor[on] != 1).any():
            _only_rgb(rounds, name)
            rounds.hue(on, np.zeros_like(factor), factor)
        case 3 if (factor[on] != 0).any():
            _only_rgb(rounds, name)
            rounds.hue(on, factor * 6, np.ones_like(factor))


def _jitter(
    rounds: Rounds, name: str, step: int, on: npt.NDArray[np.bool_], drawn: RowParams
) -> None:
    factor = _f64(drawn[_STEPS[step]])
    changed = on & (factor != 1)
    match step:
        case 0:
            rounds.affine(changed, factor[:, None], 0, UNIT)
        case 1:
            weights = GRAY if rounds.channels == 3 else _even(rounds.channels)
            rounds.kind(changed, Kind.MEAN, factor, *weights, unit=False)
            rounds.clamp(changed)
        case 2 if rounds.channels != 1 and changed.any():
            _only_rgb(rounds, name)
            rounds.kind(changed, Kind.MIX, factor, *GRAY, unit=False)
            rounds.clamp(changed)
        case 3:
            _jiggle(rounds, name, step, on, drawn)


_STEPS = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")


def _even(channels: int) -> tuple[float, ...]:
    return (1 / channels,) * channels


def _grayscale(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    weights: Any = module.rgb_weights
    if weights is None:
        weights = GRAY if rounds.channels == 3 else _even(rounds.channels)
    weights = np.broadcast_to(
        _channels(rounds, "RandomGrayscale", weights), rounds.channels
    )
    unit = bool((weights >= 0).all() and weights.sum() <= 1 + 1e-6)
    rounds.kind(drawn.on, Kind.MIX, 0.0, *weights, unit=unit)


def _invert(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    rounds.affine(drawn.on, -1.0, module.flags["max_val"])


def _rgb_shift(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _only_rgb(rounds, type(module).__name__)
    shift = np.stack([_f64(drawn[f"{c}_shift"]) for c in "rgb"], axis=1)
    rounds.clamp(drawn.on)
    rounds.affine(drawn.on, 1.0, shift, UNIT)


def _planckian(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    _only_rgb(rounds, type(module).__name__)
    red, blue = module.pl.numpy()[drawn["idx"].astype(int)].T.astype(np.float64)
    rounds.clamp(drawn.on)
    scale = np.stack([red, np.ones_like(red), blue], axis=1)
    rounds.affine(drawn.on, scale, 0.0, UNIT)


def _shuffle(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    del module
    rounds.kind(drawn.on, Kind.SHUFFLE, 0.0, *drawn["channels"].T)


def _normalize(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    normalize(rounds, drawn.on, module.flags["mean"], module.flags["std"])


def _denormalize(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    flags = module.flags
    mean, std = (_channels(rounds, "Denormalize", flags[n]) for n in ("mean", "std"))
    rounds.affine(drawn.on, std, mean)


def _erase(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    del module
    names = ("xs", "ys", "widths", "heights", "values")
    rounds.kind(drawn.on, Kind.ERASE, *(drawn[name] for name in names))


def _solarize(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    del module
    rounds.clamp(drawn.on)
    rounds.affine(drawn.on, 1.0, _f64(drawn["additions"])[:, None], UNIT)
    rounds.kind(drawn.on, Kind.SOLARIZE, drawn["thresholds"])


def _posterize(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    del module
    rounds.clamp(drawn.on)
    rounds.kind(drawn.on, Kind.POSTERIZE, drawn["bits_factor"])


def _gamma(rounds: Rounds, module: Any, drawn: RowParams) -> None:  # noqa: ANN401
    del module
    rounds.clamp(drawn.on)
    rounds.kind(drawn.on, Kind.GAMMA, drawn["gamma_factor"], drawn["gain_factor"])


def _f64(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return values.astype(np.float64)


COLORS: Mapping[type, Color] = {
    K.RandomBrightness: Color(_brightness),
    K.RandomContrast: Color(_contrast),
    K.RandomSaturation: Color(_saturation, 1),
    K.RandomHue: Color(_hue, 1),
    K.ColorJiggle: Color(_color_jiggle, 2),
    K.ColorJitter: Color(_color_jitter, 3),
    K.RandomGrayscale: Color(_grayscale, 1),
    K.RandomInvert: Color(_invert),
    K.RandomRGBShift: Color(_rgb_shift),
    K.RandomPlanckianJitter: Color(_planckian),
    K.RandomChannelShuffle: Color(_shuffle, 1),
    K.Normalize: Color(_normalize),
    K.Denormalize: Color(_denormalize),
    K.RandomErasing: Color(_erase, 1, places=True),
    K.RandomSolarize: Color(_solarize, 1, cliffs=True),
    K.RandomPosterize: Color(_posterize, 1, cliffs=True),
    K.RandomGamma: Color(_gamma, 1, cliffs=True),
}
"""Gamma is among the cliffs: below 1, its slope at 0 has no bound."""
