"""How much of a pipeline draws nothing: the transforms are asked, not believed."""

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.spec import takes_references
from fiberaug.baking.comparing import difference

__all__ = ["beginning", "why_it_draws"]

_SIZES = ((1, 1), (3, 2), (8, 8), (31, 37), (96, 64), (120, 200), (320, 416))
_LARGE = (1100, 1300)
"""Height and width of synthetic images, px: smaller and larger than what a transform
crops and pads to, so that what draws where an image is small is found out."""

_SEEDS = (1, 2)
_DATA = frozenset({"image"})


def beginning(items: Sequence[Any]) -> tuple[int, str]:
    """Return how many of a pipeline's first items draw nothing, and why no more do.

    Args:
        items: What the user's pipeline consists of, in order.
    """
    for number, item in enumerate(items):
        why = why_it_draws(item)
        if why is not None:
            return number, f"{type(item).__name__} {why}"
    return len(items), "nothing is left"


def why_it_draws(item: Any) -> str | None:  # noqa: ANN401, PLR0911  # one reason a return
    """Return why an operation may not be done once for all, or None where it may.

    One that may is Albumentations' own, has ``p=1``, gives whole numbers, and on
    synthetic samples of many sizes neither touches its generators nor gives other
    pixels under another seed. What it does may not depend on annotations: whether it
    draws could then depend on them, too.

    Args:
        item: A transform, or a ``Sequential`` of such.
    """
    if isinstance(item, A.Sequential):
        if item.p < 1:
            return f"is applied with p={item.p}"
        inner = ((child, why_it_draws(child)) for child in item.transforms)
        return next(
            (f"holds {type(c).__name__}, which {why}" for c, why in inner if why), None
        )
    if not isinstance(item, A.BasicTransform):
        return "is no single transform of Albumentations"
    foreign = not type(item).__module__.startswith("albumentations.")
    if foreign or isinstance(item, A.Lambda | A.Transform3D):
        return "has code that nothing is known of"
    if item.p < 1:
        return f"is applied with p={item.p}"
    if takes_references(item) or set(item.targets_as_params) - _DATA:
        return f"takes {sorted(set(item.targets_as_params) - _DATA)} of each sample"
    return _asked(item)


def _asked(leaf: A.BasicTransform) -> str | None:
    """Run a transform on synthetic samples."""
    ran, failed = 0, ""
    for size in (*_SIZES, _LARGE):
        if size == _LARGE and ran > len(_SIZES) - 2:
            continue  # a large image only for what needs one
        for image in _images(size):
            try:
                outs = [_run(leaf, image, seed) for seed in _SEEDS]
            except _DrawsError as error:
                return str(error)
            except Exception as error:  # noqa: BLE001  # a crop that is too large, ...
                failed = " ".join(str(error).split())[:120]
                continue
            if difference(*outs) is not None:
                return "gives other pixels under another seed"
            made = outs[0]["image"]
            if not isinstance(made, np.ndarray) or made.dtype != image.dtype:
                return f"makes {getattr(made, 'dtype', type(made))} of {image.dtype}"
            ran += image.shape[2] == 3
    return None if ran else f"cannot be tried on a synthetic image: {failed}"


class _DrawsError(Exception):
    """The transform touched a generator, or looked at annotations to decide."""


class _Watched(dict[str, Any]):
    """The data of a call, which refuses to say anything but the image."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # of dict
        return super().__getitem__(_seen(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_seen(name))

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # of dict
        return super().get(_seen(name), default)


def _seen(name: Any) -> Any:  # noqa: ANN401  # a key
    if name not in _DATA:
        raise _DrawsError(f"looks at {name!r} of each sample")
    return name


def _run(leaf: A.BasicTransform, image: NDArray[Any], seed: int) -> dict[str, Any]:
    """Return what a transform makes of a sample.

    Raises:
        _DrawsError: It touched a generator of its own, or a global one, or looked at
            annotations.
    """
    leaf = copy.deepcopy(leaf)
    decide: Callable[..., Any] = leaf.get_params_dependent_on_data
    leaf.get_params_dependent_on_data = lambda params, data: decide(
        params=params, data=_Watched(data)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of boxes that no transform would change
        compose = A.Compose(
            [leaf],
            bbox_params=A.BboxParams(
                "pascal_voc", label_fields=["labels"], clip=True,
                filter_invalid_bboxes=True,
            ),
            keypoint_params=A.KeypointParams("xy", remove_invisible=False),
        )  # fmt: skip
    mine = np.random.Generator(np.random.PCG64(seed)), random.Random(seed)  # noqa: S311  # pixels
    leaf.set_random_state(*mine)
    before = _states(*mine)
    out = compose(**_sample(image))
    if _states(*mine) != before:
        raise _DrawsError("draws")
    return {name: out[name] for name in ("image", "mask", "bboxes", "keypoints")}


def _states(generator: np.random.Generator, python: random.Random) -> str:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  # the global one
    states = (
        generator.bit_generator.state, python.getstate(), random.getstate(),
        legacy["state"]["pos"], legacy["state"]["key"].tobytes(),
    )  # fmt: skip
    return repr(states)


def _images(size: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Yield noise and a flat image of a size, and noise of one channel."""
    generator = np.random.default_rng(size[0])
    yield generator.integers(0, 256, (*size, 3), np.uint8)
    yield np.full((*size, 3), 77, np.uint8)
    yield generator.integers(0, 256, (*size, 1), np.uint8)


def _sample(image: NDArray[Any]) -> Mapping[str, Any]:
    height, width = image.shape[:2]
    box = [width / 4, height / 4, width, height]
    return {
        "image": image,
        "mask": (np.indices((height, width)).sum(0) % 3).astype(np.uint8),
        "bboxes": np.array([box, [0, 0, width, height]], np.float32),
        "labels": np.array([0, 1]),
        "keypoints": np.array([[width / 3, height / 2]], np.float32),
    }
