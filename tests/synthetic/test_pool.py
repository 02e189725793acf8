"""Laws of pools: a data set as any other, with a true provenance for each sample."""

import json
from hashlib import sha256

import numpy as np
import pytest
from generators import Edits, Shapes, Unlabelled
from sets import photo

import fiberaug
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.marking import read_mark
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.synthetic.seeds import sample_key, sample_seed
from fiberaug.synthetic.truth import verify


def write(folder, generator=None, **options):
    options = {"per_class": 4} | options if "count" not in options else options
    return fiberaug.Pool.write(
        generator or Shapes(), folder / "pool", progress=False, **options
    )


def members(pool):
    """Key and members of each sample, as bytes."""
    for entry in pool.manifest.shards:
        path = str(pool.path / entry.name)
        shard = ShardFile(ShardRef(path=path, index=f"{path}.idx"))
        for i in range(len(shard.index)):
            yield shard.index.key(i), {e: bytes(m) for e, m in shard.read(i).items()}


def test_a_pool_is_read_as_any_data_set(tmp_path):
    pool = write(tmp_path)
    dataset = fiberaug.StreamingDataset(str(pool.path), train=False)
    found = {sample["__key__"]: sample for sample in dataset}

    assert len(found) == len(pool) == dataset.num_samples == 12
    assert pool.classes == ("disc", "square", "bar")
    assert pool.counts == {"disc": 4, "square": 4, "bar": 4}
    assert pool.size == (24, 32)
    for label, name in enumerate(pool.classes):
        for number in range(4):
            key, seed = sample_key(name, number), sample_seed(0, name, number)
            expected = Shapes().generate([seed], [label])[0]
            assert int(found[key]["label"]) == label
            image = np.asarray(found[key]["image"]).transpose(1, 2, 0)
            assert np.array_equal(image, expected)


@pytest.mark.parametrize("encoding", ["png", "webp", "jpeg"])
def test_every_provenance_is_true(tmp_path, encoding):
    pool = write(
        tmp_path, encoding=encoding, seed=5, conditions={"dark": 9}, licence="mine"
    )
    stated = {key: (label, one) for key, label, one in pool.samples()}
    extension = {"jpeg": "jpg"}.get(encoding, encoding)
    assert len(stated) == 12
    assert pool.encoding == encoding
    assert pool.seed == 5
    for key, files in members(pool):
        label, one = stated[key]
        assert set(files) == {extension, "cls", "json"}
        assert verify(one, files[extension], label=label) == []
        assert one.bytes_sha256 == sha256(files[extension]).hexdigest()
        assert read_mark(files[extension]) == "algorithmicMedia"
        assert one.id == key
        assert one.label_name == pool.classes[label]
        assert one.params.seed == sample_seed(5, one.label_name, one.params.index)
        assert one.params.others == {"dark": 9}
        assert one.generator.licence == "CC0-1.0"
        assert one.cost is None
        if encoding != "jpeg":
            pixels, _ = decode_image(
                files[extension], limits=ImageLimits(), color="keep"
            )
            expected = Shapes().generate([one.params.seed], [label], dark=9)[0]
            assert np.array_equal(pixels, expected)
    assert pool.file.licence == "mine"


def test_the_figures_of_a_pool_are_those_of_its_samples(tmp_path):
    pool = write(tmp_path, Shapes(twins=9), per_class=6)
    told = pool.file.counts
    refused = (pool.path / "rejected.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in refused]
    taken = {key for key, _, _ in pool.samples()}

    for name, one in told.items():
        own = [key for key in taken if key.startswith(name)]
        left = [line for line in lines if line["key"].startswith(name)]
        assert one["accepted"] == len(own) == 6
        assert one["made"] == len(own) + len(left)
        assert one["rejected"] == ({"duplicate": len(left)} if left else {})
    assert {line["key"] for line in lines}.isdisjoint(taken)
    assert {line["like"]["key"] for line in lines} <= taken
    assert len({one.pixels_sha256 for _, _, one in pool.samples()}) == 18


def test_a_pool_without_labels_has_none(tmp_path):
    pool = write(tmp_path, Unlabelled(), count=5)

    assert {frozenset(files) for _, files in members(pool)} == {
        frozenset({"png", "json"})
    }
    assert [label for _, label, _ in pool.samples()] == [None] * 5
    assert pool.file.size == {"height": 8, "width": 8, "channels": 1}
    assert all(one.label is None for _, _, one in pool.samples())


def test_labels_without_names_are_numbers(tmp_path):
    pool = write(tmp_path, Unlabelled(), per_class={7: 2, 3: 1})

    assert sorted(key for key, _, _ in pool.samples()) == [
        "3-000000", "7-000000", "7-000001",
    ]  # fmt: skip
    assert sorted(label for _, label, _ in pool.samples()) == [3, 7, 7]
    assert pool.classes == ()


def test_some_classes_keep_their_ids(tmp_path):
    pool = write(tmp_path, classes=["bar"])

    assert {label for _, label, _ in pool.samples()} == {2}
    assert pool.classes == ("disc", "square", "bar")


def test_the_mean_of_labels_is_even_in_every_shard(tmp_path):
    """A shard that holds one class trains badly whatever a loader does."""
    pool = write(tmp_path, per_class=30, shard_size="30kB")

    assert len(pool.manifest.shards) > 4
    for entry in pool.manifest.shards:
        counts = [entry.counts.get(str(label), 0) for label in range(3)]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    "place",
    ["/data/val-0.tar", "https://me:secret@host/set/val-0.tar?key=x", "val-0.tar"],
)
def test_a_parents_shard_is_named_as_records_name_it_wherever_it_lies(tmp_path, place):
    originals = [(place, f"k{i}", None, photo(i), i) for i in range(3)]
    pool = write(tmp_path, Edits(originals))

    assert {parent.shard for parent in pool.parents()} == {"val-0.tar"}


def test_parents_and_their_part_are_kept(tmp_path):
    originals = [
        ("train-000000.tar", f"k{i}", ("train", "val")[i % 2], photo(i), i % 3)
        for i in range(12)
    ]
    pool = write(tmp_path, Edits(originals))
    parents = list(pool.parents())
    known = {(one[0], one[1]): one for one in originals}

    assert len(parents) == 12
    assert all(known[shard, key][2] == part for shard, key, part in parents)
    splits = pool.file.parents["splits"]
    assert splits == {
        part: sum(one.split == part for one in parents) for part in ("train", "val")
    }
    assert pool.file.parents["samples"] == 12
    for key, files in members(pool):
        told = json.loads(files["json"])
        assert told["group"] == told["provenance"]["parents"][0]["key"], key
    _, _, one = next(pool.samples())
    assert one.label_origin == "inherited"
    assert one.params.strength == 0.5
    assert one.params.others == {"mode": "inverted"}


def test_a_part_is_said_of_parents_that_have_none(tmp_path):
    class Silent(Edits):
        def sample_notes(self, seeds, labels, **conditions):
            return [
                {"parents": [{"key": "k", "split": "val"} if i % 2 else {"key": "k"}]}
                for i, _ in enumerate(seeds)
            ]

    originals = [("s.tar", "k", "train", photo(i), i) for i in range(3)]
    pool = write(tmp_path, Silent(originals), split="train", count=3, batch_size=3)

    assert pool.file.parents["splits"] == {"train": 2, "val": 1}


def test_a_finished_pool_is_not_written_again(tmp_path):
    pool = write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in pool.path.iterdir()}

    assert write(tmp_path, batch_size=3).manifest == pool.manifest
    assert before == {path: path.stat().st_mtime_ns for path in pool.path.iterdir()}


def test_nothing_but_the_pool_is_left(tmp_path):
    pool = write(tmp_path)

    assert sorted(path.name for path in pool.path.iterdir()) == [
        "dataset.json", "pool.json", "synth-000000.tar", "synth-000000.tar.idx",
    ]  # fmt: skip


def test_a_function_may_make_the_generator(tmp_path):
    made = []

    def make():
        made.append(Shapes())
        return made[-1]

    write(tmp_path, make)

    assert len(made) == 1
    assert fiberaug.Pool.open(tmp_path / "pool").generator["kind"] == "procedural"
