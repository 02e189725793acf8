"""A folder of images with class subfolders to shards: the same bytes every time."""

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from fiberaug.errors import DataRefused, SampleBroken, StoreError, UsageError
from fiberaug.jobs.crew import check_wanted, run_jobs
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import ENCODINGS, recode
from fiberaug.jobs.listing import Item, list_folder
from fiberaug.jobs.target import ERRORS, Target
from fiberaug.seeding import check_seed
from fiberaug.shards.manifest import Manifest, ShardEntry, write_atomically
from fiberaug.shards.writer import ShardFileWriter, check_size, member_bytes

__all__ = ["convert_folder"]


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
            check_wanted()
            try:
                extension, data = recode(
                    Path(item.path).read_bytes(), encoding=options.encode,
                    resize=options.resize, quality=options.quality,
                )  # fmt: skip
                check_size(len(data), extension)
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
    allow_empty_class: bool,
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
        items.sort(key=lambda item: _shuffled(seed, item.key))
    arguments = {
        "source": src.resolve().name, "shard_size": shard_size, "seed": seed,
        "keep_order": keep_order, "resize": resize, "encode": encode,
        "quality": quality,
    }  # fmt: skip
    target = Target(dst, arguments)
    options = _Options(
        encode=encode, resize=resize, quality=quality, fail=on_error == "fail"
    )
    parts = _cut(items, shard_size)
    written = _run(target, parts, options, workers=workers, progress=progress)
    _report(dst, [error for part in written for error in part.errors])
    entries = [part.entry for part in written if part.entry is not None]
    if not entries:
        raise SampleBroken(
            f"none of {len(items)} files is an image; the first:"
            f" {written[0].errors[0]['reason']}"
        )
    _check_classes(names, entries, allow_empty=allow_empty_class)
    fields = {"image": "jpg;png;webp;bmp;tif;gif;ppm"}
    if names:
        fields["label"] = "cls"
    return target.finish(entries, names, fields)


def _with_space(
    error: StoreError, dst: Path, parts: Sequence[Sequence[Item]]
) -> StoreError:
    """Return the error of a disk with what the images take and what is free."""
    needed = sum(item.size for part in parts for item in part)
    free = shutil.disk_usage(dst).free
    return StoreError(
        f"{error.message}; the images have {needed} bytes as they are, {free} bytes are"
        f" free in {dst}; with space there the same command begins again",
        key=error.key,
        stage=error.stage,
    )


def _check_classes(
    names: Sequence[str], entries: Sequence[ShardEntry], *, allow_empty: bool
) -> None:
    """Refuse a set in which a class has no image: nothing can be learned of it."""
    there = {label for entry in entries for label in entry.counts}
    empty = [name for i, name in enumerate(names) if str(i) not in there]
    if empty and not allow_empty:
        raise DataRefused(
            f"{len(empty)} of {len(names)} classes have no image that could be read:"
            f" {empty[:10]}; {ERRORS} lists what was refused; allow_empty_class=True"
            " (--allow-empty-class) writes the set all the same"
        )


def _shuffled(seed: int, key: str) -> bytes:
    return blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()


def _report(folder: Path, errors: list[dict[str, str]]) -> None:
    if errors:
        lines = "".join(json.dumps(error) + "\n" for error in errors)
        write_atomically(folder / ERRORS, lines.encode())


def _run(
    target: Target,
    parts: list[list[Item]],
    options: _Options,
    *,
    workers: int,
    progress: bool,
) -> list[_Written]:
    """Write the shards; the result is in their order whoever wrote them."""
    import webdataset.writer  # noqa: F401, PLC0415  # once, before workers are forked

    jobs = [(target.shard(i), part, options) for i, part in enumerate(parts)]
    done: list[_Written] = []
    hidden = None if progress else True
    # The jobs are closed here: after Ctrl-C workers stop now, not when this is garbage.
    with (
        tqdm(
            total=sum(map(len, parts)), unit="img", desc="convert", disable=hidden
        ) as bar,
        closing(run_jobs(_write_shard, jobs, workers=workers)) as results,
    ):
        try:
            for written, part in zip(results, parts, strict=True):
                done.append(written)
                bar.update(len(part))
        except StoreError as error:
            if error.stage != "write":
                raise
            raise _with_space(error, target.folder, parts) from error
    return done
