"""A rank of DistributedDataParallel that has its rank from torchrun's variables."""

import json
import sys

import torch
import torch.distributed as dist
from launching import rows
from torch.nn.parallel import DistributedDataParallel

import fiberaug


def train(loader, model, optimizer):
    """One pass with a backward step for each batch; uneven ranks would hang here."""
    steps = []
    for batch in loader:
        loss = model(batch["image"].float().mean((2, 3)) / 255).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(rows(batch))
    return steps


def main(shards, folder):
    found = {}
    early = {
        workers: fiberaug.DataLoader(
            fiberaug.StreamingDataset(shards), 4, num_workers=workers
        )
        for workers in (0, 2)
    }
    dist.init_process_group("gloo")
    model = DistributedDataParallel(torch.nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for workers, loader in early.items():
        found[f"ours {workers}"] = [train(loader, model, optimizer) for _ in range(2)]
        found["len"] = len(loader)
    for context in ("fork", "spawn"):
        dataset = fiberaug.StreamingDataset(shards, batch_size=4)
        loader = torch.utils.data.DataLoader(
            dataset, 4, num_workers=2, multiprocessing_context=context
        )
        found[f"plain {context}"] = [train(loader, model, optimizer)]
        found["rows"] = len(dataset)
    dropping = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 4, drop_last=True, log=folder
    )
    found["drop_last"] = [train(dropping, model, optimizer)]
    found["log"] = dropping.log.path.name
    found["weights"] = model.module.weight.tolist()
    dist.destroy_process_group()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
