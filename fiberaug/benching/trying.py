"""A part of the set done otherwise: decoded fast, or with restart markers."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from fiberaug.benching.hints import Trials, decodes_late
from fiberaug.benching.opened import Opened, Photo, open_set, with_form
from fiberaug.benching.options import BenchOptions
from fiberaug.benching.photos import Ceilings
from fiberaug.benching.stages import Stages, StageTimes, measure_stages
from fiberaug.decode import turbo
from fiberaug.errors import FiberAugError
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.restarting import mark_members

__all__ = ["try_otherwise"]

_LARGE = 0.25  # of the CPU time of an image is decoding: else it is not worth it
_PIXELS = 2.0  # of a photo to those that come out, from which fast can gain
_MOST_PHOTOS = 256
_MOST_BYTES = 64 * 10**6


def try_otherwise(
    opened: Opened,
    options: BenchOptions,
    times: StageTimes,
    ceilings: Ceilings,
    seconds: float,
) -> Trials:
    """Return the stages with what could help, where decoding is a large part.

    Args:
        opened: The set.
        options: How it was opened.
        times: What a sample costs now.
        ceilings: What decoding takes by itself.
        seconds: Length of each trial, s.
    """
    jpegs = sum(kind.share for kind in ceilings.kinds if "jpeg" in kind.name)
    late = decodes_late(opened) and opened.dataset.setup.tiling is None
    decoding = times.stages.decode / max(times.stages.whole, 1e-12)
    if not late or jpegs < 0.5 or decoding < _LARGE:
        return Trials()
    trials = Trials()
    how = opened.dataset.setup.decoder.options
    plain = how.scale == "exact" and {how.color, how.depth}.isdisjoint({"keep"})
    if plain and ceilings.pixels > _PIXELS * times.out_pixels:
        trials = trials._replace(fast=_fast(opened, times, seconds))
    if ceilings.seekable < 0.5 and turbo.available():
        found = _seekable(opened, options, times.samples, seconds)
        if found is not None:
            trials = trials._replace(plain=found[0], seekable=found[1])
    return trials


def _fast(opened: Opened, times: StageTimes, seconds: float) -> Stages:
    """Return the stages of the same samples, decoded fast."""
    setup = opened.dataset.setup
    decoder = replace(
        setup.decoder, options=replace(setup.decoder.options, scale="fast")
    )
    other = replace(setup, decoder=decoder)
    return measure_stages(opened, times.samples, seconds, setup=other).stages


def _seekable(
    opened: Opened, options: BenchOptions, samples: int, seconds: float
) -> tuple[Stages, Stages] | None:
    """Return the stages of some samples as they are, and with restart markers.

    Both are shards of one name, so the same crops are drawn.
    """
    photos = list(islice(opened.photos(samples), _MOST_PHOTOS))
    stages = []
    with TemporaryDirectory(prefix="fiberaug-bench-") as folder:
        for form in ("plain", "seekable"):
            place = Path(folder) / form
            place.mkdir()
            shard = place / "sample-000000.tar"
            rows = _write(opened, photos, shard, marked=form == "seekable")
            try:
                index_shards(shard, decode=True, progress=False)
                alone = replace(options, shards=str(shard), split="all", index_dir=None)
                other = with_form(open_set(alone))
                stages.append(measure_stages(other, rows, seconds).stages)
            except FiberAugError:  # fields that dataset.json named, or a broken sample
                return None
    return stages[0], stages[1]


def _write(opened: Opened, photos: list[Photo], path: Path, *, marked: bool) -> int:
    size = rows = 0
    with tarfile.open(path, "w") as tar:
        for number, members in enumerate(_members(opened, photos)):
            if size > _MOST_BYTES:
                break
            done = mark_members(members)[0] if marked else members
            for extension, data in done.items():
                info = tarfile.TarInfo(f"{number:06d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            size += sum(map(len, members.values()))
            rows += 1
    return rows


def _members(opened: Opened, photos: list[Photo]) -> Iterator[dict[str, bytes]]:
    pool = opened.pool()
    for photo in photos:
        found = pool[photo.shard].read(photo.number)
        yield {extension: bytes(data) for extension, data in found.items()}
