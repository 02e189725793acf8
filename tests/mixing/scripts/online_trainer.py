"""A training loop over a mix with an online generator, made to be killed and resumed.

Arguments: folder of the set, work folder, epochs, workers. Every batch is a line of
``rows.jsonl``, then its state is saved; the process of the generator is in ``pid``.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import albumentations as A
from generators import Shapes

import fiberaug
from fiberaug.synthetic.online import OnlineGenerator


def loader_of(source, folder, workers):
    online = OnlineGenerator(
        Shapes, folder / "buffer", classes=Shapes.classes, seed=3, ahead=8, wait=60.0,
        keep=folder / "kept", restarts=50,
    )  # fmt: skip
    dataset = fiberaug.StreamingDataset(
        source, transform=A.Compose([A.HorizontalFlip(), A.RandomCrop(20, 20)]),
        mix=fiberaug.Mix(online, ratio=0.3), seed=5,
    )  # fmt: skip
    return online, fiberaug.DataLoader(
        dataset, batch_size=12, num_workers=workers, log=folder / f"run-{os.getpid()}"
    )


def rows_of(batch):
    for i, key in enumerate(batch["__key__"]):
        if not batch["is_pad"][i]:
            pixels = hashlib.sha256(batch["image"][i].numpy().tobytes()).hexdigest()
            yield [key, batch["__source__"][i], int(batch["label"][i]), pixels]


def write(path, text):
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def main():
    source, folder, epochs, workers = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:5]
    online, loader = loader_of(source, folder, int(workers))
    state = folder / "state.json"
    with loader:
        if state.exists():
            loader.load_state_dict(json.loads(state.read_text()))
        while loader.epoch < int(epochs):
            epoch = loader.epoch
            for batch in loader:
                saved = loader.state_dict()
                line = [epoch, saved["position"], list(rows_of(batch))]
                with (folder / "rows.jsonl").open("a") as file:
                    file.write(f"\n{json.dumps(line)}")  # the last may be cut
                write(folder / "pid", str(online.pid))
                write(state, json.dumps(saved))
    (folder / "late").write_text(str(loader.stats()["late"]))


if __name__ == "__main__":
    main()
