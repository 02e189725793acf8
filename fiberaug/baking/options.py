"""What a bake is asked for, checked before anything is read."""

from dataclasses import dataclass
from typing import Any

from fiberaug.errors import UsageError

__all__ = ["ENCODINGS", "BakeOptions", "parse_epochs"]

ENCODINGS = ("png", "webp", "jpeg")
_ENGINES = ("local", "ray")
_BOUND = 2**63  # an epoch is a word of a seeding key


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeOptions:
    """How baked samples are written."""

    shard_size: int = 256 * 10**6
    """Bytes that a shard is to have, as far as the first samples tell."""

    encode: str = "png"
    """``png`` and ``webp`` keep every pixel; ``jpeg`` does not."""

    quality: int = 90
    """Of JPEG, 1 to 100."""

    seekable: bool = False
    """Write restart markers into JPEGs."""

    workers: int | None = None
    """Processes. None: one for each core, on Ray all of the cluster."""

    engine: str = "local"
    """``local`` or ``ray``."""

    progress: bool = True
    """Show a bar on a terminal."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is out of range.
        """
        if self.encode not in ENCODINGS:
            raise UsageError(f"encode must be one of {ENCODINGS}, got {self.encode!r}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality must be in [1, 100], got {self.quality}")
        if self.seekable and self.encode != "jpeg":
            raise UsageError(
                f"seekable is for JPEGs, and {self.encode.upper()} is written:"
                " encode='jpeg' (--encode jpeg) writes what is seekable"
            )
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be >= 1, got {self.workers}")
        if self.engine not in _ENGINES:
            raise UsageError(f"engine must be one of {_ENGINES}, got {self.engine!r}")


def parse_epochs(epochs: Any) -> range:  # noqa: ANN401  # see the docstring
    """Return the epochs that are meant.

    Args:
        epochs: ``"A-B"`` or (A, B), both included; ``"3"`` or 3 for one; or a range.

    Raises:
        UsageError: It is none of these, or there is no such epoch.

    >>> parse_epochs("0-4"), parse_epochs((0, 4)), parse_epochs("3")
    (range(0, 5), range(0, 5), range(3, 4))
    """
    found = epochs
    if isinstance(epochs, str):
        first, dash, last = (part.strip() for part in epochs.partition("-"))
        numbers = [first, last] if dash else [first]
        if all(n.isascii() and n.isdecimal() and len(n) <= 19 for n in numbers):
            found = tuple(map(int, numbers))
    if type(found) is int:
        found = (found,)
    if isinstance(found, list | tuple) and len(found) in {1, 2}:
        found = range(found[0], found[-1] + 1) if _whole(found) else None
    if not isinstance(found, range) or found.step != 1 or not found:
        raise UsageError(
            'epochs must be "A-B" with A <= B, both included, or one number, got'
            f" {epochs!r:.80}"
        )
    if not 0 <= found[0] <= found[-1] < _BOUND:
        raise UsageError(f"epochs are from 0 to 2**63 - 1, got {epochs!r:.80}")
    return found


def _whole(numbers: list[Any] | tuple[Any, ...]) -> bool:
    return all(type(number) is int for number in numbers)
