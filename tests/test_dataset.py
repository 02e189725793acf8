"""What a data set is told, and what it says of itself."""

import albumentations as A
import pytest
from sets import photo, samples

import fiberaug


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decode": "quick"}, "decode: scale must be one of exact, fast, got .quick."),
        ({"record": "all"}, "record must be one of"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"max_errors": 2}, r"max_errors must be in \[0, 1\], got 2"),
        ({"on_error": "ignore"}, "on_error must be one of"),
        ({"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\)"),
        ({"unit": 0}, "unit must be >= 1"),
        ({"lanes": 0}, "lanes must be >= 1"),
        ({"rank": 0}, "both rank and world_size"),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\), got 2"),
        ({"transform": 3}, "Albumentations"),
        ({"transform": lambda sample: sample, "opaque": "refuse"}, "opaque='refuse'"),
        ({"views": 0}, "views must be >= 1"),
        ({"fields": {"label": "cls"}}, "must name the image"),
        ({"fields": "coco"}, "fields must be auto"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_set_is_built(write_set, arguments, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        fiberaug.StreamingDataset(write_set(4), **arguments)


@pytest.mark.parametrize(
    ("world_size", "batch_size", "rows"),
    [(1, None, 25), (2, None, 13), (2, 4, 13), (3, 4, 9)],
)
def test_len_is_what_a_rank_yields_padding_included(
    write_set, world_size, batch_size, rows
):
    sets = [
        fiberaug.StreamingDataset(
            write_set(25, f"set{rank}"),
            rank=rank,
            world_size=world_size,
            batch_size=batch_size,
        )
        for rank in range(world_size)
    ]

    assert [len(s) for s in sets] == [rows] * world_size
    assert [sum(1 for _ in s) for s in sets] == [rows] * world_size
    assert sets[0].num_samples == 25


def test_shuffle_can_name_the_window(write_set):
    shards = write_set(60)
    orders = {
        window: [
            s["__key__"] for s in fiberaug.StreamingDataset(shards, shuffle=window)
        ]
        for window in (True, 4096, 5, False)
    }

    assert orders[True] == orders[4096]
    assert orders[False] == [f"k{i:03d}" for i in range(60)]
    assert sorted(orders[5]) == orders[False]
    assert orders[5] != orders[True]


def test_the_fields_that_convert_wrote_are_used(tmp_path):
    from fiberaug.jobs.encoding import encode_image

    for i in range(4):  # JPEG and PNG mixed, as folders are
        kind = ("jpeg", "png")[i % 2]
        path = tmp_path / "photos" / "ab"[i // 2] / f"{i}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(photo(i), kind))
    fiberaug.convert(tmp_path / "photos", tmp_path / "set", progress=False)
    dataset = fiberaug.StreamingDataset(tmp_path / "set", train=False)

    assert dataset.classes == ("a", "b")
    assert "label <- cls" in dataset.describe()
    assert {s["__key__"]: s["label"] for s in dataset} == {
        "a/0": 0,
        "a/1": 0,
        "b/2": 1,
        "b/3": 1,
    }


def test_class_names_in_cls_members_are_resolved_through_the_manifest(tmp_path):
    with fiberaug.ShardWriter(tmp_path / "set", classes=["cat", "dog"]) as writer:
        for i, sample in enumerate(samples(4)):
            name = ["dog", "cat"][i % 2]
            writer.write(
                {"__key__": sample["__key__"], "image": sample["image"], "cls": name}
            )
    dataset = fiberaug.StreamingDataset(tmp_path / "set", train=False)

    assert [s["label"] for s in dataset] == [1, 0, 1, 0]


def test_without_a_pipeline_albumentations_is_not_asked_for_pixels(write_set):
    sample = next(iter(fiberaug.StreamingDataset(write_set(3), train=False)))

    assert (sample["image"].permute(1, 2, 0).numpy() == photo(0)).all()


def test_the_recipe_hash_names_pipeline_and_decoder(write_set):
    shards = write_set(3)
    hashes = {
        fiberaug.StreamingDataset(shards, transform=t).recipe_hash
        for t in (
            None,
            A.HorizontalFlip(),
            A.HorizontalFlip(p=0.4),
            [A.HorizontalFlip()],
        )
    }

    assert len(hashes) == 3  # a leaf and a list of it are one pipeline


def test_a_set_of_one_sample_streams(write_set):
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(write_set(1)), 4)

    assert [len(b["image"]) for b in loader] == [1]


def test_it_pickles_to_a_small_size(write_set):
    """Workers get paths and numbers, not samples."""
    import pickle
    from multiprocessing.reduction import ForkingPickler

    dataset = fiberaug.StreamingDataset(write_set(60))
    data = pickle.dumps(dataset)

    assert len(ForkingPickler.dumps(dataset)) < 10_000  # shared memory is not copied
    assert [s["__key__"] for s in pickle.loads(data)] == [s["__key__"] for s in dataset]
