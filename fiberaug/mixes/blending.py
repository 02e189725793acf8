"""MixUp and CutMix: images of a batch blended with their partners' in one pass.

The share lam of a row is its own, drawn from Beta(alpha, alpha): two rows of a batch
have two shares (timm calls this ``elem``).

Sources: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
S. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
Localizable Features", ICCV 2019, equations 1 and 2.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fiberaug.errors import UsageError
from fiberaug.mixes.arguments import Number, argument
from fiberaug.mixes.base import SHARE, Mix, Params, RowDraw

__all__ = ["Blend", "CutMix", "MixUp", "MixUpOrCutMix"]

_ALPHA = Number(0.01, 100)
_CLASSES = Number(1, 2**20, whole=True, optional=True)
_OBJECTS = ("bboxes", "masks", "keypoints", "polygons")


@dataclass(frozen=True, kw_only=True)
class Blend(Mix):
    """A mix of images of a batch, behind all operations; labels become vectors."""

    phase = "blend"

    num_classes: int | None = argument(None, _CLASSES)
    """Classes of the set; None: as many as it says itself."""

    smoothing: float = argument(0.0, SHARE)
    """Label smoothing, see :func:`fiberaug.mixes.labels.mix_labels`."""

    def placed(self, draws: Sequence[RowDraw], size: tuple[int, int]) -> list[RowDraw]:
        """Return the draws with what the size of the images adds to them.

        A rectangle gets its ``box`` (x_min, y_min, x_max, y_max), px, and with it the
        share ``lam`` of pixels that stay. A draw that has them stays as it is.

        Args:
            draws: Of some rows.
            size: Height and width of the images, px.
        """
        return [
            draw._replace(params={**draw.params, **_cut_box(draw.params, size)})
            if "cut" in draw.params and "box" not in draw.params
            else draw
            for draw in draws
        ]

    def blend(
        self,
        image: torch.Tensor,
        partner_index: torch.Tensor,
        draws: Sequence[RowDraw],
    ) -> torch.Tensor:
        """Return the images of the batch, mixed; rows that are not mixed as they were.

        A row depends on itself, its partner and its draw alone. Nothing waits for the
        device. Where no row is mixed it is the memory that was given.

        Args:
            image: [M, C, H, W], M >= B, on any device: rows from B on are there as
                partners only. Float, or any dtype where rectangles are cut alone.
            partner_index: int64 [B]: row of each row's partner; any where it has none.
            draws: Of the B rows.

        Raises:
            UsageError: MixUp on images that are not floats.
        """
        draws = self.placed(draws, (image.shape[-2], image.shape[-1]))
        own = image[: len(draws)]
        made = []
        faded = [i for i, d in enumerate(draws) if d.applied and "box" not in d.params]
        if faded:
            if not image.is_floating_point():
                raise UsageError(
                    f"{self.name} blends images of floats, got {image.dtype}: let a GPU"
                    " operation or a normalisation run before, or use CutMix"
                )
            lam = [draws[i].params["lam"] for i in faded]
            rows, mine, other = _chosen(image, own, partner_index, faded)
            made.append((rows, _faded(mine, other, lam)))
        return _written(own, made + self._cut(image, partner_index, draws))

    def blend_mask(
        self,
        mask: torch.Tensor,
        partner_index: torch.Tensor,
        draws: Sequence[RowDraw],
    ) -> torch.Tensor:
        """Return masks [B, H, W], the rectangles of :meth:`blend` cut out of partners'.

        Args:
            mask: Class ids, [M, H, W], M >= B, of any dtype.
            partner_index: See :meth:`blend`.
            draws: See :meth:`blend`.

        Raises:
            UsageError: A row is mixed by MixUp: class ids cannot be blended.
        """
        draws = self.placed(draws, (mask.shape[-2], mask.shape[-1]))
        if any(draw.applied and "box" not in draw.params for draw in draws):
            raise UsageError(_NO_MASKS.format(self.name))
        made = self._cut(mask[:, None], partner_index, draws)
        return _written(mask[: len(draws), None], made)[:, 0]

    def _cut(
        self,
        image: torch.Tensor,
        partner_index: torch.Tensor,
        draws: Sequence[RowDraw],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        chosen = [i for i, draw in enumerate(draws) if "box" in draw.params]
        if not chosen:
            return []
        boxes = [draws[i].params["box"] for i in chosen]
        own = image[: len(draws)]
        rows, mine, other = _chosen(image, own, partner_index, chosen)
        return [(rows, torch.where(_inside(boxes, mine), other, mine))]

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that the targets of a sample can be blended."""
        fields = list(fields)
        found = [field for field in fields if kinds.get(field, field) in _OBJECTS]
        if found:
            raise UsageError(
                f"{self.name} mixes labels and whole images, and has no rule for"
                f" {found}: use Mosaic or CopyPaste for objects"
            )
        more = [f for f in fields if kinds.get(f, f) in {"image", "mask"} - {f}]
        if more:
            raise UsageError(
                f"{self.name} mixes the fields image and mask, not {more}: leave them"
                " out of the data set's fields"
            )


@dataclass(frozen=True, kw_only=True)
class MixUp(Blend):
    """lam image + (1 - lam) partner, and the labels likewise."""

    alpha: float = argument(1.0, _ALPHA)
    """Of the shares, lam ~ Beta(alpha, alpha): 1 is uniform, 0.2 mostly near 0 or 1."""

    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        return [{"lam": lam} for lam in _shares(rng, rows, self.alpha)]

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that the targets of a sample can be blended; class ids cannot."""
        _check_no_mask(self.name, fields := list(fields))
        super().check(fields, kinds)


@dataclass(frozen=True, kw_only=True)
class CutMix(Blend):
    """A rectangle of the partner in the image; labels by the share of pixels."""

    alpha: float = argument(1.0, _ALPHA)
    """Of the shares, lam ~ Beta(alpha, alpha), before the border cuts a rectangle."""

    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        return _rectangles(rng, rows, self.alpha)


@dataclass(frozen=True, kw_only=True)
class MixUpOrCutMix(Blend):
    """MixUp or CutMix, chosen for each row."""

    mixup_alpha: float = argument(1.0, _ALPHA)
    """See :class:`MixUp`."""

    cutmix_alpha: float = argument(1.0, _ALPHA)
    """See :class:`CutMix`."""

    switch_prob: float = argument(0.5, SHARE)
    """Probability of CutMix, where a row is mixed."""

    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        chance = rng.random(rows)
        faded = [{"lam": lam} for lam in _shares(rng, rows, self.mixup_alpha)]
        cut = _rectangles(rng, rows, self.cutmix_alpha)
        return [
            cut[row] if chance[row] < self.switch_prob else faded[row]
            for row in range(rows)
        ]

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that the targets of a sample can be blended; class ids cannot."""
        _check_no_mask(self.name, fields := list(fields))
        super().check(fields, kinds)


_NO_MASKS = "{} cannot blend class ids of a mask: use CutMix"


def _check_no_mask(name: str, fields: Iterable[str]) -> None:
    if "mask" in fields:
        raise UsageError(_NO_MASKS.format(name))


def _shares(rng: np.random.Generator, rows: int, alpha: float) -> list[float]:
    drawn: list[float] = rng.beta(alpha, alpha, rows).tolist()
    return drawn


def _rectangles(rng: np.random.Generator, rows: int, alpha: float) -> list[Params]:
    """Return of each row the share that a rectangle asks for, and its centre."""
    shares = _shares(rng, rows, alpha)
    centres = rng.random((rows, 2)).tolist()
    return [
        {"cut": 1 - lam, "center": centre}
        for lam, centre in zip(shares, centres, strict=True)
    ]


def _cut_box(params: Params, size: tuple[int, int]) -> Params:
    """Return the rectangle in px, cut at the border, and the share that it leaves."""
    height, width = size
    side = math.sqrt(params["cut"])
    x, y = (
        int(at * n) for at, n in zip(params["center"], (width, height), strict=True)
    )
    wide, high = int(width * side), int(height * side)
    left, top = x - wide // 2, y - high // 2
    box = [max(0, left), max(0, top), min(width, left + wide), min(height, top + high)]
    area = (box[2] - box[0]) * (box[3] - box[1])
    return {"box": box, "lam": 1 - area / (width * height)}


def _chosen(
    image: torch.Tensor,
    own: torch.Tensor,
    partner_index: torch.Tensor,
    chosen: list[int],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows on the device, their images, and those of their partners."""
    rows = _uploaded(chosen, torch.int64, image.device)
    partners = partner_index.to(image.device, non_blocking=True)
    if len(chosen) == len(own):
        return rows, own, image.index_select(0, partners)
    other = image.index_select(0, partners.index_select(0, rows))
    return rows, own.index_select(0, rows), other


def _faded(
    mine: torch.Tensor, other: torch.Tensor, lam: Sequence[float]
) -> torch.Tensor:
    # Products and sum one by one: a fused step rounds as the machine likes.
    weights = [lam, [1 - share for share in lam]]
    shape = (2, -1, *[1] * (mine.dim() - 1))
    keep, give = _uploaded(weights, mine.dtype, mine.device).view(shape)
    made: torch.Tensor = (mine * keep).add_(other.mul_(give))
    return made


def _inside(boxes: Sequence[Sequence[int]], like: torch.Tensor) -> torch.Tensor:
    """Return bool [B, 1, H, W]: which pixels lie in a row's box."""
    low_x, low_y, high_x, high_y = _uploaded(boxes, torch.int32, like.device).T
    x = torch.arange(like.shape[-1], dtype=torch.int32, device=like.device)
    y = torch.arange(like.shape[-2], dtype=torch.int32, device=like.device)
    across = (x >= low_x[:, None]) & (x < high_x[:, None])
    down = (y >= low_y[:, None]) & (y < high_y[:, None])
    inside: torch.Tensor = down[:, :, None] & across[:, None, :]
    return inside[:, None]


def _uploaded(
    values: Sequence[Any], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def _written(
    own: torch.Tensor, made: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """Return the batch with some of its rows made anew."""
    if not made:
        return own
    if len(made[0][0]) == len(own):
        return made[0][1]
    out = own.clone()
    for rows, images in made:
        out.index_copy_(0, rows, images)
    return out
