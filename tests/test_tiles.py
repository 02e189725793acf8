"""Tiles through the loader: one photo becomes n samples, and every law holds."""

import json

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from sets import cut_jpeg, photo, samples, turned
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import ReplayMismatch, StateMismatch, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.index import ShardIndex

SIZES = [(90, 120), (64, 64), (40, 130), (200, 75), (30, 30)]  # height, width
TILE = {"tile": (64, 64), "overlap": 16}
BOXES = [[[5, 5, 20, 25], [60, 10, 75, 30]], [], [[100, 2, 130, 40]], [[0, 90, 75, 99]]]


def size(i):
    return SIZES[i % len(SIZES)]


def boxes(i):
    height, width = size(i)
    found = np.float32(BOXES[i % len(BOXES)]).reshape(-1, 4)
    found = np.clip(found, 0, [width, height] * 2)
    return found[(found[:, :2] < found[:, 2:]).all(axis=1)]


def classes(i):
    """Class ids of pixels that tell their place."""
    height, width = size(i)
    return np.add.outer(np.arange(height) * 7, np.arange(width)).astype(np.uint8)


def content(count=12):
    return samples(
        count,
        image=lambda i: photo(i, *size(i)),
        mask=classes,
        bboxes=boxes,
        bbox_labels=lambda i: list(range(len(boxes(i)))),
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    with fiberaug.ShardWriter(folder, shard_size=60_000) as writer:
        for sample in content():
            writer.write(sample)
    return folder


def streaming(shards, **options):
    """Return the rows of an epoch."""
    return list(rows(fiberaug.DataLoader(opened(shards, **options), 7, collate="list")))


def opened(shards, **options):
    return fiberaug.StreamingDataset(shards, **(TILE | options))


def rows(loader):
    """Return {field: value} of each row that is no padding."""
    for batch in loader:
        for i, pad in enumerate(batch["is_pad"].tolist()):
            if not pad:
                yield {name: value[i] for name, value in batch.items()}


@pytest.mark.parametrize("train", [True, False])
def test_a_tile_is_what_its_window_holds_of_the_photo(shards, train):
    dataset = opened(shards, train=train, seed=3)
    found = list(rows(fiberaug.DataLoader(dataset, 5, collate="list")))
    assert len(found) == dataset.num_samples > 12
    for row in found:
        i, tile = int(row["__key__"][1:]), row["record"].decode["tile"]
        x0, y0, x1, y1 = tile["window"]
        assert tile["photo"] == list(size(i))
        assert row["record"].decode["shape"] == [y1 - y0, x1 - x0, 3]
        expected = photo(i, *size(i))[y0:y1, x0:x1].transpose(2, 0, 1)
        assert (row["image"].numpy() == expected).all()
        assert (row["mask"].numpy() == classes(i)[y0:y1, x0:x1]).all()
        whole = boxes(i)
        clipped = np.clip(whole, [x0, y0] * 2, [x1, y1] * 2)
        areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (whole, clipped)]
        inside = (areas[1] > 0) & (areas[1] >= 0.1 * areas[0])
        assert row["bboxes"].tolist() == (clipped[inside] - [x0, y0] * 2).tolist()
        assert row["bbox_labels"].tolist() == np.flatnonzero(inside).tolist()


def test_evaluation_shows_every_pixel_of_every_photo(shards):
    shown = {i: np.zeros(size(i), int) for i in range(12)}
    for row in rows(
        fiberaug.DataLoader(opened(shards, train=False), 7, collate="list")
    ):
        x0, y0, x1, y1 = row["record"].decode["tile"]["window"]
        shown[int(row["__key__"][1:])][y0:y1, x0:x1] += 1
    assert all(mask.min() >= 1 for mask in shown.values())


def test_training_cuts_elsewhere_in_each_epoch_and_shows_every_pixel_too(shards):
    loader = fiberaug.DataLoader(opened(shards), 7, collate="list")
    grids = []
    for _ in range(3):
        grid: dict[str, set] = {}
        for row in rows(loader):
            window = row["record"].decode["tile"]["window"]
            grid.setdefault(row["__key__"], set()).add(tuple(window))
        for key, windows in grid.items():
            shown = np.zeros(size(int(key[1:])), bool)
            for x0, y0, x1, y1 in windows:
                shown[y0:y1, x0:x1] = True
            assert shown.all()
            across, down = ({w[i] for w in windows} for i in (0, 1))
            assert len(across) * len(down) == len(windows)  # all of one grid
        grids.append(grid)
    moved = [key for key in grids[0] if len({frozenset(g[key]) for g in grids}) > 1]
    # All but those whose tiles fit exactly, or that are one tile.
    assert set(moved) == {f"k{i:03d}" for i in range(12) if max(size(i)) > 64}


PIPELINE = A.Compose([A.RandomCrop(24, 24), A.HorizontalFlip(), A.GaussNoise(p=1)])


def streamed(shards, **options):
    """Return (key, tile, pixels, record) of an epoch."""
    workers = options.pop("num_workers", 0)
    dataset = opened(shards, transform=PIPELINE, seed=5, **options)
    with fiberaug.DataLoader(dataset, 4, num_workers=workers) as loader:
        return [
            (row["__key__"], row["image"].numpy().tobytes(), row["record"].to_json())
            for row in rows(loader)
        ]


def test_workers_and_torchs_loader_give_the_same_tiles(shards):
    one = streamed(shards)
    assert streamed(shards, num_workers=2) == one
    dataset = opened(shards, transform=PIPELINE, seed=5, batch_size=4, record="text")
    plain = TorchLoader(dataset, 4, num_workers=2, collate_fn=list)
    found = [row["record"] for batch in plain for row in batch]
    assert found == [record for *_, record in one]


def test_tiles_of_one_photo_draw_apart_from_each_other(shards):
    drawn = {}
    for _, _, text in streamed(shards):
        record = json.loads(text)
        noise = [t for t in record["applied_transforms"] if t["name"] == "GaussNoise"]
        drawn.setdefault(record["key"], []).append(json.dumps(noise))
    several = [values for values in drawn.values() if len(values) > 1]
    assert several
    assert all(len(set(values)) == len(values) for values in several)


def test_any_tile_is_replayed_from_loader_dataset_and_run_folder(shards, tmp_path):
    dataset = opened(shards, transform=PIPELINE, seed=5)
    with fiberaug.DataLoader(dataset, 5, num_workers=2, log=tmp_path) as loader:
        found = list(rows(loader))
    for row in found:
        for source in (loader, dataset, tmp_path):
            again = fiberaug.replay(row["record"], source)
            assert torch.equal(again["image"], row["image"])
            assert torch.equal(again["bboxes"], row["bboxes"])
    for other in (
        opened(shards, transform=PIPELINE, seed=5, overlap=8),
        fiberaug.StreamingDataset(shards, transform=PIPELINE, seed=5),
    ):
        differing = 0
        for row in found:
            try:
                fiberaug.replay(row["record"], other)
            except ReplayMismatch:
                differing += 1
        assert differing >= len(found) / 2


@pytest.mark.parametrize(
    "tile", [{"number": 99}, {"number": -1}, {}, 7, {"number": "0"}]
)
def test_a_record_of_no_such_tile_is_refused(shards, tile):
    loader = fiberaug.DataLoader(opened(shards, transform=PIPELINE), 5)
    record = next(rows(loader))["record"].to_dict()
    record["decode"] = record["decode"] | {"tile": tile}
    with pytest.raises((UsageError, ReplayMismatch)):
        fiberaug.replay(record, loader)


def test_a_resume_goes_on_at_the_tile_and_another_tiling_is_refused(shards):
    whole = streamed(shards)
    loader = fiberaug.DataLoader(opened(shards, transform=PIPELINE, seed=5), 4)
    passing = iter(loader)
    got = [next(passing) for _ in range(3)]
    state = loader.state_dict()
    assert len(json.dumps(state)) < 4096
    rest = fiberaug.DataLoader(opened(shards, transform=PIPELINE, seed=5), 3)
    rest.load_state_dict(state)
    keys = [key for batch in [*got, *rest] for key in batch["__key__"]]
    assert keys[: len(whole)] == [key for key, *_ in whole]
    for other in ({"overlap": 15}, {"visibility": 0.2}, {"keep_empty": False}):
        loader = fiberaug.DataLoader(
            opened(shards, transform=PIPELINE, seed=5, **other), 4
        )
        with pytest.raises(StateMismatch, match="tile"):
            loader.load_state_dict(state)
    bare = fiberaug.StreamingDataset(shards, transform=PIPELINE, seed=5)
    with pytest.raises(StateMismatch, match="tile"):
        fiberaug.DataLoader(bare, 4).load_state_dict(state)


def test_without_empty_ones_exactly_the_tiles_that_have_a_box_are_left(shards):
    whole = list(streaming(shards, train=False))
    full = {
        (row["__key__"], row["record"].decode["tile"]["number"])
        for row in whole
        if len(row["bboxes"])
    }
    for train in (True, False):
        dataset = opened(shards, train=train, keep_empty=False)
        found = list(rows(fiberaug.DataLoader(dataset, 7, collate="list")))
        assert dataset.num_samples == len(found) == len(full) < len(whole)
        assert {
            (row["__key__"], row["record"].decode["tile"]["number"]) for row in found
        } == full
        assert all(len(row["bboxes"]) for row in found)


def test_parts_and_balance_go_by_photos_and_by_tiles(shards):
    tiles = {}
    for row in streaming(shards):
        tiles[row["__key__"]] = tiles.get(row["__key__"], 0) + 1
    halves = [
        [row["__key__"] for row in streaming(shards, split=split)]
        for split in (("train", 0.5), ("val", 0.5))
    ]
    assert not set(halves[0]) & set(halves[1])
    every = [key for key, count in tiles.items() for _ in range(count)]
    assert sorted(halves[0] + halves[1]) == sorted(every)

    keys = [row["__key__"] for row in streaming(shards, subset=0.5)]
    assert len(set(keys)) == 6
    assert all(keys.count(key) == tiles[key] for key in keys)

    found = streaming(shards, balance="uniform", epoch_size=40)
    labels = [int(row["label"]) for row in found]
    assert [labels.count(label) for label in range(4)] == [10, 10, 10, 10]


def test_views_of_a_tile_share_its_window(shards):
    dataset = opened(shards, transform=PIPELINE, views=2)
    for row in rows(fiberaug.DataLoader(dataset, 5)):
        first, second = row["record"]
        assert first.decode == second.decode
        assert row["image"].shape == (2, 3, 24, 24)
        assert not torch.equal(*row["image"])


def test_a_broken_photo_is_one_broken_sample_however_many_tiles_it_has(write_set):
    broken = encode_image(photo(1, 120, 160), "jpeg")
    shards = write_set(
        {"__key__": f"k{i}", "jpg": cut_jpeg(i) if i == 2 else broken} for i in range(6)
    )
    dataset = opened(shards)
    loader = fiberaug.DataLoader(dataset, 4, collate="list")
    found = list(rows(loader))
    assert len(found) == dataset.num_samples == 6 * dataset.setup.tiling.count(160, 120)
    assert "k2" not in {row["__key__"] for row in found}
    assert loader.stats()["quarantined"] == 1


def test_what_tiles_cannot_be_is_said(shards, write_set, tmp_path):
    copy = tmp_path / "bare.tar"
    copy.write_bytes(min(shards.glob("*.tar")).read_bytes())
    with pytest.raises(UsageError, match="tile need an index"):
        opened(copy)
    with pytest.raises(UsageError, match="no field bboxes"):
        opened(shards, fields="image", keep_empty=False)
    none = write_set(
        samples(3, image=lambda i: photo(i, 90, 90), bboxes=lambda _: np.zeros((0, 4)))
    )
    with pytest.raises(UsageError, match="no tile of the set has a box"):
        opened(none, keep_empty=False)


def test_a_photo_of_another_size_than_its_index_says_is_broken(shards, tmp_path):
    """Else a tile could lie outside of it, or leave a part of it out."""
    name = min(path.name for path in shards.glob("*.tar"))
    (tmp_path / name).write_bytes((shards / name).read_bytes())
    side_car = tmp_path / f"{name}.idx"
    index = ShardIndex.open(shards / side_car.name, shard=name)
    index.columns["width"] = index.columns["width"] + np.uint32(1)
    side_car.write_bytes(index.to_bytes())
    dataset = opened(tmp_path / name, on_error="raise")
    with pytest.raises(fiberaug.SampleBroken, match="its index says"):
        next(iter(fiberaug.DataLoader(dataset, 2)))


def test_the_truth_of_the_stream_is_merged_to_the_truth_of_the_photos(shards):
    dataset = opened(shards, train=False, visibility=0)
    found = list(rows(fiberaug.DataLoader(dataset, 7, collate="list")))
    merged = fiberaug.merge_tiles(
        [
            {"bboxes": row["bboxes"], "labels": row["bbox_labels"], "map": row["mask"]}
            for row in found
        ],
        [row["record"] for row in found],
    )
    assert len(merged) == 12
    for one in merged:
        i = int(one.key[1:])
        order = np.argsort(one.labels)
        assert one.bboxes[order].tolist() == boxes(i).tolist()
        assert (one.map == classes(i)).all()


def test_tiles_cut_out_of_the_bytes_are_those_cut_out_of_the_pixels(
    tmp_path, monkeypatch
):
    """The same coefficients twice, with and without restart markers."""

    def written(interval):
        options = [cv2.IMWRITE_JPEG_QUALITY, 90]
        options += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
        with fiberaug.ShardWriter(tmp_path / str(interval)) as writer:
            for i in range(8):
                file = cv2.imencode(".jpg", photo(i, 250, 320), options)[1].tobytes()
                shape = (320, 250) if i >= 4 else (250, 320)  # 5 to 8 are turned
                writer.write({
                    "__key__": f"k{i}", "jpg": turned(file, i + 1),
                    "mask": np.arange(80_000).reshape(shape).astype(np.uint8),
                    "bboxes": [[10, 20, 100, 90], [5, 200, 60, 240]],
                    "bbox_labels": [1, 2],
                })  # fmt: skip
        return tmp_path / str(interval)

    options = {"transform": A.RandomCrop(30, 30), "seed": 4}
    whole = streaming(written(0), **options)
    marked = written(2)
    monkeypatch.setattr(SampleDecoder, "__call__", None)  # decodes photos whole
    cut = streaming(marked, **options)

    assert len(whole) == len(cut) > 8 * 20
    for one, other in zip(whole, cut, strict=True):
        assert one["record"] == other["record"]
        for name in ("image", "mask", "bboxes", "bbox_labels"):
            assert torch.equal(one[name], other[name]), name
