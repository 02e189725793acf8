"""Arguments of a training of adapters, checked before a model is opened."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fiberaug.errors import UsageError
from fiberaug.synthetic.loading import FILE

__all__ = ["Given", "captioned", "check_asked", "classes_of", "dtype_of", "pair_of"]

_DTYPES = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
}  # fmt: skip


def check_asked(
    *,
    prior: object,
    prior_prompt: str | None,
    views: object,
    sample_every: object,
    sample_steps: object,
) -> None:
    """Refuse numbers and priors that are out of range.

    Args:
        prior: Data, or how many images are made.
        prior_prompt: What they are called.
        views: Cuts of each photo, or None.
        sample_every: Images from one picture to the next, or None.
        sample_steps: From noise to image.

    Raises:
        UsageError: One is.
    """
    for name, value in (
        ("views", views), ("sample_every", sample_every),
        ("sample_steps", sample_steps),
    ):  # fmt: skip
        if value is not None and (type(value) is not int or value < 1):
            raise UsageError(f"{name} must be an integer >= 1, got {value!r:.80}")
    if (prior is None) != (prior_prompt is None):
        raise UsageError(
            "prior and prior_prompt belong together: images of the class, or how"
            ' many the model makes, and what they are called ("a photo of a dog")'
        )
    if isinstance(prior, bool) or (isinstance(prior, int) and prior < 1):
        raise UsageError(f"prior must be data or a number >= 1, got {prior!r}")


def pair_of(size: object) -> tuple[int, int] | None:
    """Return (height, width) px of what a user can give as a size.

    Raises:
        UsageError: It is none.
    """
    if size is None:
        return None
    given: Any = size.lower().split("x") if isinstance(size, str) else size
    sides = [given, given] if isinstance(given, int) else given
    try:
        found = [int(one) for one in sides]
    except (TypeError, ValueError):
        found = []
    if len(found) == 1:
        found *= 2
    if len(found) != 2 or min(found) < 1:
        raise UsageError(
            f'size must be (height, width) in px, such as "512x512", got {size!r:.80}'
        )
    return found[0], found[1]


def dtype_of(given: object) -> torch.dtype | None:
    """Return the type of weights that a user names; None: not said.

    Raises:
        UsageError: It is none of those that can be.
    """
    if given is None or given in _DTYPES.values():
        return given  # type: ignore[return-value]  # it is one
    if given not in _DTYPES:
        raise UsageError(f"dtype must be {', '.join(_DTYPES)}, got {given!r:.80}")
    return _DTYPES[str(given)]


class Given(NamedTuple):
    """Data, with captions as its classes where it has them."""

    data: Any
    classes: tuple[str, ...]
    captioned: bool
    """Whether classes are captions."""

    filed: bool
    """Whether they are still to be read from files."""


def captioned(
    data: Any,  # noqa: ANN401  # see LoRATrainer
    prompt: str | None,
    classes: Sequence[str],
) -> Given:
    """Return data with captions as its classes, where it has them.

    Args:
        data: What a user gives.
        prompt: With ``{caption}``: files have some.
        classes: Names by label, of other data.
    """
    if _has_captions(data):
        names, ids = np.unique(list(data[1]), return_inverse=True)
        return Given((data[0], ids), tuple(map(str, names)), True, False)  # noqa: FBT003
    own = hasattr(data, "batches") and hasattr(data, "reference")
    filed = not own and "{caption}" in (prompt or "")
    return Given(data, tuple(classes), filed, filed)


def _has_captions(data: object) -> bool:
    """Return whether data is a pair (images, captions)."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    texts = data[1]
    if isinstance(texts, str) or not isinstance(texts, Sequence | np.ndarray):
        return False
    return len(texts) > 0 and all(isinstance(one, str) for one in texts)


def classes_of(folder: Path) -> tuple[str, ...]:
    """Return the classes that adapters of ours were trained on."""
    said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return tuple(said["classes"])
