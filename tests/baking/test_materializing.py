"""Laws of baking: the set streams what the loader streamed, whoever baked it."""

import json
import logging
import random
import tarfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.baking.materializing import materialize, plan_materialization
from fiberaug.baking.options import BakeOptions
from fiberaug.errors import BudgetExceeded, SampleBroken, UsageError
from fiberaug.jobs.encoding import encode_image

CROP = [A.RandomCrop(28, 32), A.HorizontalFlip(), A.RandomBrightnessContrast(p=0.7)]
TAIL = [A.Normalize(), A.ToTensorV2()]


def brighter(sample):
    """Draw from the global generators: keyed like everything else."""
    shift = random.randint(0, 30) + np.random.randint(3)
    pixels = sample["image"].astype(np.int16) + shift
    return {**sample, "image": pixels.clip(0, 255).astype(np.uint8)}


def test_every_field_of_every_kind_streams_back_equal(
    rich, rich_fields, bake, same_stream
):
    dataset = fiberaug.StreamingDataset(rich, fields=rich_fields, transform=CROP)
    folder = bake(dataset, epochs="1-3")

    # One by one: in a batch a label of 1 becomes 1.0 beside one of 0.5.
    found = same_stream(dataset, folder, range(1, 4), batch_size=1)

    assert len(found) == 69
    assert len(list(folder.glob("*.tar"))) > 3
    fields = json.loads((folder / "dataset.json").read_text())["fields"]
    assert {name.rstrip("?") for name in fields} == {
        *(name.rstrip("?") for name in rich_fields), "baked_record",
    }  # fmt: skip
    assert fields["raw?"] == "dat", "bytes keep their extension"
    assert fields["bbox_labels"] == "json:objects[].label", "as other sets have it"
    assert fields["bbox_ids"] == "json:objects[].id"


def test_without_a_pipeline_samples_are_baked_as_they_are_decoded(
    rich, rich_fields, bake, same_stream
):
    dataset = fiberaug.StreamingDataset(rich, fields=rich_fields)
    same_stream(dataset, bake(dataset), [0])


RECIPES = st.lists(
    st.sampled_from(
        [
            A.HorizontalFlip(), A.RandomRotate90(), A.GaussNoise(p=0.5),
            A.Affine(p=0.5),
            A.RandomResizedCrop((24, 40)), A.ToGray(p=0.3), A.Transpose(),
            brighter,
        ]
    ),
    max_size=4,
)  # fmt: skip


BAKES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**64 - 1),
        "first": st.integers(0, 2**40),
        "count": st.integers(1, 2),
        "tail": st.booleans(),
        "size": st.sampled_from(["8kB", "60kB", "1MB"]),
        "batch_size": st.integers(1, 9),
    }
)


@pytest.mark.slow
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(recipe=RECIPES, asked=BAKES)
def test_any_recipe_seed_and_epoch_is_baked_as_it_streams(
    recipe, asked, tmp_path_factory, same_stream
):
    folder = tmp_path_factory.mktemp("bake")
    content = samples(
        9,
        bboxes=lambda i: [[1 + i / 3, 2.5, 20, 30]] * (i % 3),
        bbox_labels=lambda i: [i] * (i % 3),
        mask=lambda i: np.full((40, 48), i, np.uint8),
    )
    fiberaug.convert(content, folder / "set", shard_size="20kB", progress=False)
    transform = [*recipe, *(TAIL if asked["tail"] else [])] or None
    dataset = fiberaug.StreamingDataset(
        str(folder / "set"), transform=transform, seed=asked["seed"]
    )
    epochs = range(asked["first"], asked["first"] + asked["count"])
    materialize(
        dataset, folder / "out", epochs=epochs, workers=1, shard_size=asked["size"],
        progress=False,
    )  # fmt: skip

    same_stream(
        dataset, folder / "out", epochs, batch_size=asked["batch_size"],
        transform=folder / "out/recipe.yaml" if asked["tail"] else None,
    )  # fmt: skip


def test_a_normalisation_at_the_end_is_done_when_the_set_is_read(
    write_set, bake, same_stream, members
):
    tail = [A.Normalize(mean=(0.1, 0.2, 0.35), std=(1e-5, 0.3, 0.7)), A.ToTensorV2()]
    dataset = fiberaug.StreamingDataset(write_set(12), transform=[*CROP, *tail])
    folder = bake(dataset, epochs=4)

    found = same_stream(dataset, folder, [4], transform=folder / "recipe.yaml")

    assert str(found[0]["image"].dtype) == "torch.float32"
    rest = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert rest["cpu"] == []
    assert rest["normalize"]["std"] == [1e-5, 0.3, 0.7]
    pixels = cv2.imdecode(np.frombuffer(members(folder)[0][1]["png"], np.uint8), -1)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (28, 32, 3))


def test_the_baked_record_replays_the_baked_pixels_from_the_source(write_set, bake):
    source = fiberaug.StreamingDataset(write_set(10), transform=CROP, seed=3)
    folder = bake(source, epochs="2-3")
    baked = fiberaug.StreamingDataset(str(folder), shuffle=False)

    rows = list(baked)

    assert len(rows) == 20
    for row in rows:
        again = fiberaug.replay(row["baked_record"], source)
        assert (again["image"] == row["image"]).all()
    assert {row["baked_record"]["epoch"] for row in rows} == {2, 3}


@pytest.mark.parametrize(
    ("decode", "shape", "dtype"),
    [
        ({"color": "keep", "depth": "keep"}, (40, 48), np.uint16),
        ({"color": "keep", "depth": "keep"}, (40, 48, 3), np.uint16),
        ({"color": "keep", "depth": "keep"}, (40, 48, 4), np.uint8),
        ({"color": "keep", "depth": "keep"}, (40, 48, 4), np.uint16),
        ({"color": "gray"}, (40, 48, 3), np.uint8),
    ],
    ids=str,
)
def test_other_depths_and_channels_are_decoded_as_they_were_baked(
    decode, shape, dtype, write_set, bake, same_stream
):
    def image(i):
        most = np.iinfo(dtype).max
        pixels = np.random.default_rng(i).integers(0, most, shape, dtype, endpoint=True)
        return cv2.imencode(".png", pixels)[1].tobytes()

    shards = write_set({"__key__": f"k{i}", "image": image(i)} for i in range(5))
    dataset = fiberaug.StreamingDataset(
        shards, decode=decode, transform=[A.HorizontalFlip(), A.VerticalFlip()]
    )
    for encode in ("png", "webp"):
        folder = bake(dataset, encode, encode=encode)
        same_stream(dataset, folder, [0], transform=folder / "recipe.yaml")


def test_images_of_several_forms_in_one_set_are_kept(write_set, bake, same_stream):
    shards = write_set(
        {"__key__": f"k{i}", "image": photo(i)[:, :, 0] if i % 2 else photo(i)}
        for i in range(6)
    )
    dataset = fiberaug.StreamingDataset(shards, decode={"color": "keep"})
    folder = bake(dataset)
    same_stream(dataset, folder, [0], transform=folder / "recipe.yaml")


def test_webp_keeps_every_pixel_in_fewer_bytes(write_set, bake, same_stream, members):
    dataset = fiberaug.StreamingDataset(write_set(12), transform=CROP)
    folder = bake(dataset, encode="webp")

    same_stream(dataset, folder, [0])
    assert all("webp" in held for _, held in members(folder))


def test_jpeg_says_that_pixels_change(write_set, bake, members, caplog):
    dataset = fiberaug.StreamingDataset(write_set(6))
    with caplog.at_level(logging.WARNING, "fiberaug"):
        folder = bake(dataset, encode="jpeg", quality=95)

    assert "not the stream's any more" in caplog.text
    assert all(held["jpg"][:2] == b"\xff\xd8" for _, held in members(folder))


def test_additional_images_and_masks_stream_back_through_their_targets(
    write_set, bake, same_stream
):
    content = samples(
        8,
        **{
            "other.png": lambda i: encode_image(photo(i + 50), "png"),
            "parts.png": lambda i: cv2.imencode(".png", photo(i)[:, :, 0])[1].tobytes(),
        },
    )
    fields = {"image": "png", "label": "cls", "Other": "other.png", "p2": "parts.png"}
    targets = {"Other": "image", "p2": "mask"}
    dataset = fiberaug.StreamingDataset(
        write_set(content), fields=fields,
        transform=A.Compose([*CROP, *TAIL], additional_targets=targets),
    )  # fmt: skip
    folder = bake(dataset)

    about = json.loads((folder / "dataset.json").read_text())["about"]
    assert about["additional_targets"] == targets
    reading = A.Compose(TAIL, additional_targets=about["additional_targets"])
    same_stream(dataset, folder, [0], transform=reading)


def test_a_class_that_is_named_like_another_ones_number_keeps_its_id(
    write_set, tmp_path, bake, same_stream
):
    content = [
        {"__key__": f"k{i}", "image": photo(i), "label": "2013"[i % 4]}
        for i in range(8)
    ]
    fiberaug.convert(
        content, tmp_path / "digits", classes=["2", "0", "1", "3"], progress=False
    )
    dataset = fiberaug.StreamingDataset(str(tmp_path / "digits"))
    folder = bake(dataset)

    same_stream(dataset, folder, [0])
    again = fiberaug.StreamingDataset(str(folder))
    assert again.classes == dataset.classes == ("2", "0", "1", "3")
    counts = json.loads((folder / "dataset.json").read_text())["counts"]
    assert counts == dict.fromkeys("2013", 2)


def test_vectors_are_kept_as_labels(write_set, bake, same_stream):
    content = [
        {"__key__": f"k{i}", "image": photo(i), "label": [i / 3, 0.1, -7.25e-20]}
        for i in range(6)
    ]
    dataset = fiberaug.StreamingDataset(write_set(content), transform=CROP)
    found = same_stream(dataset, bake(dataset), [0])
    assert {tuple(row["label"].shape) for row in found} == {(3,)}


def test_fields_that_a_callable_adds_are_baked(write_set, bake, same_stream):
    def add(sample):
        mean = sample["image"].mean((0, 1))
        added = {"mean": mean, "Names": {"a": mean[:1]}, "words": [1, "two", {"x": 3}]}
        return {**sample, **added}

    dataset = fiberaug.StreamingDataset(write_set(6), transform=[*CROP, add])
    same_stream(dataset, bake(dataset, workers=2), [0])


def test_without_records_none_are_baked(write_set, bake, members):
    folder = bake(write_set(4), recipe=CROP, record="none")
    assert all(set(held) == {"png", "cls", "json"} for _, held in members(folder))
    fields = json.loads((folder / "dataset.json").read_text())["fields"]
    assert fields == {"image": "png", "label": "cls"}


def test_views_are_samples_of_their_own(write_set, bake, members):
    dataset = fiberaug.StreamingDataset(write_set(8), transform=CROP, views=3)
    folder = bake(dataset)

    with fiberaug.DataLoader(dataset, 8) as loader:
        (batch,) = loader
    baked = list(fiberaug.StreamingDataset(str(folder), shuffle=False))
    assert len(baked) == 24
    for at, row in enumerate(baked):
        sample, view = divmod(at, 3)
        assert (row["image"] == batch["image"][sample, view]).all()
        assert row["__key__"].startswith(f"e0000-{sample:08d}-v{view}-")
        record = fiberaug.Record.from_dict(row["baked_record"])
        assert record == batch["record"][sample][view]


@pytest.mark.parametrize(
    "options",
    [
        {"subset": 0.5}, {"subset": "label in (1, 2)"}, {"balance": "uniform"},
        {"epoch_size": 7}, {"split": ("train", 0.6)}, {"shuffle": False},
        {"tile": 24, "overlap": 4}, {"train": False, "tile": 24}, {"train": False},
        {"lanes": 2, "unit": 4, "window": 8},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_the_data_set_deals_is_baked(options, write_set, bake, same_stream):
    shards = write_set(26, shard_size="30kB")
    crop = A.RandomCrop(16, 16)
    dataset = fiberaug.StreamingDataset(shards, transform=crop, **options)
    epochs = range(2) if dataset.train else range(1)
    folder = bake(shards, recipe=crop, epochs=(0, epochs[-1]), **options)
    same_stream(dataset, folder, epochs)


def test_shards_without_an_index_are_baked(write_set, bake, same_stream):
    shards = write_set(20)
    for path in Path(shards).glob("*.idx"):
        path.unlink()
    (Path(shards) / "dataset.json").unlink()
    dataset = fiberaug.StreamingDataset(shards, transform=CROP)
    same_stream(dataset, bake(dataset, epochs="0-1"), range(2))


def test_a_baked_set_can_be_baked(write_set, bake, members):
    first = bake(write_set(7), "first", recipe=CROP)
    second = bake(first, "second", recipe=A.RandomRotate90())
    rows = list(fiberaug.StreamingDataset(str(second), shuffle=False))

    olds = {row["__key__"]: row for row in fiberaug.StreamingDataset(str(first))}
    assert len(rows) == 7
    for row in rows:
        old = olds[row["baked_record_2"]["key"]]
        assert row["baked_record"] == old["baked_record"]
        assert row["baked_record_2"]["url"].startswith("epoch-0000-")


def test_children_of_a_photo_stay_together_in_a_split(write_set, bake, tmp_path):
    content = [
        {"__key__": f"k{i:02d}", "image": photo(i), "json": {"group": f"g{i // 2}"}}
        if i < 20 else {"__key__": f"k{i:02d}", "image": photo(i)}
        for i in range(40)
    ]  # fmt: skip
    folder = bake(write_set(content), recipe=CROP, epochs="0-3")
    parts: dict[str, set[str]] = {}
    for part in (("train", 0.5), ("val", 0.5)):
        for row in fiberaug.StreamingDataset(str(folder), split=part, train=False):
            number = int(row["baked_record"]["key"][1:])
            family = f"g{number // 2}" if number < 20 else f"k{number}"
            parts.setdefault(family, set()).add(part[0])

    assert len(parts) == 30
    assert all(len(held) == 1 for held in parts.values())
    assert {name for held in parts.values() for name in held} == {"train", "val"}


def broken_at(count, broken):
    for i in range(count):
        image = cut_jpeg(i) if i in broken else encode_image(photo(i, 120, 160), "jpeg")
        yield {"__key__": f"k{i:02d}", "jpg": image, "label": 0}


def told(folder):
    path = folder / "materialize_errors.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_stand_ins_of_broken_samples_are_baked_and_told(write_set, bake, same_stream):
    shards = write_set(broken_at(20, {3, 11}))
    dataset = fiberaug.StreamingDataset(shards, transform=CROP)
    folder = bake(dataset, epochs="0-1")

    found = same_stream(dataset, folder, range(2))

    assert len(found) == 40
    lines = told(folder)
    assert {line["key"] for line in lines} == {"k03", "k11"}
    assert {line["outcome"] for line in lines} == {"replaced"}
    assert {line["epoch"] for line in lines} == {"0", "1"}


def test_masked_rows_of_an_evaluation_are_left_out_and_told(
    write_set, bake, same_stream
):
    shards = write_set(broken_at(20, {3, 11}))
    dataset = fiberaug.StreamingDataset(shards, train=False)
    folder = bake(dataset)

    found = same_stream(dataset, folder, [0])

    assert len(found) == 18
    assert [(line["key"], line["outcome"]) for line in told(folder)] == [
        ("k03", "left out"), ("k11", "left out"),
    ]  # fmt: skip


def test_too_many_broken_samples_stop_it(write_set, bake):
    shards = write_set(broken_at(24, range(11)))
    with pytest.raises(BudgetExceeded, match="max_errors"):
        bake(shards)
    folder = bake(shards, max_errors=0.5)  # goes on with what is there
    assert len(fiberaug.StreamingDataset(str(folder))) == 24


def test_a_broken_sample_can_stop_it(write_set, bake):
    with pytest.raises(SampleBroken, match="k03"):
        bake(write_set(broken_at(8, {3})), on_error="raise")


@pytest.mark.parametrize("workers", [1, 3])
def test_a_damaged_shard_is_told_once_whoever_met_it(
    write_set, bake, workers, tmp_path
):
    shards = Path(write_set(30, shard_size="40kB"))
    first = min(shards.glob("*.tar"))
    first.write_bytes(first.read_bytes()[:1000])
    options = {"on_shard_error": "skip", "recipe": CROP, "epochs": "0-1"}
    folder = bake(shards, workers=workers, **options)

    lost = [line for line in told(folder) if "samples" in line]
    assert [(line["path"], line["epoch"]) for line in lost] == [
        (first.name, "0"), (first.name, "1"),
    ]  # fmt: skip
    assert len(fiberaug.StreamingDataset(str(folder))) == 60
    reference = bake(shards, "one", workers=1, **options)
    assert told(reference) == told(folder)


def test_the_bytes_do_not_depend_on_the_workers(rich, rich_fields, bake, hashes):
    found = [
        hashes(bake(
            rich, str(workers), workers=workers, fields=rich_fields, recipe=CROP,
            epochs="0-2",
        ))
        for workers in (1, 2, 4)
    ]  # fmt: skip

    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 8


def test_pipelines_that_do_not_pickle_are_baked_in_several_processes(
    write_set, bake, hashes
):
    secret = 7
    transform = [*CROP, lambda sample: {**sample, "label": sample["label"] + secret}]
    shards = write_set(20)
    one, two = (
        bake(shards, str(n), recipe=transform, workers=n, shard_size="10kB")
        for n in (1, 2)
    )
    assert hashes(one) == hashes(two)


def test_the_set_says_what_it_was_made_from(write_set, bake):
    shards = write_set(6)
    folder = bake(shards, recipe=CROP, epochs="2-3", seed=9)
    source = fiberaug.StreamingDataset(shards, transform=CROP, seed=9)

    made = json.loads((folder / "dataset.json").read_text())["producer"]["arguments"]
    assert made["materialized"] == "epochs"
    assert made["fingerprint"] == source.shard_set.fingerprint
    assert made["recipe"] == source.recipe_hash
    assert (made["epochs"], made["seed"]) == ([2, 3], 9)


def test_the_same_call_does_nothing_and_another_one_refuses(write_set, bake, hashes):
    shards = write_set(9)
    folder = bake(shards, recipe=CROP)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    bake(shards, recipe=CROP, workers=2)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    for other in ({"seed": 1}, {"epochs": 1}, {"encode": "webp"}, {"views": 2}):
        with pytest.raises(UsageError, match="other arguments"):
            bake(shards, recipe=CROP, **other)


def test_an_unfinished_bake_is_not_gone_on_with_by_other_arguments(write_set, tmp_path):
    shards = write_set(9)
    bake = BakeOptions(workers=1, shard_size=10_000, progress=False)
    begun = plan_materialization(shards, tmp_path / "out", bake=bake, recipe=CROP)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.converting.json").write_text(json.dumps(begun.arguments))

    with pytest.raises(UsageError, match=r"seed was 0, is 1"):
        materialize(
            shards, tmp_path / "out", recipe=CROP, seed=1, workers=1,
            shard_size=10_000, progress=False,
        )  # fmt: skip
    begun.run()
    assert len(fiberaug.StreamingDataset(str(tmp_path / "out"))) == 9


def test_a_shard_of_other_arguments_is_not_taken_for_this_ones(
    write_set, bake, tmp_path, hashes
):
    shards = write_set(12)
    for seed in (1, 2):  # a shard each of seed 1, under a mark of seed 2
        folder = bake(shards, f"s{seed}", recipe=CROP, seed=seed, shard_size="9kB")
    marked, expected = tmp_path / "marked", hashes(folder)
    begun = plan_materialization(
        shards, marked, recipe=CROP, seed=1,
        bake=BakeOptions(workers=1, shard_size=9_000, progress=False),
    )  # fmt: skip
    begun.store.make()
    begun.baker.write(next(iter(begun.spans())))
    made = json.loads((folder / "dataset.json").read_text())["producer"]["arguments"]
    (marked / ".converting.json").write_text(json.dumps(made))

    assert hashes(bake(shards, "marked", recipe=CROP, seed=2, shard_size="9kB")) == (
        expected
    )


def test_a_folder_with_something_else_is_left_alone(write_set, bake, tmp_path):
    (tmp_path / "baked").mkdir()
    (tmp_path / "baked/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not empty"):
        bake(write_set(3))
    assert [p.name for p in (tmp_path / "baked").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        pytest.param(
            [A.ToFloat(max_value=255), A.GaussNoise()],
            "whole numbers.*prefix",
            id="float",
        ),
        pytest.param(
            [A.Normalize(), A.HorizontalFlip()],
            "whole numbers.*prefix",
            id="inside-normalize",
        ),
        pytest.param(
            lambda s: {**s, "extra": {1, 2}},
            "field 'extra' is a builtins.set",
            id="set",
        ),
        pytest.param(lambda s: {**s, "extra": (1, 2)}, "field 'extra'", id="tuple"),
        pytest.param(
            lambda s: {**s, "extra": float("nan")}, "JSON cannot hold", id="nan"
        ),
        pytest.param(
            lambda s: {**s, "mask": np.full((40, 48), 70_000, np.int32)},
            "65535",
            id="wide-ids",
        ),
        pytest.param(
            lambda s: {**s, "mask": np.full((40, 48), -1, np.int32)},
            "ignore_index",
            id="negative-ids",
        ),
        pytest.param(
            lambda s: {**s, "mask": np.zeros((40, 48), bool)},
            "uint8 or int32",
            id="bool-mask",
        ),
        pytest.param(
            lambda s: {**s, "mask": np.zeros((4, 48), np.uint8)},
            "would not be read",
            id="small-mask",
        ),
        pytest.param(
            lambda s: {**s, "label": np.int64(3)}, "JSON cannot hold", id="numpy-label"
        ),
        pytest.param(
            lambda s: {**s, "caption": {"é": {2: 3}}},
            "'caption' would not stream back",
            id="odd-caption",
        ),
    ],
)
def test_what_would_not_stream_back_equal_is_refused(write_set, bake, recipe, told):
    with pytest.raises(UsageError, match=told) as caught:
        bake(write_set(4), recipe=recipe)
    assert caught.value.key in {"k000", "k001", "k002", "k003"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encode": "gif"}, "encode must be one of"),
        ({"quality": 0}, "quality"),
        ({"workers": 0}, "workers must be >= 1"),
        ({"engine": "spark"}, "engine must be one of"),
        ({"rank": 1}, "rank is not for a bake"),
        ({"train": False, "epochs": "0-1"}, "epoch 0 alone"),
        ({"prefix": True, "epochs": 1, "recipe": CROP}, "epochs does not go with it"),
        ({"prefix": True, "tile": 8, "recipe": CROP}, "tile does not go with it"),
        ({"prefix": True, "recipe": CROP}, "RandomCrop|draws|first operation"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(write_set, bake, options, told):
    with pytest.raises(UsageError, match=told):
        bake(write_set(3), **options)


def test_an_argument_that_nobody_knows_is_an_error(write_set, bake):
    with pytest.raises(TypeError, match="feilds"):
        bake(write_set(3), feilds="auto")


def test_a_ready_data_set_has_its_options_already(write_set, bake):
    dataset = fiberaug.StreamingDataset(write_set(3))
    with pytest.raises(UsageError, match="ready StreamingDataset"):
        bake(dataset, recipe=CROP)


def test_samples_of_a_shard_follow_from_its_size_alone(write_set, bake):
    shards = write_set(40)
    for size in ("20kB", "90kB"):
        folder = bake(shards, size, shard_size=size, recipe=CROP, epochs="0-1")
        made = json.loads((folder / "dataset.json").read_text())["shards"]
        counts = [shard["samples"] for shard in made]
        assert sum(counts) == 80
        half = len(counts) // 2
        assert counts[:half] == counts[half:], "both epochs are cut alike"
        assert len(set(counts[: half - 1])) <= 1
        assert [shard["name"] for shard in made] == sorted(s["name"] for s in made)
        with tarfile.open(folder / made[0]["name"]) as file:
            assert file.next().name.startswith("e0000-00000000-")
