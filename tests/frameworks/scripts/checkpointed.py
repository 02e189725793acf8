"""A rank that keeps its loader in a torch.distributed.checkpoint beside its model."""

import json
import sys
import warnings
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from launching import rows

import fiberaug


def main(shards, load, save, steps, workers):
    """Load, go ``steps`` steps (or to the end of the pass), save."""
    dist.init_process_group("gloo")
    warnings.simplefilter("ignore")  # dcp speaks of its own file formats
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards),
        12 // dist.get_world_size(),
        num_workers=int(workers),
    )
    app = {"model": torch.nn.Linear(2, 2).state_dict(), "loader": loader}
    if Path(load).exists():
        dcp.load(app, checkpoint_id=load)
    running = iter(loader)
    seen = [rows(batch) for batch in islice(running, int(steps))]
    dcp.save(app, checkpoint_id=save)
    dist.destroy_process_group()
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
