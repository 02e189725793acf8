"""Operations of your own: a class with parameters, a keyed generator, a record."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.own import ProcessorStage, as_sample
from fiberaug.augment.processor import Processor
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, save_image
from fiberaug.errors import StoreError, UsageError
from fiberaug.marking import mark, read_mark
from fiberaug.sample import Sample
from fiberaug.seeding import key, uid

__all__ = ["LOG", "ImageProcessor", "TextProcessor"]

LOG = "operations.jsonl"
"""Written beside processed files: one line a file."""

_SPATIAL = ("mask", "masks", "bboxes", "keypoints", "polygons")


class _FileProcessor(Processor):
    """What processors of images and of texts share: files, one at a time."""

    def __init__(
        self,
        input_path: str | Path | None = None,
        output_path: str | Path | None = None,
        **params: Any,  # noqa: ANN401  # the subclass says which
    ) -> None:
        for name, value in params.items():
            if hasattr(type(self), name):
                raise UsageError(f"{type(self).__name__} cannot have a {name!r}")
            setattr(self, name, value)
        self.input_path = None if input_path is None else Path(input_path)
        self.output_path = None if output_path is None else Path(output_path)

    def process(self, name: str, *, seed: int = 0) -> Path:
        """Process one file of ``input_path`` and write it under ``output_path``.

        What is drawn follows from the seed and the name alone. The operation is
        appended to ``operations.jsonl`` in ``output_path``.

        Args:
            name: The file's name, relative to ``input_path``.
            seed: In [0, 2**64).

        Returns:
            The path of the written file.

        Raises:
            UsageError: There is no ``input_path`` or ``output_path``, or the name leads
                out of them.
            StoreError: A file cannot be read or written.
            DataRefused: The file is not what it has to be.
        """
        source, target = (
            self._place("input_path", name),
            self._place("output_path", name),
        )
        draw = key(seed, 0, uid("file", name, 0), 0, 0, "process")
        try:
            data = source.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {source}: {error.strerror}") from error
        before = Sample(self._read(data), key=name, url=str(source))
        sample, info = ProcessorStage(self)(before, draw)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{os.getpid()}-{target.name}")
            self._write(partial, sample)
            source_type = read_mark(data)
            if source_type is not None:
                partial.write_bytes(mark(partial.read_bytes(), source_type))
            partial.replace(target)
            line = {
                "file": name,
                "processor": type(self).name(),
                "params": self.params,
                "seed": seed,
                "info": info,
            }
            with (target.parent / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line, default=str) + "\n")
        except OSError as error:
            raise StoreError(f"cannot write {target}: {error}") from error
        return target

    def _place(self, which: str, name: str) -> Path:
        # Subclasses of old need not hand their paths on.
        folder = getattr(self, which, None) or self._arguments.get(which)
        if folder is None:
            raise UsageError(
                f"process() works on files: give {type(self).__name__} an {which}"
            )
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UsageError(f"name must lie inside of {which}, got {name!r}")
        return Path(folder) / name

    def _read(self, data: bytes) -> dict[str, Any]:
        raise NotImplementedError

    def _write(self, path: Path, sample: Sample) -> None:
        raise NotImplementedError


class ImageProcessor(_FileProcessor):
    """Base class of your own operation on images, to be given as ``transform``.

    The arguments of ``__init__`` are its identity: they stand in the recipe's hash and
    in the run's manifest. ``self.rng``, a ``numpy.random.Generator``, belongs to the
    sample that is processed: what you draw from it is the same for any number of
    workers, and in every replay. Python's, numpy's and torch's global generators are
    keyed, too, while your code runs, and put back after it.

    >>> class Speckle(ImageProcessor):
    ...     def __init__(self, most=20):
    ...         self.most = most
    ...
    ...     def _process(self, image):
    ...         self.level = int(self.rng.integers(self.most + 1))
    ...         noise = self.rng.integers(-self.level, self.level + 1, image.shape)
    ...         return np.clip(image + noise, 0, 255).astype(np.uint8)
    ...
    ...     def _process_info(self):
    ...         return {"level": self.level}
    >>> Speckle(most=9).params
    {'most': 9}

    Override ``_process_sample(sample) -> sample`` instead of ``_process`` where boxes,
    masks or points have to move along; :func:`fiberaug.processors.warp_sample` does
    that for affine maps.

    On files, without shards: ``Speckle(input_path="in/", output_path="out/")`` has
    :meth:`process`.

    Args:
        input_path: Folder that :meth:`process` reads from; no part of the identity.
        output_path: Folder that :meth:`process` writes to; no part of the identity.
        **params: Become attributes, for classes without an ``__init__`` of their own.
    """

    def _process(self, image: NDArray[Any]) -> Any:  # noqa: ANN401  # the user's array
        """Return the processed image.

        Args:
            image: [H, W, C], uint8 or float32; not to be written to.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define _process(self, image) or"
            " _process_sample(self, sample)"
        )

    def _process_sample(self, sample: Sample) -> Any:  # noqa: ANN401  # the user's mapping
        """Return the processed sample; by default only its image is changed."""
        before = sample["image"]
        made = {**sample, "image": self._process(before)}
        after = as_sample(made, sample, f"{type(self).__name__}._process")
        there = [name for name in _SPATIAL if sample.get(name) is not None]
        if there and after["image"].shape[:2] != before.shape[:2]:
            raise UsageError(
                f"{type(self).__name__}._process changed the size from"
                f" {list(before.shape)} to {list(after['image'].shape)}, and the sample"
                f" has {', '.join(there)}: move them along in _process_sample"
            )
        return after

    def _read(self, data: bytes) -> dict[str, Any]:
        return {"image": decode_image(data, limits=ImageLimits())[0]}

    def _write(self, path: Path, sample: Sample) -> None:
        save_image(path, np.ascontiguousarray(sample["image"]))


class TextProcessor(_FileProcessor):
    """Base class of your own operation on captions; else as :class:`ImageProcessor`.

    Define ``_process(text) -> text``. Samples without a caption pass unchanged.

    Args:
        input_path: Folder that :meth:`process` reads from; no part of the identity.
        output_path: Folder that :meth:`process` writes to; no part of the identity.
        **params: Become attributes, for classes without an ``__init__`` of their own.
    """

    def _process(self, text: str) -> str:
        """Return the processed text."""
        raise NotImplementedError(
            f"{type(self).__name__} must define _process(self, text)"
        )

    def _process_sample(self, sample: Sample) -> Any:  # noqa: ANN401  # the user's mapping
        """Return the sample with its ``caption`` processed."""
        text = sample.get("caption")
        if text is None:
            return sample
        made = self._process(text)
        if not isinstance(made, str):
            raise UsageError(
                f"{type(self).__name__}._process must return text, got {made!r:.200}"
            )
        return sample.replace(caption=made)

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"the file is no UTF-8 text: {error}") from error
        return {"image": np.zeros((1, 1, 3), np.uint8), "caption": text}

    def _write(self, path: Path, sample: Sample) -> None:
        path.write_text(sample["caption"], encoding="utf-8")
