"""A plain set is indexed once, and anew when its files are others."""

import multiprocessing
import os
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conversions import streamed
from PIL import Image
from plainsets import KINDS, folder, indexes, own_cache, photos_in, png, put
from sets import photo

import fiberaug
from fiberaug.jobs import plain_index
from fiberaug.jobs.plain import resolve_any
from fiberaug.jobs.plain_looking import look_at
from fiberaug.jobs.sources.finding import find_source
from fiberaug.shards.opening import open_shard


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    return photos_in(tmp_path, monkeypatch)


def files_of(cache):
    """Which files an index is: another one has others, or of another time."""
    return {
        (path.relative_to(cache), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_indexed_once(kind, tmp_path, cache):
    src = KINDS[kind](tmp_path / "src")
    first = resolve_any(src)
    made = files_of(cache)

    assert resolve_any(src) == first
    assert files_of(cache) == made


def side_file(kind, src):
    """A file that the reader reads beside the photo, and other content for it."""
    nines = png(np.full((40, 48), 9, np.uint8))
    return {
        "voc": (src / "SegmentationClass" / "03.png", nines),
        "yolo": (src / "labels" / "03.txt", "0 0.5 0.5 0.25 0.99\n"),
        "masks": (src / "masks" / "03.png", png(np.full((40, 48), 255, np.uint8))),
        "csv": (src / "masks" / "03.png", nines),
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["voc", "yolo", "masks", "csv"])
def test_another_annotation_is_another_set(kind, tmp_path):
    src = KINDS[kind](tmp_path / "src")
    path, content = side_file(kind, src)
    before = streamed(src)
    first = resolve_any(src)
    put(path, content)

    assert resolve_any(src).fingerprint != first.fingerprint
    after = streamed(src)
    (key,) = (key for key in before if key.endswith("03"))
    name = "bboxes" if kind == "yolo" else "mask"
    assert not np.array_equal(after[key][name], before[key][name])


def test_another_photo_of_the_same_size_is_another_set(tmp_path):
    """Bitmaps have one size whatever they show, so only their bytes tell."""
    first = cv2_bmp(photo(1))
    path = put(tmp_path / "src" / "a.bmp", first)
    one = resolve_any(tmp_path / "src")
    second = cv2_bmp(photo(2))
    assert len(second) == len(first)
    put(path, second)
    os.utime(path, ns=(1, 1))

    other = resolve_any(tmp_path / "src")

    assert other.fingerprint != one.fingerprint
    assert np.array_equal(streamed(tmp_path / "src")["a"]["image"],
                          photo(2).transpose(2, 0, 1))  # fmt: skip


def cv2_bmp(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def test_the_index_lies_where_index_dir_says(tmp_path, cache):
    src = folder(tmp_path / "src")

    found = resolve_any(src, index_dir=tmp_path / "indexes")

    assert not cache.exists()
    assert Path(found.refs[0].index).is_relative_to(tmp_path / "indexes")
    dataset = fiberaug.StreamingDataset(src, index_dir=tmp_path / "indexes")
    assert dataset.shard_set == found


def test_an_indexing_that_was_stopped_goes_on(photos, cache, monkeypatch):
    """Shards that were indexed are not looked at again, and the index is the same."""
    expected = [index.to_bytes() for index in indexes(resolve_any(photos))]
    shutil.rmtree(cache)
    source = find_source(photos)
    last = int(source.items.shuffled(0)[-1])
    looked = []

    def stopped(one, item):
        looked.append(item.key)
        if len(looked) <= 42 and item.key == source.items[last].key:
            raise KeyboardInterrupt
        return look_at(one, item)

    monkeypatch.setattr(plain_index, "look_at", stopped)
    with pytest.raises(KeyboardInterrupt):
        resolve_any(photos)
    (part,) = cache.glob(".plain-*.part")
    kept = {row[1:] for row in files_of(part)}
    assert len(kept) == 2 * 4  # of 5 shards the last is missing
    del looked[:-42]
    looked += [""] * 42  # from now on nothing stops

    again = resolve_any(photos)

    assert [index.to_bytes() for index in indexes(again)] == expected
    assert kept <= {row[1:] for row in files_of(cache)}
    assert len([key for key in looked if key]) == 42 + 2
    assert not part.exists()


def open_in_turn(src, results):
    results.put(resolve_any(src).fingerprint)


def test_processes_that_open_a_set_at_once_make_one_index(photos, cache):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    others = [
        context.Process(target=open_in_turn, args=(photos, results)) for _ in range(4)
    ]
    for other in others:
        other.start()
    found = {results.get() for _ in others}
    for other in others:
        other.join(30)

    assert found == {resolve_any(photos).fingerprint}
    assert len(list(cache.glob("plain-*"))) == 1
    assert not list(cache.glob("*.part"))


def test_a_damaged_index_is_said_and_can_be_made_again(photos, cache):
    found = resolve_any(photos)
    rows = Path(found.refs[0].index).with_suffix(".rows")
    data = bytearray(rows.read_bytes())
    data[100] ^= 1
    rows.write_bytes(data)

    with pytest.raises(fiberaug.errors.ShardDamaged, match="delet") as caught:
        open_shard(found.refs[0])
    assert str(cache) in caught.value.message

    rows.unlink()  # one of its files is enough
    assert len(streamed(photos)) == 42
