"""A broken program surfaces at once, and a failed iterator stays failed."""

import albumentations as A
import numpy as np
import pytest
from torch.utils.data import DataLoader as TorchLoader

import fiberaug

pytestmark = pytest.mark.timeout(60)


class Raises:
    """A transform with a bug that one sample meets."""

    def __init__(self, key):
        self.key = key

    def __call__(self, sample):
        if sample.key == self.key:
            return self.divide(0)
        return sample

    def divide(self, by):
        return 1 // by


class LeafWithBug(A.ImageOnlyTransform):
    """An operation of a pipeline with a bug."""

    def __init__(self):
        super().__init__(p=1)

    def apply(self, img, **_):
        return img.no_such_attribute


def loader_of(shards, transform, num_workers=0, batch_size=4, **options):
    if num_workers:
        options = {"multiprocessing_context": "fork", **options}
    dataset = fiberaug.StreamingDataset(shards, transform=transform)
    return fiberaug.DataLoader(dataset, batch_size, num_workers=num_workers, **options)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_fault_names_worker_shard_key_operation_and_shows_the_users_traceback(
    write_set, num_workers
):
    with pytest.raises(ZeroDivisionError) as caught:
        list(loader_of(write_set(20), Raises("k007"), num_workers))
    notes = "\n".join(caught.value.__notes__)

    assert "while making sample 'k007' of shard shard-00000" in notes
    assert "in divide" in notes
    assert "operation" in notes
    assert "Raises" in notes
    assert ("in worker " in notes) is (num_workers > 0)


def test_the_operation_of_a_pipeline_is_named_by_its_place(write_set):
    pipeline = A.Compose([A.HorizontalFlip(p=1), A.OneOf([LeafWithBug()], p=1)])
    with pytest.raises(AttributeError) as caught:
        list(loader_of(write_set(4), pipeline))

    assert "operation LeafWithBug (transforms[1.0])" in "\n".join(
        caught.value.__notes__
    )


RETURNS = {
    "none": (lambda _: None, "must return the sample .* got NoneType"),
    "a number": (lambda _: 3, "must return the sample .* got int"),
    "no image": (lambda _: {"label": 1}, "must return an image"),
    "a flat image": (
        lambda s: {**s, "image": np.zeros(5, np.uint8)},
        "must return an image",
    ),
    "another dtype for one sample": (
        lambda s: (
            {**s, "image": s["image"].astype(np.float32)} if s.key == "k003" else s
        ),
        "float32",
    ),
}


@pytest.mark.parametrize("what", RETURNS)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_a_transform_returns_is_checked_and_named(write_set, what, num_workers):
    transform, words = RETURNS[what]
    with pytest.raises(fiberaug.UsageError, match=words) as caught:
        list(loader_of(write_set(8), transform, num_workers))

    assert "k00" in f"{caught.value}{getattr(caught.value, '__notes__', '')}"


def test_sizes_that_do_not_stack_are_named_with_their_keys(write_set):
    def transform(sample):
        sample["image"] = sample["image"][: 20 + int(sample.key[1:])]
        return sample

    with pytest.raises(fiberaug.UsageError, match="k00"):
        list(loader_of(write_set(8), transform))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_further_next_raises_the_same_error(write_set, num_workers):
    running = iter(loader_of(write_set(40), Raises("k017"), num_workers))
    with pytest.raises(ZeroDivisionError) as first:
        list(running)
    for again in (next, list, lambda it: list(zip(it, range(9), strict=False))):
        with pytest.raises(ZeroDivisionError) as caught:
            again(running)
        assert caught.value is first.value


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_plain_torch_loader_never_ends_cleanly_after_an_error(write_set, num_workers):
    """What is lost today: 45 of 80 samples, then a clean end."""
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    dataset = fiberaug.StreamingDataset(
        write_set(40), transform=Raises("k017"), batch_size=4
    )
    running = iter(
        TorchLoader(dataset, batch_size=4, num_workers=num_workers, **options)
    )
    errors = 0
    for _ in range(60):
        try:
            next(running)
        except ZeroDivisionError:
            errors += 1

    assert errors > 0
    with pytest.raises(ZeroDivisionError):
        next(running)


def test_a_new_pass_after_an_error_works(write_set):
    transform = Raises("k017")
    loader = loader_of(write_set(40), transform, num_workers=0)
    with pytest.raises(ZeroDivisionError):
        list(loader)
    transform.key = ""
    loader.set_epoch(0)

    assert sum(len(b["__key__"]) for b in loader) == 40


def test_where_no_sample_is_left_the_epoch_is_an_error(write_set):
    def refuse(_):
        raise fiberaug.SampleBroken("no good")

    for train in (True, False):
        dataset = fiberaug.StreamingDataset(
            write_set(12, f"set{train}"), transform=refuse, train=train, max_errors=1
        )
        with pytest.raises(fiberaug.SampleBroken, match="16 stand-ins"):
            list(fiberaug.DataLoader(dataset, 4))
