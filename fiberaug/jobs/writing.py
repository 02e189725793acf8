"""Samples to shards: ``ShardWriter`` for a loop, ``convert`` for a whole source."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from fiberaug.errors import UsageError
from fiberaug.jobs.converting import Job, convert_source
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.jobs.members import encode_sample
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.sources.finding import find_source
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.splitting import parse_split
from fiberaug.jobs.target import Target
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.shards.writer import ShardFileWriter, member_bytes
from fiberaug.sizes import parse_bytes

__all__ = ["ShardWriter", "convert"]


class ShardWriter:
    """Writes samples to shards of a folder, with indexes and ``dataset.json``.

    A shard gets its name when it is complete and ``dataset.json`` is written last, so a
    folder that was interrupted is never taken for a data set.

    Args:
        dst: The folder; it must not hold a data set.
        shard_size: Size at which the next shard is begun.
        classes: Class names by id. None: names get ids as they first come.
        encoding: How arrays become images: ``png``, ``jpeg`` or ``webp``.
        fields: Field mapping to keep in ``dataset.json``.

    Raises:
        UsageError: The folder holds something else, or an argument is out of range.
    """

    def __init__(
        self,
        dst: str | Path,
        *,
        shard_size: int | str = "256MB",
        classes: Sequence[str] | None = None,
        encoding: str = "png",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise UsageError(
                f"encoding must be one of {sorted(ENCODINGS)}, got {encoding!r}"
            )
        self._most = parse_bytes(shard_size, name="shard_size")
        self._arguments = {"shard_size": self._most, "encoding": encoding}
        names = check_classes(classes or ())
        self._target = Target(Path(dst), self._arguments)
        self._classes = {name: i for i, name in enumerate(names)}
        self._fixed = classes is not None
        self._encoding, self._fields = encoding, dict(fields or {})
        self._keys: set[str] = set()
        self._entries: list[ShardEntry] = []
        self._shard: ShardFileWriter | None = None

    def _class_id(self, name: str) -> int:
        name = unicodedata.normalize("NFC", name)
        if name not in self._classes:
            if self._fixed:
                raise UsageError(
                    f"{name!r} is none of the classes {list(self._classes)}"
                )
            self._classes[name] = len(self._classes)
        return self._classes[name]

    def write(self, sample: Mapping[str, Any]) -> None:
        """Append one sample.

        Args:
            sample: ``__key__`` (stored in Unicode's form NFC) and fields: ``image``
                (bytes, path, PIL image or uint8 array), ``label`` (id, name, number or
                vector), ``mask``, ``bboxes``, ``bbox_labels``, ``keypoints``,
                ``caption``; or extensions as webdataset names them (``jpg``, ``cls``,
                ``json``, ...).

        Raises:
            UsageError: The key is missing, was used before or cannot be read back; or a
                field cannot be stored.
            StoreError: The disk is full or gone.
        """
        key = sample.get("__key__")
        if not isinstance(key, str) or not key:
            raise UsageError(f"__key__ must be text, got {key!r}")
        key = unicodedata.normalize("NFC", key)  # both ways to write an accent are one
        if key in self._keys:
            raise UsageError(
                f"key {key!r} was written before; keys are unique in a data set"
            )
        members = encode_sample(sample, self._class_id, encoding=self._encoding)
        size = sum(member_bytes(len(data)) for data in members.values())
        if self._shard is not None and self._shard.bytes + size > self._most:
            self._publish()
        if self._shard is None:
            self._shard = ShardFileWriter(self._target.shard(len(self._entries)))
        self._shard.write(key, members)
        self._keys.add(key)

    def _publish(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            self._entries.append(shard.publish(Describer()))

    def close(self) -> Manifest:
        """Finish the last shard and write ``dataset.json``.

        Raises:
            UsageError: No sample was written.
            StoreError: The disk is full or gone.
        """
        self._publish()
        return self._target.finish(self._entries, list(self._classes), self._fields)

    def abort(self) -> None:
        """Drop the unfinished shard; ``dataset.json`` is not written."""
        if self._shard is not None:
            self._shard.discard()
            self._shard = None

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the writer, or drop the unfinished shard after an error."""
        if kind is None:
            self.close()
        else:
            self.abort()


def convert(
    src: str | Path | Iterable[Mapping[str, Any]],
    dst: str | Path,
    *,
    source: str = "auto",
    shard_size: int | str = "256MB",
    workers: int | None = None,
    seed: int = 0,
    keep_order: bool = False,
    split: str | Mapping[str, float] | None = None,
    stratify: bool = False,
    group_by: str | None = None,
    resize: int | None = None,
    encode: str = "keep",
    quality: int = 90,
    annotation_frame: str | None = None,
    on_error: str = "skip",
    classes: Sequence[str] | None = None,
    allow_empty_class: bool = False,
    progress: bool = True,
) -> Manifest:
    """Write a folder of images, or an iterable of samples, as shards.

    A folder's images are kept byte for byte unless ``resize`` or ``encode`` says
    otherwise; its subfolders are the classes. They are shuffled by ``seed``: shards
    that are sorted by class train badly whatever a loader does. The bytes of the shards
    do not depend on ``workers``. An iterable is written in its own order, and its first
    mistake stops it. Returned is the content of ``dataset.json``.

    Args:
        src: A folder, or samples as :meth:`ShardWriter.write` takes them.
        dst: Folder for the shards.
        source: What ``src`` is: ``folder``; ``auto`` looks what lies there.
        shard_size: Size of a shard, such as ``"256MB"``.
        workers: Processes. None: one for each core.
        seed: Seed of the shuffle.
        keep_order: Do not shuffle.
        split: Shares of parts, such as ``"train=0.8,val=0.2"``; each part gets shards
            of its own, which ``StreamingDataset(split="train")`` reads.
        stratify: Split each class alike.
        group_by: What must stay in one part: ``"folder"``, or a regular expression
            whose groups in the key name it, such as ``r"(patient[0-9]+)_"``.
        resize: Length of the shorter side, px; smaller images stay as they are.
        encode: ``keep``, ``jpeg``, ``webp`` or ``png``.
        quality: Of JPEG and WebP, 1 to 100.
        annotation_frame: Whether annotations are for the ``stored`` or the ``upright``
            pixels of images that their EXIF orientation turns; asked for where the
            annotations do not tell.
        on_error: ``skip`` lists files that are no images in ``convert_errors.jsonl``;
            ``fail`` stops at the first.
        classes: Class names by id. None: sorted subfolders; of an iterable, names as
            they first come.
        allow_empty_class: Write a folder's set though a class has no sound image.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: An argument is out of range, or ``dst`` holds something else.
        DataRefused: There is no image, a class has none, or one is broken and
            ``on_error`` is ``fail``.
        StoreError: The disk is full or gone.
    """
    if isinstance(src, str | Path):
        job = Job(
            shard_size=parse_bytes(shard_size, name="shard_size"),
            workers=_cores() if workers is None else workers, seed=seed,
            keep_order=keep_order, allow_empty_class=allow_empty_class,
            progress=progress, split=parse_split(split), stratify=stratify,
            options=Options(
                encode=encode, resize=resize, quality=quality, frame=annotation_frame,
                group_by=group_by, fail=on_error == "fail",
            ),
        )  # fmt: skip
        if on_error not in {"skip", "fail"}:
            raise UsageError(f"on_error must be skip or fail, got {on_error!r}")
        _check_apart(Path(src), Path(dst))
        found = find_source(Path(src), source, SourceOptions(classes=classes))
        return convert_source(found, Path(dst), job)
    if resize is not None:
        raise UsageError("resize is for a folder; resize the images of your samples")
    encoding = "png" if encode == "keep" else encode
    writer = ShardWriter(dst, shard_size=shard_size, classes=classes, encoding=encoding)
    try:
        for sample in tqdm(src, unit="img", disable=None if progress else True):
            writer.write(sample)
    except BaseException:
        writer.abort()
        raise
    return writer.close()


def _check_apart(src: Path, dst: Path) -> None:
    if src.is_dir() and dst.resolve().is_relative_to(src.resolve()):
        raise UsageError(f"{dst} lies inside of {src}; write the shards elsewhere")


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
