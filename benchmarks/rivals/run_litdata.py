"""LitData: its own chunks, Albumentations, its own loader over torch's."""

import shutil
from typing import Any

import contract
import litdata
import torchside
import work


class _Photos(litdata.StreamingDataset):
    def __init__(self, job: contract.Job) -> None:
        super().__init__(str(job.converted("litdata")), shuffle=True, seed=0)
        self._work = job.work

    def __getitem__(self, at: Any) -> dict[str, Any]:
        return work.worked(super().__getitem__(at), self._work)


def _open(job: contract.Job) -> contract.Loader:
    return torchside.TorchLoader(
        litdata.StreamingDataLoader(
            _Photos(job),
            batch_size=job.batch,
            num_workers=job.workers,
            collate_fn=torchside.collate,
            persistent_workers=True,
            drop_last=False,
        )
    )


def _samples(shard: str) -> Any:
    for _, members in contract.read_samples([shard]):
        yield dict(members)


def _prepare(job: contract.Job) -> None:
    target = job.converted("litdata")
    if (target / "index.json").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    litdata.optimize(
        fn=_samples, inputs=job.shards, output_dir=str(target), chunk_bytes="16MB",
        num_workers=1, start_method="fork", verbose=False,
    )  # fmt: skip


if __name__ == "__main__":
    contract.main(_open, _prepare)
