"""A recipe outside of the loader: the pixels that an evaluation loader gives."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.normalize import Finish
from fiberaug.augment.replayable import draws
from fiberaug.augment.resolve import resolve_transform
from fiberaug.collate import finish_fields
from fiberaug.decode.image import decode_image
from fiberaug.decode.options import DecodeOptions, parse_decode
from fiberaug.errors import StoreError, UsageError
from fiberaug.record import Record
from fiberaug.seeding import key

__all__ = ["Evaluator"]


class Evaluator:
    """Does to one image what a loader does to each; ``Recipe.eval()`` makes it.

    Args:
        transform: A recipe, or whatever a data set takes as ``transform``.
    """

    def __init__(self, transform: Any) -> None:  # noqa: ANN401  # see StreamingDataset
        self._pipeline, section, batches = resolve_transform(transform)
        if batches:
            raise UsageError(
                f"the recipe has the sections {sorted(batches)}, which work on batches:"
                " leave them out for evaluation of one image"
            )
        self._options = DecodeOptions() if section is None else parse_decode(section)
        self._engines: dict[tuple[str, ...], CpuEngine] = {}
        self._varies: str | None = None
        if self._pipeline is not None:
            self._varies = draws(self._pipeline)

    def __call__(
        self,
        image: Any,  # noqa: ANN401  # an array, bytes, a path, a PIL image
        *,
        record: Record | None = None,
        **fields: Any,  # noqa: ANN401  # a field can be anything
    ) -> Any:  # noqa: ANN401  # a tensor, or a dict of them
        """Return the image as batches hold it: a tensor [C, H, W].

        Args:
            image: An array [H, W, C] or [H, W], the bytes or the path of an image file
                (decoded as the loader does), or a PIL image.
            record: Draw as for this record: a recipe that draws needs one.
            **fields: ``mask``, ``bboxes``, ``bbox_labels``, ``keypoints``, ...: go
                through the recipe, too; the result is then a dict.

        Raises:
            UsageError: The recipe draws, and there is no record.
            DataRefused: The image cannot be decoded.
        """
        if record is None and self._varies is not None:
            raise UsageError(
                f"the recipe gives a sample other pixels each time ({self._varies}):"
                " leave the random operations out for evaluation, or give record= to"
                " draw as for that sample"
            )
        given = {"image": self._pixels(image), **fields}
        finish = Finish()
        if self._pipeline is not None:
            engine = self._engine(tuple(given))
            given = engine(given, _keys(record)).fields
            finish = engine.finish
        done = finish_fields(given, finish)
        return done if fields else done["image"]

    def _engine(self, names: tuple[str, ...]) -> CpuEngine:
        engine = self._engines.get(names)
        if engine is None:
            assert self._pipeline is not None  # noqa: S101  # __call__ asked
            engine = self._engines[names] = CpuEngine(self._pipeline, names)
        return engine

    def _pixels(self, image: Any) -> NDArray[Any]:  # noqa: ANN401
        if hasattr(image, "convert"):
            from PIL import ImageOps  # noqa: PLC0415  # it has been imported

            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        if isinstance(image, str | Path):
            try:
                image = Path(image).read_bytes()
            except OSError as error:
                raise StoreError(f"cannot read {image}: {error.strerror}") from error
        if isinstance(image, bytes | memoryview):
            options = self._options
            return decode_image(
                image, limits=options.limits, color=options.color, depth=options.depth
            )[0]
        pixels = np.asarray(image)
        if pixels.ndim not in {2, 3}:
            raise UsageError(
                f"image must be an array [H, W, C], got shape {list(pixels.shape)}"
            )
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _keys(record: Record | None) -> Any:  # noqa: ANN401  # a function of a stage
    if record is None:
        return partial(key, 0, 0, 0, 0, 0)
    uid = int(record.uid, 16)
    return partial(key, record.seed, record.epoch, uid, record.visit, record.view)
