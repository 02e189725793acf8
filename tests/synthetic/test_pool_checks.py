"""Laws of what is refused: duplicates, copies, what a filter doubts."""

import json

import numpy as np
import pytest
from generators import Shapes
from killed import digests

import fiberaug
from fiberaug.errors import DataRefused, UsageError
from fiberaug.synthetic.seeds import sample_key, sample_seed


def write(folder, generator=None, **options):
    options = {"per_class": 6, "progress": False} | options
    return fiberaug.Pool.write(generator or Shapes(), folder / "pool", **options)


def rejected(pool):
    lines = (pool.path / "rejected.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_duplicate_is_replaced_by_the_next_of_its_class(tmp_path):
    pool = write(tmp_path, Shapes(twins=8))
    made = {
        (name, i): Shapes(twins=8)
        .generate([sample_seed(0, name, i)], [label])
        .tobytes()
        for label, name in enumerate(pool.classes)
        for i in range(24)
    }
    for name in pool.classes:
        own, seen = [], set()
        for i in range(24):
            if len(own) < 6 and made[name, i] not in seen:
                seen.add(made[name, i])
                own.append(sample_key(name, i))
        taken = [key for key, _, _ in pool.samples() if key.startswith(name)]
        assert sorted(taken) == own


def test_duplicates_may_be_kept(tmp_path):
    pool = write(tmp_path, Shapes(twins=2), dedupe=False)

    assert len(pool) == 18
    assert pool.file.checks["same_pixels"] > 0
    assert all(one.checks.duplicate is None for _, _, one in pool.samples())


def test_a_class_is_tried_four_times_as_often_as_asked(tmp_path, caplog):
    pool = write(tmp_path, Shapes(twins=2))

    assert pool.file.state == "short"
    for told in pool.file.counts.values():
        assert told["made"] == 24
        assert told["accepted"] == 2
        assert told["rejected"] == {"duplicate": 22}
    assert "has 6 of 18 samples that were asked for; refused: 66 dup" in caplog.text


def training_set(write_set, images):
    return write_set(
        [{"__key__": f"t{i}", "image": image} for i, image in enumerate(images)],
        "train",
    )


@pytest.mark.parametrize(
    ("change", "reason"), [(lambda x: x, "copy"), (lambda x: x + 2, "near_copy")]
)
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_copy_of_a_training_sample_is_refused_and_its_original_named(
    tmp_path, write_set, change, reason, encoding
):
    if encoding == "jpeg":  # other pixels than those that were made
        reason = "near_copy"
    seeds = [sample_seed(0, "disc", i) for i in (0, 2)]
    images = [change(Shapes().generate([seed], [0])[0]) for seed in seeds]
    train = training_set(write_set, images)
    pool = write(tmp_path, against=train, encoding=encoding)

    assert [(line["key"], line["reason"]) for line in rejected(pool)] == [
        ("disc-000000", reason), ("disc-000002", reason),
    ]  # fmt: skip
    assert [line["like"]["key"] for line in rejected(pool)] == ["t0", "t1"]
    assert {line["like"]["shard"] for line in rejected(pool)} == {"shard-000000.tar"}
    assert pool.counts == {"disc": 6, "square": 6, "bar": 6}
    assert pool.file.data["samples"] == 2
    assert all(one.checks.near_copy is False for _, _, one in pool.samples())


def test_without_training_data_nothing_is_said_of_copies(tmp_path):
    pool = write(tmp_path)

    assert pool.file.data is None
    assert all(one.checks.near_copy is None for _, _, one in pool.samples())


def brightness(images, labels):
    """A classifier that trusts bright images."""
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert len(images) == len(labels)
    return images.mean((1, 2, 3)) / 255


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 1), (5, 2)])
def test_a_filter_keeps_what_it_trusts(tmp_path, batch_size, processes):
    options = {"filter": brightness, "threshold": 0.2, "per_class": 6}
    pool = write(tmp_path, batch_size=batch_size, processes=processes, **options)
    generator = Shapes()
    for key, label, one in pool.samples():
        image = generator.generate([one.params.seed], [label])[0]
        assert one.checks.clf_conf == pytest.approx(image.mean() / 255, abs=1e-4)
        assert one.checks.clf_conf >= 0.2, key
    for line in rejected(pool):
        label = pool.classes.index(line["key"].split("-")[0])
        image = generator.generate([line["seed"]], [label])[0]
        assert line["reason"] == "low_confidence"
        assert image.mean() / 255 < 0.2001
    assert rejected(pool)

    (tmp_path / "again").mkdir()
    assert digests(write(tmp_path / "again", **options).path) == digests(pool.path)


def test_the_threshold_is_chance_where_none_is_given(tmp_path):
    pool = write(tmp_path, filter=lambda images, labels: labels * 0 + 0.34)

    assert pool.file.checks["threshold"] == pytest.approx(1 / 3)
    assert len(pool) == 18


def test_the_threshold_is_the_least_that_is_taken(tmp_path):
    pool = write(tmp_path, filter=lambda images, labels: labels / 2, threshold=0.5)

    assert pool.counts == {"disc": 0, "square": 6, "bar": 6}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda images, labels: np.ones((len(labels), 3)), r"shape \[6, 3\]"),
        (lambda images, labels: labels * 0 + 1.5, "values 1.5 to 1.5"),
        (lambda images, labels: labels * np.nan, "values nan to nan"),
        (lambda images, labels: 0.5, r"shape \[\]"),
    ],
)
def test_what_a_filter_must_not_return_is_named(tmp_path, function, message):
    with pytest.raises(UsageError, match=message):
        write(tmp_path, filter=function, batch_size=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.5}, "threshold is for filter"),
        ({"threshold": 2, "filter": brightness}, r"threshold must be in \[0, 1\]"),
    ],
)
def test_a_threshold_needs_a_filter(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        write(tmp_path, **options)


def test_a_pool_of_which_nothing_was_taken_is_an_error(tmp_path):
    def doubt(images, labels):
        return labels * 0.0

    for _ in range(2):  # the same call says the same
        with pytest.raises(DataRefused, match="none of 72 samples was taken: 72 low"):
            write(tmp_path, filter=doubt)
    with pytest.raises(DataRefused, match="is unfinished"):
        fiberaug.Pool.open(tmp_path / "pool")


def test_near_copies_within_a_pool_are_counted(tmp_path):
    class Alike(Shapes):
        def generate(self, seeds, labels, **conditions):
            made = super().generate([7 + c for c in labels], labels)
            return (
                made
                + (np.array(seeds, np.uint64) % 5).astype(np.uint8)[:, None, None, None]
            )

    pool = write(tmp_path, Alike(), per_class=4)

    assert len(pool) == 12
    assert pool.file.checks["near_copies"] == 9
    assert pool.file.checks["same_pixels"] == 0
