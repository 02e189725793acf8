"""One epoch is the same pixels and records by every way of decoding."""

import io
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from sets import turned

import fiberaug
from fiberaug.decode import turbo
from fiberaug.errors import StateMismatch
from fiberaug.jobs.indexing import index_shards

pytestmark = pytest.mark.skipif(
    not turbo.available(), reason=f"a seekable set is made: {turbo.why_not()}"
)
SIZE = 64
KINDS = {
    "420": {"subsampling": 2},
    "422": {"subsampling": 1},
    "444": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "blocks": {"restart_marker_blocks": 2},
}


def pipeline():
    return A.Compose(
        [
            A.RandomResizedCrop((SIZE, SIZE), p=0.8),
            A.Resize(SIZE, SIZE),
            A.HorizontalFlip(),
            A.RandomBrightnessContrast(p=0.3),
            A.Normalize(),
        ]
    )


def picture(i):
    """A picture of which every part tells where it is."""
    height, width = 150 + 13 * (i % 7), 300 - 17 * (i % 5)
    noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1 + i % 3)


def encoded(i, **options):
    stream = io.BytesIO()
    mode = "L" if i % 11 == 3 else "CMYK" if i % 13 == 5 else "RGB"
    if mode == "L":
        options.pop("subsampling", None)
    Image.fromarray(picture(i)).convert(mode).save(stream, "JPEG", **options)
    return turned(stream.getvalue(), 1 + i % 8)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """JPEGs of every kind, a PNG, and three that are cut off below."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(54):
        kind = list(KINDS)[i % len(KINDS)]
        path = folder / "ab"[i % 2] / f"{i:02d}-{kind}.jpg"
        path.parent.mkdir(exist_ok=True)
        data = encoded(i, **KINDS[kind])
        path.write_bytes(data[: -len(data) // 5] if i in {6, 20, 33} else data)
    cv2.imwrite(str(folder / "a/zz.png"), picture(99))
    return folder


@pytest.fixture(scope="session")
def sets(photos, tmp_path_factory):
    """The same photos: nothing known of them, known to decode, with restart markers."""
    folder = tmp_path_factory.mktemp("sets")
    found = {name: folder / name / "set" for name in ("plain", "known", "seekable")}
    for name, place in found.items():
        options = {"seekable": True} if name == "seekable" else {}
        fiberaug.convert(photos, place, shard_size="100kB", progress=False, **options)
    index_shards(str(found["known"]), decode=True)
    return found


def dataset(folder, decode="exact", views=1):
    return fiberaug.StreamingDataset(
        folder, transform=pipeline(), decode=decode, views=views, max_errors=1.0,
        pixel_hash=True, seed=3,
    )  # fmt: skip


def story(folder, decode="exact", workers=0, views=1):
    """Everything that two epochs deliver, as text."""
    told = []
    data = dataset(folder, decode, views)
    with fiberaug.DataLoader(data, 8, num_workers=workers) as loader:
        for _ in range(2):
            for batch in loader:
                records = batch["record"]
                told += [record.to_json() for record in np.ravel(list(records))]
                told += map(str, [batch["__key__"], batch["image"].double().sum()])
    return told


def elsewhere(jpeg, *arguments):
    """The same in a process with another decoder."""
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "FIBERAUG_JPEG": jpeg, "PYTHONPATH": tests}
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["known", "seekable"])
@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_what_is_known_of_a_set_changes_no_pixel_and_no_record(sets, name, decode):
    assert story(sets["plain"], decode) == story(sets[name], decode)


@pytest.mark.parametrize("views", [1, 3])
def test_workers_change_nothing(sets, views):
    alone = story(sets["seekable"], views=views)
    assert alone == story(sets["seekable"], workers=2, views=views)
    assert alone == story(sets["plain"], views=views)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "known", "seekable"])
@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_the_decoder_changes_no_pixel_and_no_record(sets, name, decode):
    here = story(sets[name], decode)
    for workers in (0, 2):
        assert here == elsewhere("opencv", sets[name], decode, workers)


def test_what_is_broken_is_broken_whatever_is_cropped(sets, photos):
    """Also where a crop lies above the place at which a file is cut off."""
    for name, folder in sets.items():
        for seed in range(12):
            data = fiberaug.StreamingDataset(
                folder, transform=A.Compose([A.RandomCrop(8, 8)]), seed=seed,
                max_errors=1.0,
            )  # fmt: skip
            with fiberaug.DataLoader(data, 5) as loader:
                epochs = [b["__key__"] for _ in range(2) for b in loader]
                assert loader.stats()["quarantined"] == 3, name
            keys = list(chain(*epochs))
            assert len(keys) == 2 * 55
            assert not {"a/06-420", "a/20-444", "b/33-progressive"} & set(keys)


def test_fast_is_on_record_and_replays(sets, tmp_path):
    data = dataset(sets["known"], "fast")
    with fiberaug.DataLoader(data, 8, log=tmp_path) as loader:
        for batch in loader:
            for row, record in enumerate(batch["record"]):
                assert record.decode["scale"] == "fast"
                for source in (loader, tmp_path):
                    again = fiberaug.replay(record, source)
                    assert torch.equal(again["image"], batch["image"][row])


def test_fast_is_near_to_exact_and_goes_by_the_same_draws(sets):
    """The crop is the same to half a pixel of the result; boxes are the same."""
    differences = []
    exact, fast = dataset(sets["known"]), dataset(sets["known"], "fast")
    for a, b in zip(
        fiberaug.DataLoader(exact, 8), fiberaug.DataLoader(fast, 8), strict=True
    ):
        assert a["__key__"] == b["__key__"]
        for one, other in zip(a["record"], b["record"], strict=True):
            assert one.applied_transforms == other.applied_transforms
        differences.append((a["image"] - b["image"]).abs().mean())
    assert 0 < torch.stack(differences).mean() < 0.25  # of a standard deviation


def test_a_state_of_exact_is_not_one_of_fast(sets):
    loader = fiberaug.DataLoader(dataset(sets["known"]), 8)
    state = loader.state_dict()
    with pytest.raises(StateMismatch, match="recipe"):
        fiberaug.DataLoader(dataset(sets["known"], "fast"), 8).load_state_dict(state)


if __name__ == "__main__":
    place, how, count = sys.argv[1:]
    sys.stdout.write(json.dumps(story(place, how, int(count))))
