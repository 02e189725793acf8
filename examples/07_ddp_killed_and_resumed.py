"""Train on two ranks, kill one in the middle, go on with three: the same samples.

Run:     python examples/07_ddp_killed_and_resumed.py
Prints:  2 ranks, one is killed with SIGKILL; the checkpoint is at ... of 360
         3 ranks x 2 workers go on there
         every batch is that of an unbroken run: True
Why:     The state of the loader goes into the checkpoint beside the model. It is one
         position over all ranks, so what was trained on is known to the sample, and
         how many ranks and workers go on from there does not matter.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

import fiberaug

GLOBAL_BATCH = 12
START = {"start_method": "forkserver"}


def train(rank: int, folder: Path, ranks: int, workers: int) -> None:
    """Train for an epoch as one rank, with a checkpoint after every step."""
    store = f"file://{folder}/group of {ranks}"
    dist.init_process_group("gloo", store, rank=rank, world_size=ranks)
    dataset = fiberaug.StreamingDataset(folder / "shards")
    loader = fiberaug.DataLoader(dataset, GLOBAL_BATCH // ranks, num_workers=workers)
    model = DistributedDataParallel(torch.nn.Linear(3, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    if (path := folder / "checkpoint.pt").exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        loader.load_state_dict(saved["loader"])
    with (folder / f"{ranks} ranks, {rank}").open("w") as seen:
        for batch in loader:
            state = loader.state_dict()
            seen.write(json.dumps([state["position"], batch["__key__"]]) + "\n")
            seen.flush()
            image = batch["image"].float().mean((2, 3)) / 255
            optimizer.zero_grad()
            try:
                scores = model(image)
                torch.nn.functional.cross_entropy(scores, batch["label"]).backward()
            except RuntimeError:  # gradients are averaged over all ranks
                raise SystemExit("another rank is gone") from None
            optimizer.step()
            if rank == 0:
                whole = {"model": model.state_dict(), "loader": state}
                torch.save(whole, folder / "new.pt")
                (folder / "new.pt").replace(path)
    dist.destroy_process_group()


def steps(folder: Path, ranks: int) -> dict[int, list[str]]:
    """Return the keys of each global batch by the position after it."""
    files = [folder / f"{ranks} ranks, {rank}" for rank in range(ranks)]
    lines = [[json.loads(x) for x in f.read_text().splitlines()] for f in files]
    batches = zip(*lines, strict=False)  # a killed rank may have come less far
    return {parts[0][0]: [k for part in parts for k in part[1]] for parts in batches}


def main() -> None:
    """Kill a rank of two after some steps, then go on with three."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with fiberaug.ShardWriter(folder / "shards", shard_size="60kB") as writer:
            for i in range(360):
                image = np.full((16, 16, 3), i % 251, np.uint8)
                writer.write({"__key__": f"{i:03d}", "image": image, "label": i % 10})

        two = start_processes(train, (folder, 2, 0), 2, join=False, **START)
        while not (folder / "checkpoint.pt").exists():
            time.sleep(0.001)
        two.processes[1].kill()
        two.processes[0].join()
        saved = torch.load(folder / "checkpoint.pt", weights_only=True)
        at = saved["loader"]["position"]
        print(f"2 ranks, one is killed with SIGKILL; the checkpoint is at {at} of 360")
        print("3 ranks x 2 workers go on there")
        start_processes(train, (folder, 3, 2), 3, **START)
        kept = [keys for end, keys in steps(folder, 2).items() if end <= at]
        seen = kept + list(steps(folder, 3).values())
        dataset = fiberaug.StreamingDataset(folder / "shards")
        whole = [b["__key__"] for b in fiberaug.DataLoader(dataset, GLOBAL_BATCH)]
        print(f"every batch is that of an unbroken run: {seen == whole}")


if __name__ == "__main__":
    main()
