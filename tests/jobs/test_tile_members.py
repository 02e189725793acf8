"""Tiles that are baked are the tiles that a stream cuts, annotations and all."""

import io
import json

import cv2
import numpy as np
import pytest
from conversions import streamed
from sets import DATA, photo, turned

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.jobs.tile_members import cut_members
from fiberaug.tiling import Tiling

TILE = {"tile": (60, 80), "overlap": 20}
FIELDS = {
    "image": "jpg;png;webp", "label": "cls", "mask": "mask.png",
    "masks": "masks.npz", "bboxes": "json:objects[].bbox",
    "bbox_labels": "json:objects[].label", "keypoints": "json:keypoints",
}  # fmt: skip


def stream(folder, **options):
    """Return {(key of the photo, tile): fields} of an evaluation."""
    found = {}
    data = fiberaug.StreamingDataset(folder, train=False, fields=FIELDS, **options)
    for batch in fiberaug.DataLoader(data, 8, collate="list"):
        for row, pad in enumerate(batch["is_pad"].tolist()):
            if pad:
                continue
            key, tile = batch["__key__"][row], batch["record"][row].decode.get("tile")
            if tile is None:
                key, _, number = key.rpartition("-t")
                tile = {"number": int(number)}
            found[key, tile["number"]] = {
                name: batch[name][row] for name in FIELDS if name in batch
            }
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Shards of six photos with everything that has a place; some are turned."""
    folder = tmp_path_factory.mktemp("photos") / "set"
    random = np.random.default_rng(1)
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(6):
            data = cv2.imencode(".jpg", photo(i, 110, 190))[1].tobytes()
            turn = (1, 6, 3, 1, 8, 5)[i]
            height, width = (190, 110) if turn >= 5 else (110, 190)
            low = random.random((5, 2)) * [width - 9, height - 9]
            high = np.minimum(low + random.random((5, 2)) * 60 + 1, [width, height])
            masks = np.zeros((5, height, width), np.uint8)
            for mask, (x, y) in zip(masks, low.astype(int), strict=True):
                mask[y : y + 7, x : x + 30] = 1
            writer.write({
                "__key__": f"deep/p{i}", "jpg": turned(data, turn), "label": i % 2,
                "mask": np.add.outer(np.arange(height), np.arange(width)) % 251,
                "masks.npz": archive(masks), "bboxes": np.hstack([low, high]),
                "bbox_labels": list(range(5)), "keypoints": low + 0.5,
            })  # fmt: skip
    return folder


def archive(masks):
    file = io.BytesIO()
    np.savez(file, masks=masks)
    return file.getvalue()


@pytest.mark.parametrize("visibility", [0.0, 0.1, 0.6])
def test_baked_tiles_are_those_of_the_stream(photos, tmp_path, visibility):
    options = TILE | {"visibility": visibility}
    fiberaug.convert(photos, tmp_path / "baked", source="shards", workers=1, **options)
    cut, baked = stream(photos, **options), stream(tmp_path / "baked")

    assert len(baked) > 6 * 6
    assert baked.keys() == cut.keys()
    for place, fields in cut.items():
        for name, value in fields.items():
            assert np.array_equal(baked[place][name], value), (place, name)


def test_tiles_without_an_object_are_left_out_alike(tmp_path):
    folder = tmp_path / "set"
    with fiberaug.ShardWriter(folder) as writer:
        for i in range(3):
            writer.write({
                "__key__": f"p{i}", "image": photo(i, 110, 190),
                "bboxes": [[5, 5, 20, 20]] * min(i, 1), "bbox_labels": [0] * min(i, 1),
            })  # fmt: skip
    options = TILE | {"keep_empty": False}
    fiberaug.convert(folder, tmp_path / "baked", source="shards", **options)
    places = {(f"p{i}", 0) for i in (1, 2)}
    assert set(streamed_places(tmp_path / "baked")) == places


def streamed_places(folder):
    data = fiberaug.StreamingDataset(folder, train=False)
    for key in (k for b in fiberaug.DataLoader(data) for k in b["__key__"]):
        name, _, number = key.rpartition("-t")
        yield name, int(number)


def test_any_number_of_workers_writes_the_same_and_tiles_stay_in_one_part(
    photos, tmp_path
):
    sums = set()
    for workers in (1, 2):
        out = tmp_path / str(workers)
        manifest = fiberaug.convert(
            photos, out, source="shards", shard_size="40kB", workers=workers,
            split="train=0.5,val=0.5", near_copies="ignore", **TILE,
        )  # fmt: skip
        sums.add(tuple(shard.sha256 for shard in manifest.shards))
    assert len(sums) == 1
    shards = sorted(map(str, out.glob("*.tar")))
    named = [fiberaug.StreamingDataset(out, split=part) for part in ("train", "val")]
    hashed = [
        fiberaug.StreamingDataset(shards, split=(part, 0.5))
        for part in ("train", "val")
    ]
    for halves in named, hashed:
        photos_of = [
            {sample["__key__"].rpartition("-t")[0] for sample in half}
            for half in halves
        ]
        assert not photos_of[0] & photos_of[1]
        assert len(photos_of[0] | photos_of[1]) == 6


def notes(one, tiling, **photo_notes):
    """Return the JSON of each tile of a photo of 60x100 px with one object."""
    data = cv2.imencode(".png", photo(0, 60, 100))[1].tobytes()
    text = json.dumps({"objects": [one], **photo_notes}).encode()
    return list(cut_members("p", {"png": data, "json": text}, tiling))


def test_what_coco_knows_of_an_object_follows_it():
    one = {
        "bbox": [30, 10, 70, 30], "label": 4, "area": 400.0, "iscrowd": 0,
        "segmentation": [[30, 10, 70, 10, 70, 30, 30, 30]],
        "keypoints": [[35, 20, 2], [65, 20, 1], [0, 0, 0]],
    }  # fmt: skip
    left, right = notes(one, Tiling(height=60, width=50), source="a camera")
    a, b = left.notes["objects"][0], right.notes["objects"][0]
    assert (a["bbox"], b["bbox"]) == ([30, 10, 50, 30], [0, 10, 20, 30])
    assert a["segmentation"] == [[50, 10, 50, 30, 30, 30, 30, 10]] or sorted(
        zip(a["segmentation"][0][::2], a["segmentation"][0][1::2], strict=True)
    ) == [(30, 10), (30, 30), (50, 10), (50, 30)]
    assert a["keypoints"] == [[35, 20, 2], [0, 0, 0], [0, 0, 0]]
    assert b["keypoints"] == [[0, 0, 0], [15, 20, 1], [0, 0, 0]]
    assert (a["area"], b["area"]) == (200, 200)
    assert (a["label"], a["iscrowd"]) == (4, 0)
    assert (left.notes["width"], left.notes["height"]) == (50, 60)
    assert left.notes["tile"] == {
        "number": 0, "window": [0, 0, 50, 60], "photo": [60, 100]
    }  # fmt: skip
    assert (left.notes["group"], left.notes["source"]) == ("p", "a camera")


def test_an_outline_of_runs_is_left_out_and_told_once():
    one = {"bbox": [30, 10, 70, 30], "segmentation": {"counts": "abc", "size": [1, 1]}}
    left, right = notes(one, Tiling(height=60, width=50))
    assert "segmentation" not in left.notes["objects"][0]
    assert "object 0" in left.doubts[0]
    assert right.doubts == ()


def test_a_box_that_no_tile_holds_whole_is_told():
    tiling = Tiling(height=60, width=60, overlap=30)  # x from 0, 20, 40
    for box, told in (([5, 5, 60, 9], 0), ([15, 5, 79, 9], 1), ([-5, 5, 58, 9], 0)):
        first, *others = notes({"bbox": box}, tiling)
        assert len(first.doubts) == told
        assert not any(tile.doubts for tile in others)
    assert "overlap of 64 px" in notes({"bbox": [15, 5, 79, 9]}, tiling)[0].doubts[0]


@pytest.mark.parametrize("kind", ["gray", "gray16", "rgba"])
def test_channels_and_depth_are_kept(kind, tmp_path):
    pixels = {
        "gray": photo(1, 60, 100)[:, :, 0],
        "gray16": photo(1, 60, 100)[:, :, 0].astype(np.uint16) * 257,
        "rgba": np.dstack([photo(1, 60, 100), photo(2, 60, 100)[:, :, 0]]),
    }[kind]
    data = cv2.imencode(".png", pixels)[1].tobytes()
    tiles = cut_members("p", {"png": data}, Tiling(height=60, width=50))
    parts = [
        cv2.imdecode(np.frombuffer(tile.members["png"], np.uint8), cv2.IMREAD_UNCHANGED)
        for tile in tiles
    ]
    assert np.array_equal(np.concatenate(parts, axis=1), pixels)


def test_a_photo_that_is_encoded_anew_is_so_once(tmp_path):
    """JPEG of JPEG would lose twice."""
    (tmp_path / "photos/a").mkdir(parents=True)
    file = cv2.imencode(".png", photo(3, 60, 100)[:, :, ::-1])[1].tobytes()
    (tmp_path / "photos/a/1.png").write_bytes(file)
    fiberaug.convert(
        tmp_path / "photos", tmp_path / "out", encode="jpeg", quality=70, tile=(60, 53)
    )
    whole = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 70]
    for key, x in (("a/1-t000", 0), ("a/1-t001", 47)):
        once = cv2.imencode(".jpg", whole[:, x : x + 53], options)[1]
        expected = cv2.imdecode(once, cv2.IMREAD_COLOR_RGB).transpose(2, 0, 1)
        found = streamed(tmp_path / "out")[key]["image"]
        assert np.array_equal(np.asarray(found), expected)


def test_tiles_of_an_iterable_are_refused(tmp_path):
    with pytest.raises(UsageError, match="tile is for files"):
        fiberaug.convert(iter(()), tmp_path / "out", tile=64)


CABLES = DATA / "cables/cable_dataset_hard"


@pytest.mark.skipif(not CABLES.is_dir(), reason="no real data")
def test_tiles_of_cables_are_those_of_the_stream(tmp_path):
    fiberaug.convert(CABLES, tmp_path / "whole", progress=False)
    options = {"tile": (400, 400), "overlap": 40}
    fiberaug.convert(CABLES, tmp_path / "baked", progress=False, **options)
    data = fiberaug.StreamingDataset(tmp_path / "baked", train=False)
    cut = fiberaug.StreamingDataset(tmp_path / "whole", train=False, **options)
    assert data.num_samples == cut.num_samples == 40
    windows = {}
    for batch in fiberaug.DataLoader(cut, 1):
        tile = batch["record"][0].decode["tile"]["number"]
        windows[f"{batch['__key__'][0]}-t{tile:03d}"] = batch
    for batch in fiberaug.DataLoader(data, 1):
        other = windows[batch["__key__"][0]]
        assert {"image", "masks"} <= batch.keys() == other.keys()
        for name in batch.keys() - {"__key__", "__url__", "record"}:
            assert np.array_equal(
                np.asarray(batch[name][0]), np.asarray(other[name][0])
            )
