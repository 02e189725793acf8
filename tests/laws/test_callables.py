"""What users write themselves obeys the law: the same samples, whoever makes them."""

import json
import random
from functools import partial
from hashlib import sha256

import albumentations as A
import numpy as np
import pytest
import torch
from own import Shuffle, Speckle, three_generators, torch_jitter
from sets import samples
from torch.utils.data import DataLoader as TorchLoader

import fiberaug

OWN = {
    "a callable on torch's global generator": torch_jitter,
    "a callable that uses all three": three_generators,
    "an ImageProcessor": Speckle(most=25),
    "a TextProcessor": Shuffle(),
    "all of them among Albumentations": [
        A.RandomCrop(32, 32), torch_jitter, A.GaussNoise(), Shuffle(), Speckle(),
        three_generators, A.OneOf([A.HorizontalFlip(p=1), A.Transpose(p=1)]),
        A.Normalize(),
    ],
}  # fmt: skip
WAYS = [
    {"num_workers": 1},
    {"num_workers": 2, "multiprocessing_context": "fork"},
    {"num_workers": 3, "multiprocessing_context": "fork", "persistent_workers": True},
]
SPAWNED = [
    {"num_workers": count, "multiprocessing_context": "spawn"} for count in (1, 2, 3)
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "set"
    content = samples(40, caption=lambda i: f"photo {i} of a splice tray on a shelf")
    fiberaug.convert(content, folder, shard_size="60kB", progress=False)
    return str(folder)


def digest(rows):
    """SHA-256 over pixels, caption, whatever was added, and record, in order."""
    total = sha256()
    for image, caption, tone, record in rows:
        text = json.dumps([caption, tone, record])
        total.update(image.numpy().tobytes() + text.encode())
    return total.hexdigest()


def rows_of(batch):
    records = [r if isinstance(r, str) else r.to_json() for r in batch["record"]]
    count = len(records)
    tones = batch["tone"].float().tolist() if "tone" in batch else [0.0] * count
    rows = zip(batch["image"], batch["caption"], tones, records, strict=True)
    return [r for r, pad in zip(rows, batch["is_pad"], strict=True) if not pad]


def epochs(loader, count=2):
    return [digest(r for batch in loader for r in rows_of(batch)) for _ in range(count)]


def global_states():
    numpy = np.random.get_state()
    return (
        random.getstate(),
        (numpy[0], numpy[1].tolist(), *numpy[2:]),
        torch.default_generator.get_state().tolist(),
    )


def dataset_of(shards, name, **options):
    return fiberaug.StreamingDataset(shards, transform=OWN[name], seed=6, **options)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OWN)
def test_an_epoch_is_the_same_for_any_workers(shards, name):
    dataset = partial(dataset_of, shards, name)
    random.seed(1)
    np.random.seed(2)
    np.random.randn()
    torch.manual_seed(3)
    before = global_states()
    expected = epochs(fiberaug.DataLoader(dataset(), 8))
    assert global_states() == before
    assert expected[0] != expected[1]
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    before = global_states()
    for options in WAYS:
        with fiberaug.DataLoader(dataset(), 7, **options) as loader:
            assert epochs(loader) == expected, options
    assert global_states() == before  # torch draws its workers' seeds from there
    plain = TorchLoader(dataset(batch_size=8), 8, num_workers=2)
    assert epochs(plain) == expected


def test_an_epoch_is_the_same_in_processes_that_were_spawned(shards):
    """All kinds in one pipeline; the whole matrix is the slow one below."""
    name = "all of them among Albumentations"
    expected = epochs(fiberaug.DataLoader(dataset_of(shards, name), 8), 1)
    with fiberaug.DataLoader(dataset_of(shards, name), 7, **SPAWNED[1]) as loader:
        assert epochs(loader, 1) == expected


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", OWN)
def test_an_epoch_is_the_same_for_any_number_of_spawned_workers(shards, name):
    expected = epochs(fiberaug.DataLoader(dataset_of(shards, name), 8))
    for options in SPAWNED:
        with fiberaug.DataLoader(
            dataset_of(shards, name), 7, persistent_workers=True, **options
        ) as loader:
            assert epochs(loader) == expected, options


@pytest.mark.parametrize("name", OWN)
def test_every_row_is_replayed_and_the_globals_stay_as_they_are(shards, name, tmp_path):
    dataset = fiberaug.StreamingDataset(shards, transform=OWN[name], seed=6)
    with fiberaug.DataLoader(dataset, 8, num_workers=1, log=tmp_path) as loader:
        batches = list(loader)
    own = isinstance(OWN[name], fiberaug.ImageProcessor | fiberaug.TextProcessor)
    before = global_states()
    for batch in batches:
        for row, record in enumerate(batch["record"]):
            assert record.replayable == own
            for source in (loader, dataset, tmp_path)[: 2 + own]:
                again = fiberaug.replay(record.to_json(), source)
                assert torch.equal(again["image"], batch["image"][row])
                assert again["caption"] == batch["caption"][row]
                if "tone" in batch:
                    assert again["tone"] == batch["tone"][row]
    assert global_states() == before


def test_a_run_with_a_callable_cannot_be_replayed_from_its_folder_and_says_so(
    shards, tmp_path
):
    dataset = fiberaug.StreamingDataset(shards, transform=three_generators)
    with fiberaug.DataLoader(dataset, 8, log=tmp_path) as loader:
        record = next(iter(loader))["record"][0]
    assert "three_generators does not serialise" in dataset.why_not_replayable()
    with pytest.raises(fiberaug.UsageError, match="with the loader or the data set"):
        fiberaug.replay(record, tmp_path)
