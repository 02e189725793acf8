"""Plain webdataset and Albumentations in a torch DataLoader: what people write."""

import contract
import torch
import torchside
import webdataset
import work


def _open(job: contract.Job) -> contract.Loader:
    def ready(sample: dict[str, bytes]) -> dict:
        return work.worked(sample, job.work)

    data = webdataset.WebDataset(
        job.shards, shardshuffle=100, empty_check=False, seed=0
    )
    data = data.shuffle(1000).map(ready)
    return torchside.TorchLoader(
        torch.utils.data.DataLoader(
            data,
            batch_size=job.batch,
            num_workers=job.workers,
            collate_fn=torchside.collate,
            persistent_workers=True,
        )
    )


if __name__ == "__main__":
    contract.main(_open)
