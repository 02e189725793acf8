"""SPDL: threads in one process, its own tar reader, Albumentations for the work.

Its best form of those tried: one task a photo, decoded by OpenCV. ``--form batch``,
a task a batch, leaves the two threads waiting for each other. SPDL's own decoder needs
libraries of FFmpeg: ``--form ffmpeg`` where they are.
"""

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import contract
import spdl.io
import work
from spdl.pipeline import PipelineBuilder


def _members(shards: list[str], rng: random.Random) -> Iterator[dict[str, bytes]]:
    shards = rng.sample(shards, len(shards))
    for shard in shards:
        key, members = "", {}
        for name, data in spdl.io.iter_tarfile(Path(shard).read_bytes()):
            stem, _, extension = name.partition(".")
            if stem != key and members:
                yield members
                members = {}
            key = stem
            members[extension] = data
        if members:
            yield members


def _shuffled(samples: Iterator[Any], rng: random.Random) -> Iterator[Any]:
    pool: list[Any] = []
    for sample in samples:
        pool.append(sample)
        if len(pool) == 1000:
            place = rng.randrange(1000)
            pool[place], pool[-1] = pool[-1], pool[place]
            yield pool.pop()
    rng.shuffle(pool)
    yield from pool


def _ffmpeg(members: Mapping[str, bytes], kind: str) -> dict[str, Any]:
    buffer = spdl.io.load_image(bytes(members["jpg"]))
    return work.worked(members, kind, image=spdl.io.to_numpy(buffer))


class _Loader:
    def __init__(self, job: contract.Job) -> None:
        self._job, self._rng = job, random.Random(0)
        self._threads = ThreadPoolExecutor(job.workers)
        self._make = _ffmpeg if job.form == "ffmpeg" else work.worked

    def _one(self, members: dict[str, bytes]) -> dict[str, Any]:
        return self._make(members, self._job.work)

    def _batch(self, rows: list[dict[str, bytes]]) -> dict[str, Any]:
        return work.stack([self._one(members) for members in rows])

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        job, samples = self._job, _members(self._job.shards, self._rng)
        builder = PipelineBuilder().add_source(_shuffled(samples, self._rng))
        many = {"executor": self._threads, "concurrency": job.workers}
        if job.form == "batch":
            builder = builder.aggregate(job.batch).pipe(self._batch, **many)
        else:
            builder = builder.pipe(self._one, **many).aggregate(job.batch)
            builder = builder.pipe(work.stack, executor=self._threads)
        pipeline = builder.add_sink(2).build(num_threads=1, max_failures=0)
        with pipeline.auto_stop():
            yield from pipeline.get_iterator()

    def close(self) -> None:
        self._threads.shutdown(wait=False)


if __name__ == "__main__":
    contract.main(_Loader)
