"""A worker's memory follows from what it makes now, not from the set or the run."""

import multiprocessing
import os
from functools import partial

import albumentations as A
import pytest
from listed import list_shards, tiny, uss_mib

import fiberaug
from fiberaug.engine import Engine


def first_batch(setup, answer):
    before = uss_mib()
    order = Engine(setup).order(0)
    middle = setup.plan.n // 2
    for position in range(middle, middle + 1_000):
        order.locate(position)
    answer.send(uss_mib() - before)


def memory_of_a_worker(folder):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    setup = fiberaug.StreamingDataset(folder).setup
    process = context.Process(target=first_batch, args=(setup, theirs))
    process.start()
    mib = ours.recv()
    process.join()
    return mib


@pytest.mark.timeout(120)
def test_a_worker_of_a_hundred_million_samples_has_a_few_megabytes_more(tmp_path):
    few = memory_of_a_worker(list_shards(tmp_path / "few", 2, 10_000))
    many = memory_of_a_worker(list_shards(tmp_path / "many", 10_000, 10_000))
    assert many < few + 8


def epochs(loader, noted, count, samples):
    """Memory of the workers and of this process after each epoch, MiB."""
    rows = []
    for _ in range(count):
        rows_of_epoch = 0
        for batch in loader:
            rows_of_epoch += len(batch["__key__"]) - int(batch["is_pad"].sum())
        assert rows_of_epoch == samples
        rows.append([uss_mib(int(path.name)) for path in sorted(noted.iterdir())])
        rows[-1].append(uss_mib())
    return rows


def note(folder, _worker):
    (folder / str(os.getpid())).touch()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_memory_over_three_epochs_grows_by_less_than_a_mebibyte_for_10_000_samples(
    tmp_path, method
):
    samples = 20_000
    fiberaug.convert(
        iter(tiny(samples)), tmp_path / "set", shard_size="4MB", progress=False
    )
    dataset = fiberaug.StreamingDataset(
        str(tmp_path / "set"), transform=A.HorizontalFlip()
    )
    noted = tmp_path / "workers"
    noted.mkdir()
    with fiberaug.DataLoader(
        dataset, 64, num_workers=2, persistent_workers=True,
        multiprocessing_context=method, worker_init_fn=partial(note, noted),
    ) as loader:  # fmt: skip
        list(loader)  # its caches fill
        first, *_, last = epochs(loader, noted, 3, samples)
    assert len(first) == 3
    # Each of the two workers makes 10,000 samples an epoch, the main process takes all.
    grown = [after - before for before, after in zip(first, last, strict=True)]
    assert max(grown[:-1]) < 2.0, (first, last)
    assert grown[-1] < 4.0, (first, last)
