"""Forks gloo ranks on command, so that a killed run is back in a moment.

Reads commands as lines of JSON; for each it forks the ranks, tells their process ids,
and, when all have ended, their exit codes. Torch is imported once, before the forks.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from pathlib import Path

import albumentations as A
import kornia.augmentation as K
import torch
import torch.distributed as dist

import fiberaug
from fiberaug.mixes import MixUp


def dataset(shards, **options):
    """The set of this law: small crops, every drawn number on record."""
    pipeline = A.Compose(
        [A.RandomResizedCrop((24, 24)), A.HorizontalFlip(), A.Normalize()]
    )
    return fiberaug.StreamingDataset(shards, transform=pipeline, seed=3, **options)


def stage():
    """What is done to batches, where that is on trial, too."""
    return {
        "gpu_transform": [
            K.RandomHorizontalFlip(p=0.5),
            K.RandomAffine(15.0, p=0.5),
            K.ColorJiggle(0.2, 0.2, 0.2, 0.05, p=0.8),
        ],
        "batch_transform": MixUp(num_classes=4),
    }


def rows(batch):
    """[epoch, position, key, visit, hash of pixels and record] of rows not padded."""
    return [
        [
            record.epoch,
            record.position,
            record.key,
            record.visit,
            sha256(image.numpy().tobytes() + record.to_json().encode()).hexdigest(),
        ]
        for image, record, pad in zip(
            batch["image"], batch["record"], batch["is_pad"].tolist(), strict=True
        )
        if not pad
    ]


def run_rank(rank, command, store):
    """Go through the set up to ``epochs``; rank 0 saves the state every few steps."""
    world, state = command["world"], Path(command["state"])
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    loader = fiberaug.DataLoader(
        dataset(command["shards"]),
        command["batch"] // world,
        num_workers=command["workers"],
        **(stage() if command["staged"] else {}),
    )
    if state.exists():
        loader.load_state_dict(json.loads(state.read_text()))
    number, gradient = 0, torch.ones(1)
    with Path(f"{command['out']}-{rank}.jsonl").open("a") as out:
        while loader.epoch < command["epochs"]:
            for batch in loader:
                out.write(json.dumps(rows(batch)) + "\n")
                out.flush()
                number += 1
                if not rank and number == command["linger"]:
                    wait_for(Path(f"{command['out']}-killed"))
                dist.all_reduce(gradient)  # what a training step ends with
                if not rank and number % command["every"] == 0:
                    save(loader, state)
    dist.barrier()
    if not rank:
        save(loader, state)
    loader.close()


def wait_for(file):
    """Wait until whoever kills this run has done so, else it may be over before."""
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.002)


def save(loader, state):
    """Write the state so that it is there whole or as it was."""
    new = state.with_suffix(".new")
    new.write_text(json.dumps(loader.state_dict()))
    new.replace(state)


def serve():
    """Fork ranks for each command until stdin ends."""
    for line in sys.stdin:
        command = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            pids = []
            for rank in range(command["world"]):
                pid = os.fork()
                if not pid:
                    code = 1
                    try:
                        run_rank(rank, command, f"{folder}/store")
                        code = 0
                    except Exception:  # noqa: BLE001  # a rank ends with its reason
                        traceback.print_exc()
                    finally:
                        sys.stderr.flush()
                        os._exit(code)
                pids.append(pid)
            sys.stdout.write(json.dumps(pids) + "\n")
            sys.stdout.flush()
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            sys.stdout.write(json.dumps(codes) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve()
