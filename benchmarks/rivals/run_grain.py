"""Grain: ArrayRecord files, Albumentations, batches of NumPy arrays.

Its best form of those tried: two threads in one process; two processes
(``--form processes``) pay for carrying the batches over.
"""

import pickle
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import contract
import grain
import work
from array_record.python.array_record_module import ArrayRecordWriter

RECORDS = "samples.array_record"


class _Work(grain.transforms.Map):
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def map(self, element: bytes) -> dict[str, Any]:
        return work.worked(pickle.loads(element), self._kind)  # noqa: S301  # we wrote it


class _Loader:
    def __init__(self, job: contract.Job) -> None:
        source = grain.sources.ArrayRecordDataSource(
            str(job.converted("grain") / RECORDS)
        )
        data = grain.MapDataset.source(source).seed(0).shuffle().repeat()
        data = data.map(_Work(job.work))
        processes = job.form == "processes"
        threads = 0 if processes else job.workers
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=128)
        data = data.to_iter_dataset(options).batch(job.batch, batch_fn=work.stack)
        if processes:
            data = data.mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=job.workers, per_worker_buffer_size=2
                )
            )
        self._batches, self._iterator = -(-job.photos // job.batch), iter(data)

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        yield from islice(self._iterator, self._batches)

    def close(self) -> None:
        pass


def _prepare(job: contract.Job) -> None:
    target = job.converted("grain")
    if (target / RECORDS).exists():
        return
    target.mkdir(exist_ok=True)
    writer = ArrayRecordWriter(str(target / "part"), "group_size:1")
    for _, members in contract.read_samples(job.shards):
        writer.write(pickle.dumps(members))
    writer.close()
    (target / "part").rename(target / RECORDS)


if __name__ == "__main__":
    contract.main(_Loader, _prepare)
