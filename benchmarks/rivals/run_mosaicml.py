"""MosaicML Streaming: its own shards (MDS), Albumentations, a torch DataLoader."""

import shutil
from typing import Any

import contract
import torch
import torchside
import work

torchside.load_torchvision()  # streaming imports it
from streaming import MDSWriter, StreamingDataset  # noqa: E402  # torchvision is first
from streaming.base.util import clean_stale_shared_memory  # noqa: E402  # same


class _Photos(StreamingDataset):
    def __init__(self, job: contract.Job) -> None:
        local = str(job.converted("mds"))
        super().__init__(
            local=local, shuffle=True, batch_size=job.batch, shuffle_seed=0
        )
        self._work = job.work

    def __getitem__(self, at: Any) -> dict[str, Any]:
        members = super().__getitem__(at)
        return work.worked(
            {name.replace("_", "."): data for name, data in members.items()},
            self._work,
        )


def _open(job: contract.Job) -> contract.Loader:
    clean_stale_shared_memory()
    return torchside.TorchLoader(
        torch.utils.data.DataLoader(
            _Photos(job),
            batch_size=job.batch,
            num_workers=job.workers,
            collate_fn=torchside.collate,
            persistent_workers=True,
        )
    )


def _prepare(job: contract.Job) -> None:
    target = job.converted("mds")
    if (target / "index.json").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    _, first = next(contract.read_samples(job.shards))
    columns = {name.replace(".", "_"): "bytes" for name in first}
    with MDSWriter(out=str(target), columns=columns, size_limit="16mb") as writer:
        for _, members in contract.read_samples(job.shards):
            writer.write({name.replace(".", "_"): members[name] for name in first})


if __name__ == "__main__":
    contract.main(_open, _prepare)
