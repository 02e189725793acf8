"""Ranks of torch.multiprocessing, without the variables of torchrun."""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing
from launching import rows
from torch.utils.data import DataLoader as TorchLoader

import fiberaug


def passes(loader):
    return [[rows(batch) for batch in loader] for _ in range(2)]


def rank_main(rank, world, early, folder):
    """One rank; ``early`` was made by the parent, which has no rank."""
    shards = early.shard_set.refs[0].path.rsplit("/", 1)[0]
    ours = fiberaug.DataLoader(early, 4, log=f"{folder}/log")
    before = ours.rank, ours.world_size, ours.log.path.name
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    found = {"before": before, "rank": [ours.rank, ours.world_size]}
    found["ours"] = passes(ours)
    found["log"] = ours.log.path.name
    for context in ("fork", "spawn", "forkserver"):
        dataset = fiberaug.StreamingDataset(shards, batch_size=4)
        loader = TorchLoader(
            dataset,
            4,
            num_workers=2,
            multiprocessing_context=context,
            persistent_workers=True,
        )
        found[f"plain {context}"] = passes(loader)
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards),
        4,
        num_workers=2,
        multiprocessing_context="spawn",
    )
    found["ours spawn"] = passes(loader)
    running = iter(ours)
    next(running)
    dist.barrier()
    dist.destroy_process_group()
    try:
        next(running)
    except fiberaug.UsageError as error:
        found["error"] = str(error)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


def main(shards, world):
    os.environ.pop("RANK", None)
    os.environ.pop("WORLD_SIZE", None)
    early = fiberaug.StreamingDataset(shards)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            rank_main, (int(world), early, folder), nprocs=int(world)
        )
        found = [
            json.loads(Path(folder, f"{rank}.json").read_text())
            for rank in range(int(world))
        ]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
