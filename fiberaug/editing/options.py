"""How photos are edited: what is asked for, in one value that stands on record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed

__all__ = ["ENCODES", "LABELS", "MODES", "REGIONS", "WHATS", "EditOptions"]

MODES = (
    "image-to-image", "inpaint", "controlnet", "controlnet-image-to-image",
    "controlnet-inpaint", "paste",
)  # fmt: skip
"""How a window is changed."""

REGIONS = ("bboxes", "mask", "grid")
"""Where windows lie: around boxes, around components of the mask, or in a grid."""

WHATS = ("object", "background", "window")
"""What of a window is repainted."""

LABELS = ("auto", "keep", "drop-edited")
"""What becomes of the labels of what was repainted."""

ENCODES = ("png", "webp", "keep")
"""Formats of edited photos: without loss, or the parent's own."""

_LEAST_WINDOW, _MOST_WINDOW = 8, 4096
_MOST_FEATHER = 1024
_BOUNDS = {"margin": (0, 4096), "feather": (0, _MOST_FEATHER), "copies": (1, 1000)}


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """How photos are edited; checked when it is made."""

    mode: str = "inpaint"
    """``image-to-image``, ``inpaint``, ``controlnet``, ``controlnet-image-to-image``,
    ``controlnet-inpaint`` or ``paste``."""

    region: str = "bboxes"
    """``bboxes``: a window around each box; ``mask``: around each connected component
    of a class of the mask; ``grid``: tiles that cover the photo."""

    what: str | None = None
    """What of a window is repainted: the ``object``, its ``background`` with all
    objects protected, or the whole ``window``. None: the object; of a grid the
    background."""

    window: int | tuple[int, int] = (512, 1024)
    """Least and most side of a window, px of the photo, 8 to 4,096; or one number for
    both. A tile of a grid has the least. What an object needs beyond the most is scaled
    down to it."""

    margin: int = 64
    """Context on each side of the region, px of the photo, 0 to 4,096; at least the
    feather is taken."""

    feather: int = 16
    """Width of the ramp from the photo to the edit, px of the photo, 0 to 1,024."""

    most: int | None = 8
    """Windows of a photo, drawn by seed, >= 1. None: all."""

    copies: int = 1
    """Edited versions of each photo, 1 to 1,000."""

    seed: int = 0
    """Seed of the edits, in [0, 2**64)."""

    classes: tuple[str, ...] = ()
    """Names or ids of the classes whose objects are edited. Empty: all."""

    to: str | None = None
    """Name or id of the class that objects become. None: they stay what they are."""

    prompt: str | None = None
    """Text to follow; ``{label}`` stands for the class, ``{caption}`` for the
    caption. None: the base's own."""

    negative: str | None = None
    """Text to avoid."""

    strength: float | None = None
    """How much is replaced, in (0, 1]. None: the base's own."""

    steps: int | None = None
    """Denoising steps. None: the base's own."""

    guidance: float | None = None
    """Scale of guidance. None: the base's own."""

    sampler: str | None = None
    """Name of the sampler. None: the base's own."""

    match: bool = False
    """Bring the colours of a pasted patch to mean and spread of what it covers."""

    labels: str = "auto"
    """``auto``: by the table in docs/edit.md; ``keep``: all stay, on your word;
    ``drop-edited``: those of everything repainted go."""

    ignore: int = 255
    """Class id that mask pixels get where nobody knows any more what they show, 0 to
    65,535."""

    encode: str = "png"
    """``png`` or ``webp``, without loss, or ``keep``: as the parent, where JPEGs get
    its quantisation tables and are encoded anew."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UsageError: One is out of range, or two do not go together.
        """
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        for name, known in (
            ("mode", MODES), ("region", REGIONS), ("labels", LABELS),
            ("encode", ENCODES), ("what", (None, *WHATS)),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"{name} must be one of {', '.join(filter(None, known))}, got"
                    f" {value!r}"
                )
        check_seed(self.seed)
        self._check_sides()
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise UsageError(
                    f"{name} must be an integer from {least} to {most}, got {value!r}"
                )
        if self.most is not None and (type(self.most) is not int or self.most < 1):
            raise UsageError(f"most must be an integer >= 1 or None, got {self.most!r}")
        if type(self.ignore) is not int or not 0 <= self.ignore <= 65_535:
            raise UsageError(
                f"ignore must be an integer from 0 to 65535, got {self.ignore!r}"
            )
        if self.strength is not None and not 0 < self.strength <= 1:
            raise UsageError(f"strength must be in (0, 1], got {self.strength!r}")
        self._check_pairs()

    def _check_sides(self) -> None:
        window = self.window
        sides = (window, window) if isinstance(window, int) else tuple(window)
        fits = len(sides) == 2 and all(type(one) is int for one in sides)
        if not fits or not _LEAST_WINDOW <= sides[0] <= sides[1] <= _MOST_WINDOW:
            raise UsageError(
                f"window must be one side, or least and most, from {_LEAST_WINDOW} to"
                f" {_MOST_WINDOW} px, got {window!r}"
            )
        object.__setattr__(self, "window", sides)
        core = sides[0] - 2 * self.rim
        if self.region == "grid" and core < 1:
            raise UsageError(
                f"region grid: windows of {sides[0]} px have nothing between margins of"
                f" {self.rim} px; take a larger window or a smaller margin and feather"
            )

    def _check_pairs(self) -> None:
        what = self.repainted
        if self.mode == "paste" and what != "object":
            raise UsageError(f"mode paste puts objects into a photo, got what={what!r}")
        if self.mode == "paste" and self.region == "grid":
            raise UsageError("mode paste needs region bboxes or mask, got 'grid'")
        if self.match and self.mode != "paste":
            raise UsageError(f"match is for the mode paste, got {self.mode!r}")
        if self.to is not None and not (self.replaces and what == "object"):
            raise UsageError(
                "to is for objects that are replaced: the modes paste, inpaint and"
                f" controlnet-inpaint with what='object', got {self.mode!r}, {what!r}"
            )
        if self.to is not None and self.region == "grid":
            raise UsageError("to needs objects one by one: region bboxes or mask")

    @property
    def repainted(self) -> str:
        """What of a window is repainted: ``object``, ``background`` or ``window``."""
        return self.what or ("background" if self.region == "grid" else "object")

    @property
    def replaces(self) -> bool:
        """Whether the mode can put another object in the place of one."""
        return self.mode in {"paste", "inpaint", "controlnet-inpaint"}

    @property
    def steered(self) -> bool:
        """Whether the outlines in a window steer what is painted."""
        return self.mode.startswith("controlnet")

    @property
    def sides(self) -> tuple[int, int]:
        """Least and most side of a window, px."""
        window: Any = self.window
        return int(window[0]), int(window[1])

    @property
    def rim(self) -> int:
        """Px between a region and the ends of its window, as far as the photo goes."""
        return max(self.margin, self.feather + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as what JSON has."""
        told = asdict(self)
        return told | {"window": list(self.sides), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` gave.

        Raises:
            UsageError: A name is unknown, or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        strange = next((name for name in told if name not in known), None)
        if strange is not None:
            raise UsageError(f"there is no option {strange!r} of edits")
        given = dict(told)
        for name in ("window", "classes"):
            if isinstance(given.get(name), list):
                given[name] = tuple(given[name])
        return cls(**given)
