"""Laws of near-copies: in one part, or written once, and every one left out is told."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.jobs import gathering
from fiberaug.jobs.gathering import find_copies, joined
from fiberaug.jobs.sources.finding import find_source


def scene(seed):
    """A picture of soft shapes, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    return image.resize((160, 120), Image.Resampling.BICUBIC)


def saved(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    path.write_bytes(file.getvalue())


@pytest.fixture
def folder(tmp_path):
    """Forty scenes; every fourth again, smaller, blurred or compressed, elsewhere."""
    for i in range(40):
        image = scene(i)
        saved(image, tmp_path / "in" / "ab"[i % 2] / f"{i:02d}.jpg", quality=92)
        if i % 4 == 0:
            blurred = image.filter(ImageFilter.GaussianBlur(1))
            again = [image.resize((120, 90)), blurred, image][i // 4 % 3]
            saved(again, tmp_path / "in/b" / f"again-{i:02d}.jpg", quality=60)
    return tmp_path / "in"


def converted(folder, dst, **options):
    return fiberaug.convert(
        folder, dst, shard_size="30kB", progress=False, **{"workers": 1} | options
    )


def numbers(path, **options):
    """Return the scenes of a set, as often as they are there."""
    data = fiberaug.StreamingDataset(path, train=False, **options)
    return sorted(int(sample["__key__"][-2:]) for sample in data)


def test_copies_stay_in_one_part(folder, tmp_path):
    shares = {"train": 0.5, "val": 0.3, "test": 0.2}
    converted(folder, tmp_path / "set", split=shares)
    parts = [set(numbers(tmp_path / "set", split=part)) for part in shares]

    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]
    assert set.union(*parts) == set(range(40))

    converted(folder, tmp_path / "torn", split=shares, near_copies="ignore")
    torn = [set(numbers(tmp_path / "torn", split=part)) for part in shares]
    assert torn[0] & (torn[1] | torn[2]), "without looking they are torn"


def test_copies_and_groups_stay_together_both(folder, tmp_path):
    shares = {"train": 0.5, "val": 0.5}
    converted(folder, tmp_path / "set", split=shares, group_by="([0-9])$")
    for digit in range(10):
        here = [
            part
            for part in shares
            if any(n % 10 == digit for n in numbers(tmp_path / "set", split=part))
        ]
        assert len(here) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_of_copies_one_is_written_and_the_others_are_told(folder, tmp_path, workers):
    manifest = converted(folder, tmp_path / "set", dedupe=True, workers=workers)

    assert manifest.samples == 40
    assert numbers(tmp_path / "set") == list(range(40))
    lines = (tmp_path / "set/convert_errors.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert len(told) == 10
    for one in told:
        assert one["outcome"] == "left out"
        assert one["reason"].startswith("a near-copy of ")
        assert one["reason"][-2:] == one["key"][-2:]
        assert one["reason"].removeprefix("a near-copy of ") < one["key"]


@pytest.mark.parametrize("workers", [1, 2])
def test_copies_are_the_same_whoever_looks_and_however_many_at_once(
    folder, monkeypatch, workers
):
    (folder / "a/02.jpg").write_bytes(b"no image")
    source = find_source(folder)
    whole = find_copies(source, workers=1)
    monkeypatch.setattr(gathering, "_CHUNK", 7)
    parts = find_copies(source, workers=workers)

    assert len(set(whole.clusters.tolist())) == 40
    np.testing.assert_array_equal(parts.clusters, whole.clusters)
    np.testing.assert_array_equal(parts.first, whole.first)


def test_a_rerun_of_a_deduplicated_set_is_nothing_to_do(folder, tmp_path):
    manifest = converted(folder, tmp_path / "set", dedupe=True)

    assert converted(folder, tmp_path / "set", dedupe=True) == manifest
    with pytest.raises(UsageError, match="of other arguments"):
        converted(folder, tmp_path / "set")


def test_what_cannot_be_read_is_like_nothing(folder, tmp_path):
    for name in ("x", "y"):
        (folder / f"a/{name}00.jpg").write_bytes(b"no image")
    manifest = converted(folder, tmp_path / "set", dedupe=True)

    assert manifest.samples == 40
    lines = (tmp_path / "set/convert_errors.jsonl").read_text().splitlines()
    assert sum("no image" in line for line in lines) == 2


@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30
    )
)
def test_joined_groups_are_the_connected_parts(pairs):
    groups = np.array([group for group, _ in pairs], np.uint64)
    clusters = np.array([cluster for _, cluster in pairs])
    names = joined(groups, clusters)

    rest, wanted = set(range(len(pairs))), {}
    while rest:
        part = {min(rest)}
        while True:
            more = {
                i
                for i in rest
                if any(
                    pairs[i][0] == pairs[j][0] or pairs[i][1] == pairs[j][1]
                    for j in part
                )
            }
            if more <= part:
                break
            part |= more
        rest -= part
        wanted |= dict.fromkeys(part, min(part))
    for i in range(len(pairs)):
        for j in range(len(pairs)):
            assert (names[i] == names[j]) == (wanted[i] == wanted[j])
