"""One epoch is the same samples, pixels and records, whoever makes it."""

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from torch.utils.data import DataLoader as TorchLoader

import fiberaug

CLOTHING = (
    Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[3] / "shared/data"))
    / "clothing-small/train"
)


def heavy() -> A.Compose:
    """Every kind of composition, and leaves that draw from both generators."""
    return A.Compose(
        [
            A.RandomResizedCrop((96, 96)),
            A.OneOf(
                [A.HorizontalFlip(p=1), A.VerticalFlip(p=1), A.Transpose(p=1)], p=0.5
            ),
            A.RandomOrder(
                [A.ColorJitter(p=0.7), A.GaussNoise(std_range=(0.02, 0.1), p=0.7)], n=2
            ),
            A.SomeOf([A.GaussianBlur(p=1), A.RandomGamma(p=1), A.Posterize(p=1)], n=2),
            A.CoarseDropout(p=0.5),
            A.ElasticTransform(p=0.3),
            A.Normalize(),
        ]
    )


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> str:
    """Shards of 150 small photos in 3 classes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    with fiberaug.ShardWriter(
        folder / "set", shard_size="400kB", encoding="jpeg"
    ) as writer:
        for i in range(150):
            size = (int(rng.integers(97, 160)), int(rng.integers(97, 160)))
            coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
            image = np.kron(coarse, np.ones((20, 20, 1), np.uint8))[
                : size[0], : size[1]
            ]
            writer.write({"__key__": f"p/{i:04d}", "image": image, "label": i % 3})
    return str(folder / "set")


@pytest.fixture(scope="session")
def clothing(tmp_path_factory) -> str:
    """Shards of 3,068 photos of clothes."""
    if not CLOTHING.is_dir():
        pytest.skip("clothing-small is absent: put it below FIBERAUG_DATA")
    folder = tmp_path_factory.mktemp("clothing") / "set"
    fiberaug.convert(CLOTHING, folder, shard_size="24MB", progress=False)
    return str(folder)


Row = tuple[str, bytes, int, str]


def digest(rows: Iterator[Row] | list[Row]) -> str:
    """SHA-256 over (key, pixels, label, record) in order."""
    total = sha256()
    for key, pixels, label, record in rows:
        total.update(
            key.encode() + pixels + label.to_bytes(4, "little") + record.encode()
        )
    return total.hexdigest()


def rows_of(batch: dict) -> list[Row]:
    """The real rows of a batch, of our loader or of torch's."""
    records = [r if isinstance(r, str) else r.to_json() for r in batch["record"]]
    return [
        (key, image.numpy().tobytes(), int(label), record)
        for key, image, label, record, pad in zip(
            batch["__key__"],
            batch["image"],
            batch["label"],
            records,
            batch["is_pad"],
            strict=True,
        )
        if not pad
    ]


def ours(shards: str, *, batch_size: int = 16, epochs: int = 1, **options) -> list[str]:
    """Digest of each epoch through our loader."""
    dataset = fiberaug.StreamingDataset(shards, transform=heavy(), seed=3)
    with fiberaug.DataLoader(dataset, batch_size, **options) as loader:
        return [
            digest(row for batch in loader for row in rows_of(batch))
            for _ in range(epochs)
        ]


def plain(shards: str, batch_size: int, epochs: int = 1, **options) -> list[str]:
    """Digest of each epoch through a plain torch DataLoader, told the batch size."""
    dataset = fiberaug.StreamingDataset(
        shards, transform=heavy(), seed=3, batch_size=batch_size
    )
    loader = TorchLoader(dataset, batch_size=batch_size, **options)
    return [
        digest(row for batch in loader for row in rows_of(batch)) for _ in range(epochs)
    ]


def ranks(shards: str, world_size: int, local: int) -> str:
    """Digest of an epoch of several ranks, joined again batch by batch."""
    loaders = [
        fiberaug.DataLoader(
            fiberaug.StreamingDataset(
                shards, transform=heavy(), seed=3, rank=rank, world_size=world_size
            ),
            local,
        )
        for rank in range(world_size)
    ]
    assert len({len(loader) for loader in loaders}) == 1
    batches = zip_longest(*loaders)
    return digest(row for parts in batches for batch in parts for row in rows_of(batch))


WAYS = {
    "1 worker": {"num_workers": 1},
    "2 workers, fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "3 workers, spawn": {"num_workers": 3, "multiprocessing_context": "spawn"},
    "2 workers, persistent": {"num_workers": 2, "persistent_workers": True},
    "batches of 7": {"batch_size": 7, "num_workers": 2},
    "batches of 64": {"batch_size": 64, "num_workers": 2, "prefetch_factor": 1},
}


def every_way_is_the_same(shards: str) -> None:
    first, second = ours(shards, epochs=2)
    assert first != second
    for name, options in WAYS.items():
        assert ours(shards, **options, epochs=2) == [first, second], name
    for batch_size, options in (
        (16, {}),
        (7, {"num_workers": 2}),
        (16, {"num_workers": 3, "multiprocessing_context": "spawn"}),
        (64, {"num_workers": 2, "persistent_workers": True}),
    ):
        assert plain(shards, batch_size, epochs=2, **options) == [first, second], (
            options
        )
    assert ranks(shards, 2, 8) == first
    assert ranks(shards, 3, 7) == first


@pytest.mark.timeout(600)
def test_an_epoch_does_not_depend_on_who_makes_it(synthetic):
    every_way_is_the_same(synthetic)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_epoch_of_real_photos_does_not_depend_on_who_makes_it(clothing):
    every_way_is_the_same(clothing)


def test_a_sample_seen_twice_in_an_epoch_differs(synthetic):
    """Another visit draws anew."""
    dataset = fiberaug.StreamingDataset(synthetic, transform=heavy(), seed=3)
    from fiberaug.engine import Engine

    engine = Engine(dataset.setup)
    once = engine.make(0, 0, 0, 0, visit=0)
    twice = engine.make(0, 0, 0, 0, visit=1)
    assert once.packed.uid == twice.packed.uid
    assert not np.array_equal(once.fields["image"], twice.fields["image"])


def test_cut_anywhere_and_resumed_elsewhere_the_stream_goes_on(synthetic):
    """After every batch: other workers, other ranks, another batch size."""
    dataset = fiberaug.StreamingDataset(synthetic, transform=heavy(), seed=3)
    loader = fiberaug.DataLoader(dataset, 16)
    batches = list(loader)
    flat = [row for batch in batches for row in rows_of(batch)]
    probe = fiberaug.DataLoader(dataset, 16)
    running = iter(probe)
    for k in range(len(batches) + 1):
        state = json.dumps(probe.state_dict())
        assert len(state) < 4096
        done = min(16 * k, len(flat))
        world, local = ((1, 16), (2, 5), (3, 8))[k % 3]
        parts = []
        for rank in range(world):
            again = fiberaug.DataLoader(
                fiberaug.StreamingDataset(
                    synthetic, transform=heavy(), seed=3, rank=rank, world_size=world
                ),
                local,
                num_workers=k % 3,
            )
            again.load_state_dict(json.loads(state))
            parts.append(list(again))
            again.close()
        rest = [
            row
            for group in zip(*parts, strict=True)
            for b in group
            for row in rows_of(b)
        ]
        assert digest(rest) == digest(flat[done:]), f"cut after batch {k}"
        if k < len(batches):
            next(running)
