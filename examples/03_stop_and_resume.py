"""Stop in the middle of an epoch and go on elsewhere, sample for sample.

Run:     python examples/03_stop_and_resume.py
Prints:  the state: epoch 0, position 40, 367 bytes of JSON
         1 process, batches of 8 -> 2 ranks x 2 workers, batches of 12
         the rest is the same: True
Why:     The order is a closed form of the position, so the state is one number (and
         what proves that the data, the plan and the recipe are still the same). Nothing
         is read again to get there, and workers, ranks and batch size may change.
"""

import json
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np

import fiberaug


def write_shards(folder: Path) -> Path:
    """Write 100 tiny images in a few shards."""
    with fiberaug.ShardWriter(folder, shard_size="50kB") as writer:
        for i in range(100):
            image = np.full((16, 16, 3), i, np.uint8)
            writer.write({"__key__": f"{i:03d}", "image": image, "label": i})
    return folder


def keys(batch: dict) -> list[str]:
    """Return the keys of the rows that are no padding."""
    return [
        k for k, pad in zip(batch["__key__"], batch["is_pad"], strict=True) if not pad
    ]


def main() -> None:
    """Interrupt after five batches, resume on two ranks."""
    with tempfile.TemporaryDirectory() as temporary:
        shards = write_shards(Path(temporary) / "shards")
        whole = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), batch_size=8)
        unbroken = [key for batch in whole for key in keys(batch)]

        loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), batch_size=8)
        seen = [key for batch in islice(loader, 5) for key in keys(batch)]
        state = json.dumps(loader.state_dict())
        now = json.loads(state)
        print(
            f"the state: epoch {now['epoch']}, position {now['position']},"
            f" {len(state)} bytes of JSON"
        )

        print("1 process, batches of 8 -> 2 ranks x 2 workers, batches of 12")
        parts = []
        for rank in range(2):
            dataset = fiberaug.StreamingDataset(shards, rank=rank, world_size=2)
            resumed = fiberaug.DataLoader(dataset, batch_size=6, num_workers=2)
            resumed.load_state_dict(json.loads(state))
            parts.append(list(resumed))
        rest = [k for pair in zip(*parts, strict=True) for b in pair for k in keys(b)]
        print(f"the rest is the same: {seen + rest == unbroken}")


if __name__ == "__main__":
    main()
