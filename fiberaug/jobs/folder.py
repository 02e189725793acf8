"""A folder of images with class subfolders to shards, in parallel, always the same bytes."""

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from fiberaug.errors import (
    DataRefused,
    SampleBroken,
    StoreError,
    UsageError,
    WorkerDied,
)
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import ENCODINGS, recode
from fiberaug.jobs.target import Target
from fiberaug.seeding import check_seed
from fiberaug.shards.manifest import Manifest, ShardEntry, write_atomically
from fiberaug.shards.naming import escape_stem
from fiberaug.shards.writer import ShardFileWriter, check_key, member_bytes

__all__ = ["Item", "convert_folder", "list_folder"]

EXTENSIONS = frozenset(
    {"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm"}
)


class Item(NamedTuple):
    """One image file."""

    key: str
    path: str
    size: int
    label: int | None


@dataclass(frozen=True, kw_only=True)
class _Options:
    encode: str
    resize: int | None
    quality: int
    fail: bool


class _Written(NamedTuple):
    entry: ShardEntry | None
    errors: list[dict[str, str]]
    images: int


def list_folder(
    folder: Path, classes: Sequence[str] | None = None
) -> tuple[list[Item], list[str]]:
    """Return the images of a folder in sorted order, and the class names.

    The first folder below ``folder`` is the class; where no image has one, there are
    no labels. Hidden files and links that leave the folder are passed over.

    Raises:
        UsageError: There is no such folder.
        DataRefused: There is no image, or some lie beside the class folders.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    found = list(_walk(folder.resolve()))
    if not found:
        raise DataRefused(f"{folder} has no image: {', '.join(sorted(EXTENSIONS))}")
    roots = {path.parts[0] if len(path.parts) > 1 else "" for path, _ in found}
    if "" in roots and len(roots) > 1:
        stray = next(path for path, _ in found if len(path.parts) == 1)
        raise DataRefused(
            f"{stray} lies beside the class folders {sorted(roots - {''})[:5]}; move it into"
            " one, or the folders elsewhere"
        )
    names = sorted(roots - {""}) if classes is None else list(classes)
    unknown = sorted(roots - {""} - set(names))
    if unknown:
        raise UsageError(f"folders {unknown} are none of the classes {names}")
    ids = {name: i for i, name in enumerate(names)}
    items: list[Item] = []
    keys: set[str] = set()
    for path, size in found:
        key = "/".join((*path.parts[:-1], escape_stem(path.stem)))
        label = ids[path.parts[0]] if len(path.parts) > 1 else None
        unique, n = key, 1
        while unique in keys:  # a.jpg beside a.png
            n += 1
            unique = f"{key}-{n}"
        check_key(unique, {"jpg": b""})
        keys.add(unique)
        items.append(Item(unique, str(folder / path), size, label))
    return items, names


def _walk(root: Path) -> Iterator[tuple[Path, int]]:
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if name.startswith(".") or path.suffix[1:].lower() not in EXTENSIONS:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                continue
            if path.is_file():
                yield path.relative_to(root), path.stat().st_size


def _cut(items: Sequence[Item], shard_size: int) -> list[list[Item]]:
    """Cut items into shards by the sizes of their files: the same for any workers."""
    shards: list[list[Item]] = [[]]
    used = 0
    for item in items:
        size = member_bytes(item.size) + (
            member_bytes(1) if item.label is not None else 0
        )
        if shards[-1] and used + size > shard_size:
            shards.append([])
            used = 0
        shards[-1].append(item)
        used += size
    return shards


def _write_shard(path: Path, items: Sequence[Item], options: _Options) -> _Written:
    writer = ShardFileWriter(path)
    errors: list[dict[str, str]] = []
    try:
        for item in items:
            try:
                extension, data = recode(
                    Path(item.path).read_bytes(), encoding=options.encode,
                    resize=options.resize, quality=options.quality,
                )  # fmt: skip
            except (DataRefused, OSError) as error:
                if options.fail:
                    if isinstance(error, DataRefused):
                        raise error.located(key=item.key) from None
                    raise StoreError(
                        f"cannot read {item.path}: {error}", key=item.key
                    ) from error
                errors.append(
                    {"key": item.key, "path": item.path, "reason": str(error)}
                )
                continue
            members = {extension: data}
            if item.label is not None:
                members["cls"] = str(item.label).encode()
            writer.write(item.key, members)
        if not writer.samples:
            writer.discard()
            return _Written(None, errors, 0)
        return _Written(writer.publish(Describer()), errors, writer.samples)
    except BaseException:
        writer.discard()
        raise


def convert_folder(
    src: Path,
    dst: Path,
    *,
    shard_size: int,
    workers: int,
    seed: int,
    keep_order: bool,
    resize: int | None,
    encode: str,
    quality: int,
    on_error: str,
    classes: Sequence[str] | None,
    progress: bool,
) -> Manifest:
    """Write a folder of images as shards; see :func:`fiberaug.convert`."""
    if workers < 1:
        raise UsageError(f"workers must be >= 1, got {workers}")
    if encode not in {"keep", *ENCODINGS}:
        raise UsageError(f"encode must be keep, {', '.join(ENCODINGS)}, got {encode!r}")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality must be in [1, 100], got {quality}")
    if resize is not None and resize < 1:
        raise UsageError(f"resize must be >= 1 px, got {resize}")
    if on_error not in {"skip", "fail"}:
        raise UsageError(f"on_error must be skip or fail, got {on_error!r}")
    if dst.resolve().is_relative_to(src.resolve()):
        raise UsageError(f"{dst} lies inside of {src}; write the shards elsewhere")
    check_seed(seed)
    items, names = list_folder(src, classes)
    if not keep_order:
        items.sort(
            key=lambda item: blake2b(
                f"{seed}\0{item.key}".encode(), digest_size=8
            ).digest()
        )
    arguments = {
        "source": src.resolve().name, "shard_size": shard_size, "seed": seed,
        "keep_order": keep_order, "resize": resize, "encode": encode, "quality": quality,
    }  # fmt: skip
    target = Target(dst, arguments)
    options = _Options(
        encode=encode, resize=resize, quality=quality, fail=on_error == "fail"
    )
    parts = _cut(items, shard_size)
    written = _run(target, parts, options, workers=workers, progress=progress)
    errors = [error for part in written for error in part.errors]
    if errors:
        lines = "".join(json.dumps(error) + "\n" for error in errors)
        write_atomically(dst / "convert_errors.jsonl", lines.encode())
    entries = [part.entry for part in written if part.entry is not None]
    if not entries:
        raise SampleBroken(
            f"none of {len(items)} files is an image; the first: {errors[0]['reason']}"
        )
    fields = {"image": "jpg;png;webp;bmp;tif;gif;ppm"}
    if names:
        fields["label"] = "cls"
    return target.finish(entries, names, fields)


def _run(
    target: Target,
    parts: list[list[Item]],
    options: _Options,
    *,
    workers: int,
    progress: bool,
) -> list[_Written]:
    """Write the shards; the result is in their order whoever wrote them."""
    import webdataset.writer  # noqa: F401, PLC0415  # once, before the workers are forked

    bar = tqdm(
        total=sum(map(len, parts)),
        unit="img",
        desc="convert",
        disable=None if progress else True,
    )
    jobs = [(target.shard(i), part, options) for i, part in enumerate(parts)]
    done: list[_Written] = []
    with bar:
        if workers == 1 or len(jobs) == 1:
            for job in jobs:
                done.append(_write_shard(*job))
                bar.update(len(job[1]))
            return done
        method = (
            "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        )
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
            futures = [pool.submit(_write_shard, *job) for job in jobs]
            try:
                for future, part in zip(futures, parts, strict=True):
                    done.append(future.result())
                    bar.update(len(part))
            except BrokenProcessPool as error:
                raise WorkerDied(
                    f"a worker of convert died after {len(done)} shards; the machine may"
                    " have run out of memory: use fewer --workers",
                    stage="convert",
                ) from error
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    return done
