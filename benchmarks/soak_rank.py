"""One rank of the soak run: reads on from an accepted position and keeps a journal.

A journal file ``<rank>-<position>.npy`` holds the numbers of the samples that the rank
got since the file before, and ``<rank>-<position>.json`` the state there. Both are
renamed into place, the state last: a position is accepted when all ranks have it.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import numpy as np

import fiberaug

BATCH = 64
LANES = 8  # 2 ranks of 64 rows are 8 units of 16: each lane is one rank's


def save(journal: Path, name: str, numbers: list[int], state: dict) -> None:
    """Write a chunk and its state, whole or not at all."""
    part = journal / f".{name}.part"
    with part.open("wb") as file:
        np.save(file, np.asarray(numbers, np.int64))
    part.rename(journal / f"{name}.npy")
    part.write_text(json.dumps(state))
    part.rename(journal / f"{name}.json")


def read(
    shards: str, journal: Path, rank: int, world: int, start: int, options: dict
) -> None:
    """Read one epoch from ``start`` on, ``options["every"]`` batches a chunk."""
    remote = {k: options[k] for k in ("cache_dir", "cache_limit") if k in options}
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.HorizontalFlip(), lanes=LANES, rank=rank, world_size=world,
        max_errors=0.0, on_error="raise", **remote,
    )  # fmt: skip
    with fiberaug.DataLoader(
        dataset, BATCH, num_workers=options["workers"], persistent_workers=True,
        multiprocessing_context=options["method"],
    ) as loader:  # fmt: skip
        if start:
            state = json.loads((journal / f"{rank}-{start:09d}.json").read_text())
            loader.load_state_dict(state)
        numbers: list[int] = []
        for step, batch in enumerate(loader, 1):
            pads = batch["is_pad"].tolist()
            rows = zip(batch["__key__"], pads, strict=True)
            numbers += [int(key[1:]) for key, pad in rows if not pad]
            if step % options["every"] == 0:
                state = loader.state_dict()
                save(journal, f"{rank}-{state['position']:09d}", numbers, state)
                numbers = []
        end = dataset.plan.n
        save(journal, f"{rank}-{end:09d}", numbers, dataset.state(0, end))
