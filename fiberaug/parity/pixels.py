"""Images of both loaders, matched by key, with augmentation off."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fiberaug.checkup.findings import Finding, named, note, ok, problem
from fiberaug.parity.matching import NORMALIZATIONS, Line, Match, match, normalization

__all__ = ["Pixels"]

Levels = NDArray[np.float64]

_CLOSE = 2.5  # levels in the mean: two decoders of JPEG, or two kinds of resizing
_CLOSE_RESIZED = 12.0
_ROUNDING = 0.5  # levels: no level of ours is nearer than the right one
_OFF = 12.0  # levels, at the bright end
_MOST = 1 / 3  # of the images: a habit of the loader, not of some images


@dataclass(slots=True)
class Pixels:
    """Collects pairs of images and says how they differ."""

    normalize: Line | None = None
    """(mean, std) of our recipe, where it normalises."""

    pairs: int = 0
    shapes: int = 0
    """Pairs whose channels do not fit."""

    matches: dict[str, Match] = field(default_factory=dict)

    def add(self, key: str, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Take in a pair.

        Args:
            key: Key of the sample.
            ours: uint8 [H, W, C], RGB, upright.
            theirs: [H, W, C].
        """
        self.pairs += 1
        found = match(ours, theirs)
        if found is None:
            self.shapes += 1
        else:
            self.matches[key] = found

    def report(self, *, plain: bool) -> Iterator[Finding]:
        """Yield what differs, each habit in one line.

        Args:
            plain: Whether augmentation was off.
        """
        if not self.pairs:
            return
        if self.shapes:
            text = f"{self.shapes} of {self.pairs} images have other channels than ours"
            yield problem("pixels", text, "compare decode: color keep, gray or rgb")
        if not self.matches:
            return
        line = _line(self.matches)
        close = {
            key: m for key, m in self.matches.items() if _close(m) and _on(line, m)
        }
        if not plain and len(close) < len(self.matches):
            yield note(
                "pixels",
                f"{len(self.matches) - len(close)} of {self.pairs} images are not ours,"
                " but augmentation could not be turned off",
                "give the function a parameter augment, and call it with augment=False",
            )
            return
        yield from _order(close)
        yield from _turns(close)
        if line is not None:
            yield self._normalized(*line)
        yield from self._left(close)

    def _normalized(self, scale: Levels, shift: Levels) -> Finding:
        if np.allclose(scale, 1, atol=0.02) and np.abs(shift).max() < 4:
            theirs, text = None, "not normalised: levels 0 to 255"
        else:
            theirs = normalization(scale, shift)
            if theirs is None:
                std = tuple((1 / (255 * scale)).round(4).tolist())
                theirs = tuple((-shift / (255 * scale)).round(4).tolist()), std
            text = _said(theirs)
        figures = {"theirs": theirs, "ours": self.normalize}
        same = theirs == self.normalize or (
            theirs is not None and self.normalize is not None
            and np.allclose(theirs, self.normalize, atol=2e-3)
        )  # fmt: skip
        if same:
            return ok("normalise", f"both: {text}", figures)
        if self.normalize is None:
            remedy = "end the recipe with the same Normalize" if theirs else ""
            return note(
                "normalise", f"theirs: {text}; ours: not at all", remedy, figures
            )
        text = f"theirs: {text}; ours: {_said(self.normalize)}"
        remedy = "give both one mean and std: a model trained with one fails"
        return problem("normalise", text, f"{remedy} with the other", figures)

    def _left(self, close: dict[str, Match]) -> Iterator[Finding]:
        resized = sum(m.resized for m in self.matches.values())
        equal = sum(m.max_levels < _ROUNDING for m in close.values())
        share = f"{equal} of {self.pairs} images equal"
        largest = max((m.max_levels for m in close.values()), default=0.0)
        mean = float(np.mean([m.mean_levels for m in close.values()] or [0.0]))
        figures = {
            "pairs": self.pairs, "equal": equal, "close": len(close),
            "max_levels": largest, "mean_levels": mean, "resized": resized,
        }  # fmt: skip
        text = (
            f"{share} but for what the lines above say, {len(close)} close; they"
            f" differ by {mean:.2f} levels of 255 in the mean, {largest:.1f} at most"
        )
        if resized:
            text += f"; {resized} were resized, so ours were as well to compare them"
        far = [key for key in self.matches if key not in close]
        if far:
            yield problem(
                "pixels", f"{text}; other pictures: {len(far)}, such as {named(far)}",
                "where their crop is no augmentation, leave it off for augment=False;"
                " else these keys have other images", figures,
            )  # fmt: skip
        else:
            yield ok("pixels", text, figures)


def _line(matches: dict[str, Match]) -> tuple[Levels, Levels] | None:
    """Return the line that most images lie on; None where all of them are flat."""
    lines = [m for m in matches.values() if not m.flat]
    channels = max((len(m.scale) for m in lines), default=0)
    lines = [m for m in lines if len(m.scale) == channels]
    if not lines:
        return None
    scale = np.median([m.scale for m in lines], axis=0)
    return scale, np.median([m.shift for m in lines], axis=0)


def _on(line: tuple[Levels, Levels] | None, found: Match) -> bool:
    """Return whether an image lies on the line: else brightness varies by image."""
    if line is None or found.flat or len(found.scale) != len(line[0]):
        return True
    scale, shift = line
    off = 255 * np.abs(found.scale / scale - 1) + np.abs(found.shift - shift) / scale
    # Filters of resizing keep more or less of the contrast.
    return bool(off.max() < (5 * _OFF if found.resized else _OFF))


def _close(found: Match) -> bool:
    return found.mean_levels < (_CLOSE_RESIZED if found.resized else _CLOSE)


def _order(close: dict[str, Match]) -> Iterator[Finding]:
    swapped = [key for key, m in close.items() if m.swapped]
    if swapped:
        yield problem(
            "channels",
            f"{len(swapped)} of {len(close)} images are BGR, ours are RGB, such as"
            f" {named(swapped)}",
            "after cv2.imread or cv2.imdecode: cv2.cvtColor(image, cv2.COLOR_BGR2RGB)",
            {"bgr": len(swapped), "of": len(close)},
        )
    elif any(len(m.scale) == 3 for m in close.values()):
        yield ok("channels", "RGB in both")


def _turns(close: dict[str, Match]) -> Iterator[Finding]:
    turns = Counter(m.turn for m in close.values())
    figures = dict(turns)
    turned = [key for key, m in close.items() if m.turn]
    if not turned:
        yield ok("upright", f"all {len(close)} images, as ours", figures)
        return
    kinds = ", ".join(f"{n} {turn}" for turn, n in turns.items() if turn)
    text = f"{len(turned)} of {len(close)} images are not upright ({kinds}), such as"
    why = "EXIF orientation is not applied: PIL.ImageOps.exif_transpose(image)"
    if len(turned) > _MOST * len(close) and len(turns) <= 2:
        why = "all alike: look for swapped axes, or apply EXIF orientation"
    yield problem("upright", f"{text} {named(turned)}", why, figures)


def _said(line: Line) -> str:
    mean, std = line
    for name, (known_mean, known_std) in NORMALIZATIONS.items():
        for step, order in ((1, ""), (-1, ", channels reversed")):
            same = (known_mean[::step][: len(mean)], known_std[::step][: len(std)])
            if np.allclose((mean, std), same, atol=2e-3):
                return f"{name}{order} (mean {mean}, std {std})"
    return f"mean {mean}, std {std} of images in [0, 1]"
