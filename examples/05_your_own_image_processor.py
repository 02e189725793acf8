"""Write an operation of your own: keyed, recorded, replayed, and usable on files.

Run:     python examples/05_your_own_image_processor.py
Prints:  Vignette {'most': 0.8} drew strengths from 0... to 0...
         the same with 0 and 2 workers: True
         replayed from the run folder: True
         two views of k03: 0... and 0...
         on a file, without shards: out/photo.png, strength 0...
Why:     The arguments are the processor's identity, with or without an __init__ of
         your own: they stand in the recipe's hash and in the run's manifest. self.rng
         belongs to the sample, not to the worker, so a draw is the same wherever the
         sample is made. What _process_info returns stands in the record. Boxes and
         masks need _process_sample instead; fiberaug.processors has examples of it.
"""

import tempfile
from pathlib import Path

import albumentations as A
import numpy as np
import torch

import fiberaug
from fiberaug.decode.image import save_image


class Vignette(fiberaug.ImageProcessor):
    """Darken the corners, as the light of a fibre microscope does, up to ``most``."""

    def _process(self, image: np.ndarray) -> np.ndarray:
        self.strength = float(self.rng.uniform(0.2, self.most))
        y, x = (np.linspace(-1, 1, side) for side in image.shape[:2])
        far = (y[:, None] ** 2 + x**2) / 2
        return (image * (1 - self.strength * far)[..., None]).astype(np.uint8)

    def _process_info(self) -> dict:
        return {"strength": self.strength}


def photo(i: int) -> np.ndarray:
    """Return 48x64 px of coloured squares."""
    squares = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8)
    return squares.repeat(8, axis=0).repeat(8, axis=1)


def strength(record: fiberaug.Record) -> float:
    """Return what Vignette drew for a sample."""
    return next(t for t in record.applied_transforms if t.name == "Vignette").params[
        "strength"
    ]


def main() -> None:
    """Stream with the processor, replay, look at two views, process a file."""
    with tempfile.TemporaryDirectory() as folder:
        shards, run = Path(folder) / "shards", Path(folder) / "run"
        fiberaug.convert(
            ({"__key__": f"k{i:02d}", "image": photo(i)} for i in range(16)),
            shards,
            progress=False,
        )
        vignette = Vignette(most=0.8)
        transform = [A.HorizontalFlip(), vignette, A.Normalize()]
        dataset = fiberaug.StreamingDataset(shards, transform=transform)
        (batch,) = fiberaug.DataLoader(dataset, batch_size=16)
        drawn = [strength(record) for record in batch["record"]]
        print(
            f"Vignette {vignette.params} drew strengths from {min(drawn):.2f} to"
            f" {max(drawn):.2f}"
        )
        with fiberaug.DataLoader(dataset, 16, num_workers=2, log=run) as loader:
            (again,) = loader
        same = torch.equal(again["image"], batch["image"])
        print(f"the same with 0 and 2 workers: {same}")
        replayed = fiberaug.replay(batch["record"][5].to_json(), run)
        print(
            "replayed from the run folder:"
            f" {torch.equal(replayed['image'], batch['image'][5])}"
        )
        twice = fiberaug.StreamingDataset(shards, transform=transform, views=2)
        (views,) = fiberaug.DataLoader(twice, 16)  # image [16, 2, 3, 48, 64]
        one, other = views["record"][views["__key__"].index("k03")]
        print(f"two views of k03: {strength(one):.2f} and {strength(other):.2f}")

        save_image(Path(folder) / "photo.png", photo(0))
        on_files = Vignette(folder, Path(folder) / "out", most=0.8)
        made = on_files.process("photo.png")
        print(
            f"on a file, without shards: {made.relative_to(folder)}, strength"
            f" {on_files.strength:.2f}"
        )


if __name__ == "__main__":
    main()
