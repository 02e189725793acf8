"""Everything public works in processes that start from nothing."""

import json
import multiprocessing
import pickle

import albumentations as A
import pytest
from own import Shuffle, Speckle, three_generators
from sets import samples
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug import processors

RECIPE = """
version: 1
cpu:
  - RandomCrop: {height: 32, width: 32}
  - GaussNoise: {p: 0.5}
"""


def everything():
    """All kinds of transforms in one list."""
    return [
        A.RandomCrop(32, 32), processors.Rotate(limit=20),
        processors.ShiftScaleRotate(), processors.Flip(), processors.ChangeCase(),
        Speckle(), Shuffle(), three_generators, A.Normalize(),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spawn") / "set"
    content = samples(12, caption=lambda i: f"photo {i} of a Splice tray")
    fiberaug.convert(content, folder, progress=False)
    return str(folder)


def dataset(shards, transform):
    return fiberaug.StreamingDataset(
        shards, transform=transform, batch_size=4, record="text"
    )


def rows(batches):
    return [
        (key, image.numpy().tobytes(), json.loads(record))
        for batch in batches
        for key, image, record in zip(
            batch["__key__"], batch["image"], batch["record"], strict=True
        )
    ]


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_both_loaders_give_the_same_samples_in_workers_that_start_from_nothing(
    shards, method
):
    here = rows(fiberaug.DataLoader(dataset(shards, everything()), 4))
    assert len(here) == 12
    options = {"num_workers": 1, "multiprocessing_context": method}
    with fiberaug.DataLoader(dataset(shards, everything()), 4, **options) as loader:
        assert rows(loader) == here
    plain = TorchLoader(dataset(shards, everything()), 4, **options)
    assert rows(plain) == here


def used(values, answer):
    """In another process: what came through, used once."""
    opened, recipe, sample, record, error = values
    answer.send((
        [row["__key__"] for row in opened],
        recipe.to_dict(), sample["image"].shape, record.to_json(), repr(error),
    ))  # fmt: skip


@pytest.mark.timeout(180)
def test_every_public_value_is_the_same_in_a_process_that_was_spawned(shards, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    recipe = fiberaug.Recipe.from_file(path)
    opened = dataset(shards, recipe)
    record = fiberaug.Record.from_json(
        next(iter(fiberaug.DataLoader(opened, 4)))["record"][0]
    )
    image = next(iter(samples(1)))["image"]
    sample = fiberaug.Sample({"image": image}, key="k", url="u", record=record)
    error = fiberaug.SampleBroken("no good", shard="a.tar", key="k", stage="decode")

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    values = (opened, recipe, sample, record, error)
    process = context.Process(target=used, args=(values, theirs))
    process.start()
    theirs.close()
    answer = ours.recv()
    process.join()

    assert answer == (
        [row["__key__"] for row in dataset(shards, recipe)],
        recipe.to_dict(), image.shape, record.to_json(), repr(error),
    )  # fmt: skip


def name_of(transform):
    """Return its name, the same in every process: no address of a function."""
    return getattr(transform, "__name__", None) or repr(transform)


@pytest.mark.parametrize("transform", everything(), ids=name_of)
def test_every_transform_goes_through_pickle_and_draws_the_same(shards, transform):
    kept = [transform]
    assert rows(
        fiberaug.DataLoader(dataset(shards, pickle.loads(pickle.dumps(kept))), 4)
    ) == rows(fiberaug.DataLoader(dataset(shards, kept), 4))
