"""A rank of Accelerate: our loader through ``prepare``, and what must not be done."""

import json
import sys
from itertools import islice

import torch
from accelerate import Accelerator, DataLoaderConfiguration, skip_first_batches
from launching import rows
from torch.utils.data import DataLoader as TorchLoader

import fiberaug


def ids(batch):
    return torch.tensor([int(key[1:]) for key in batch["__key__"]])


def ours(accelerator, shards, early, found):
    """Two passes with gradient accumulation, evaluation in the middle of them."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model, optimizer, loader = accelerator.prepare(model, optimizer, early)
    found["left alone"] = loader is early
    evaluated = accelerator.prepare(
        fiberaug.DataLoader(fiberaug.StreamingDataset(shards, train=False), 4)
    )
    accelerator.register_for_checkpointing(loader)
    found["ours"], found["updates"], found["gathered"] = [], [], []
    for epoch in range(2):
        loader.set_epoch(epoch)
        steps, updates = [], 0
        for batch in loader:
            with accelerator.accumulate(model):
                image = batch["image"].to(accelerator.device).float()
                accelerator.backward(model(image.mean((2, 3))).square().mean())
                optimizer.step()
                optimizer.zero_grad()
            updates += accelerator.sync_gradients
            steps.append(rows(batch))
            if len(steps) == 2:
                gathered = []
                for other in evaluated:
                    gathered += accelerator.gather_for_metrics(ids(other)).tolist()
                found["gathered"].append(gathered)
        found["ours"].append(steps)
        found["updates"].append(updates)
    return loader


def resumed(accelerator, loader, folder, found):
    """Save in the middle of a pass, go on, then load and go on again."""
    running = iter(loader)
    seen = [rows(batch) for batch in islice(running, 2)]
    accelerator.save_state(folder)
    accelerator.wait_for_everyone()
    found["first"] = seen + [rows(batch) for batch in running]
    accelerator.load_state(folder)
    found["again"] = seen + [rows(batch) for batch in loader]


def refused(loader):
    try:
        next(iter(loader))
    except fiberaug.UsageError as error:
        return str(error)
    return None


def main(shards, folder, workers):
    found = {}
    dataset = fiberaug.StreamingDataset(shards)
    early = fiberaug.DataLoader(dataset, 4, num_workers=int(workers))
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=4,
        dataloader_config=DataLoaderConfiguration(dispatch_batches=False),
    )
    loader = ours(accelerator, shards, early, found)
    resumed(accelerator, loader, folder, found)
    found["skip"] = refused(skip_first_batches(loader, 2))
    found["naive"] = {}
    for way in (None, "fork", "spawn"):
        dataset = fiberaug.StreamingDataset(shards, batch_size=4)
        naive = TorchLoader(
            dataset,
            4,
            num_workers=2 if way else 0,
            multiprocessing_context=way,
        )
        found["naive"][str(way)] = refused(accelerator.prepare(naive))
        del naive
    own = fiberaug.StreamingDataset(
        shards,
        batch_size=4,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    found["own rank"] = [rows(batch) for batch in TorchLoader(own, 4, num_workers=2)]
    whole = fiberaug.StreamingDataset(shards, rank=0, world_size=1, record="none")
    split = accelerator.prepare(TorchLoader(whole, 4))
    found["split by accelerate"] = [
        accelerator.gather_for_metrics(ids(batch)).tolist() for batch in split
    ]
    accelerator.end_training()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
