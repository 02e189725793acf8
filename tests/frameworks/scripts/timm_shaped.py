"""A rank of a loop as timm's train.py writes it, with our loaders."""

import json
import math
import sys

import torch
import torch.distributed as dist
from launching import rows
from torch.nn.parallel import DistributedDataParallel

import fiberaug


def train_one_epoch(epoch, model, loader, optimizer, accumulated):
    """The body of timm's function of the same name, less logging and mixup."""
    if getattr(loader, "mixup_enabled", False):
        loader.mixup_enabled = False
    accumulate = accumulated
    last_accumulate = len(loader) % accumulate
    updates = (len(loader) + accumulate - 1) // accumulate
    last_batch = len(loader) - 1
    last_batch_to_accumulate = len(loader) - last_accumulate
    model.train()
    optimizer.zero_grad()
    seen, update, done = [], 0, 0
    for number, batch in enumerate(loader):
        if number >= last_batch_to_accumulate:
            accumulate = last_accumulate
        step = number == last_batch or (number + 1) % accumulated == 0
        image = batch["image"].float().mean((2, 3)) / 255
        loss = torch.nn.functional.cross_entropy(model(image), batch["label"])
        (loss / accumulate).backward()
        seen.append(rows(batch))
        if step:
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            update = number // accumulated
    return {"seen": seen, "updates": [done, updates, update + 1]}


def main(shards, workers):
    dist.init_process_group("gloo")
    train = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards),
        4,
        num_workers=int(workers),
        persistent_workers=int(workers) > 0,
    )
    model = DistributedDataParallel(torch.nn.Linear(3, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = math.ceil(len(train) / 4)
    found = {"sampler": train.sampler, "schedule": schedule, "epochs": []}
    for epoch in (2, 3):  # --start-epoch 2
        if hasattr(train.dataset, "set_epoch"):
            train.dataset.set_epoch(epoch)
        elif hasattr(train.sampler, "set_epoch"):
            train.sampler.set_epoch(epoch)
        found["epochs"].append(train_one_epoch(epoch, model, train, optimizer, 4))
    train.close()
    dist.destroy_process_group()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
