"""Laws of frames: annotations land where their pixels are, whatever the orientation."""

import io
import itertools
import json

import cv2
import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fiberaug.decode.header import read_header
from fiberaug.errors import LimitExceeded, SampleBroken
from fiberaug.jobs.framing import FrameUnknown
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.preparing import Options, masks_member, prepare

WIDTH, HEIGHT = 96, 64


def turned(pixels, orientation):
    """Return upright pixels as a file of that orientation stores them."""
    operations = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud,
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p, -1),
    }  # fmt: skip
    return np.ascontiguousarray(operations[orientation](pixels))


def scene(seed, width=WIDTH, height=HEIGHT):
    """A bright rectangle on black: upright image, mask and box."""
    rng = np.random.default_rng(seed)
    x0, y0 = rng.integers(4, width // 2), rng.integers(4, height // 2)
    x1, y1 = x0 + rng.integers(8, width // 3), y0 + rng.integers(8, height // 3)
    image = np.zeros((height, width, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    return image, mask, [float(v) for v in (x0, y0, x1, y1)]


def extent(mask):
    """Return the box around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def photo_file(image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(turned(image, orientation)).save(file, "PNG", exif=exif)
    return file.getvalue()


def raw_of(seed, orientation, frame, *, stated=True, square=False):
    size = (HEIGHT, HEIGHT) if square else (WIDTH, HEIGHT)
    image, mask, box = scene(seed, *size)
    if frame == "stored":
        mask = turned(mask, orientation)
        box = [float(v) for v in extent(mask)]
    x0, y0, x1, y1 = box
    notes = {
        "objects": [{"bbox": box, "label": 3, "polygons": [
            [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], "note": "kept"}],
        "keypoints": [[x0, y0], [x1, y1]],
    }  # fmt: skip
    members = {"mask.png": mask_member(mask), "masks.npz": masks_member(mask[None])}
    return Raw(
        photo_file(image, orientation), notes, members,
        stated=(mask.shape[1], mask.shape[0]) if stated else None,
    )  # fmt: skip


@pytest.mark.parametrize("frame", ["stored", "upright"])
@pytest.mark.parametrize("orientation", range(1, 9))
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    how=st.sampled_from([{}, {"resize": 40}, {"encode": "webp"}]),
    square=st.booleans(),
)
def test_boxes_masks_and_points_stay_on_their_pixels(
    orientation, frame, seed, how, square
):
    size = (HEIGHT, HEIGHT) if square else (WIDTH, HEIGHT)
    raw = raw_of(seed, orientation, frame, square=square)
    made = prepare(raw, Item("k", "p", 1), Options(frame=frame, **how))
    members = made.members
    image = next(v for k, v in members.items() if k in {"png", "webp"})
    header = read_header(image)
    notes = json.loads(members["json"])
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)[..., 0]

    assert (notes["width"], notes["height"]) == header.upright
    assert pixels.shape[::-1] == header.upright, "cv2 turns as EXIF says"
    scale = header.upright[0] / size[0]
    box = np.array(notes["objects"][0]["bbox"])
    # Half a pixel of the smaller image, and what WebP smears.
    assert np.abs(box - extent(pixels > 127)).max() <= 1
    assert np.allclose(box, np.array(scene(seed, *size)[2]) * scale, atol=1)
    corners = np.array(notes["objects"][0]["polygons"][0])
    assert np.allclose([*corners.min(0), *corners.max(0)], box, atol=1e-3)
    points = np.array(notes["keypoints"])
    assert {*points[:, 0]} <= {box[0], box[2]}
    assert {*points[:, 1]} <= {box[1], box[3]}
    assert notes["objects"][0]["note"] == "kept"
    mask = cv2.imdecode(np.frombuffer(members["mask.png"], np.uint8), -1)
    masks = np.load(io.BytesIO(members["masks.npz"]))["masks"]
    assert mask.shape == masks.shape[1:] == pixels.shape
    assert np.abs(np.array(extent(mask)) - box).max() <= 1
    assert (masks[0] == mask).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_where_nothing_tells_the_frame_it_is_asked_for(orientation):
    raw = raw_of(1, orientation, "upright", stated=False)._replace(members={})
    if orientation == 1:
        prepare(raw, Item("k", "p", 1), Options())
        return
    with pytest.raises(FrameUnknown, match=f"orientation {orientation}.*--annot"):
        prepare(raw, Item("k", "p", 1), Options())
    for frame in ("stored", "upright"):
        prepare(raw, Item("k", "p", 1), Options(frame=frame))


def test_the_stated_size_wins_over_what_the_user_says():
    raw = raw_of(1, 6, "stored")
    said = prepare(raw, Item("k", "p", 1), Options(frame="upright")).members
    assert said == prepare(raw, Item("k", "p", 1), Options()).members


def test_what_annotations_say_of_their_frame_wins_over_the_user():
    raw = raw_of(1, 3, "stored", stated=False)._replace(frame="stored", members={})
    said = prepare(raw, Item("k", "p", 1), Options(frame="upright")).members

    assert said == prepare(raw, Item("k", "p", 1), Options(frame="stored")).members
    other = prepare(raw._replace(frame="upright"), Item("k", "p", 1), Options()).members
    assert said != other


def test_annotations_for_another_size_are_refused():
    raw = raw_of(1, 6, "upright")._replace(stated=(50, 40))
    with pytest.raises(SampleBroken, match=r"50x40 px, the file has 64x96 px, up"):
        prepare(raw, Item("k", "p", 1), Options())


def test_a_sample_without_annotations_needs_no_frame():
    raw = Raw(raw_of(1, 6, "upright").image, {"objects": []})
    assert prepare(raw, Item("k", "p", 1), Options()).doubts == []


def test_odd_boxes_are_kept_and_told():
    raw = raw_of(1, 1, "upright")
    boxes = [
        [5, 5, 5, 9],
        [9, 5, 5, 9],
        [-1, 0, 5, 5],
        [0, 0, WIDTH + 1, 5],
        [0, 0, 5, 5],
    ]
    raw = raw._replace(notes={"objects": [{"bbox": box} for box in boxes]})
    made = prepare(raw, Item("k", "p", 1), Options())

    assert [b["bbox"] for b in json.loads(made.members["json"])["objects"]] == boxes
    assert [(doubt[:5], doubt.split("] ")[1][:11]) for doubt in made.doubts] == [
        ("box 0", "has no area"), ("box 1", "has no area"), ("box 2", "reaches bey"),
        ("box 3", "reaches bey"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", None, [1]])
def test_a_coordinate_that_is_no_number_is_refused(value):
    raw = raw_of(1, 1, "upright")
    raw = raw._replace(notes={"objects": [{"bbox": [0, 0, 5, value]}]})
    with pytest.raises(SampleBroken):
        prepare(raw, Item("k", "p", 1), Options())


@pytest.mark.parametrize(
    ("value", "where"), [(float("nan"), r"objects\[1\].score"), ("\ud800", "notes")]
)
def test_what_json_lacks_is_told_with_its_place(value, where):
    raw = raw_of(1, 1, "upright")
    objects = [{"bbox": [0, 0, 5, 5]}, {"bbox": [0, 0, 5, 5]}]
    notes = {"objects": objects, "notes": "fine"}
    if where == "notes":
        notes["notes"] = value
    else:
        objects[1]["score"] = value
    with pytest.raises(SampleBroken, match=f"cannot be stored at {where}: "):
        prepare(raw._replace(notes=notes), Item("k", "p", 1), Options())


def test_more_json_than_readers_take_is_refused_with_the_remedy():
    raw = raw_of(1, 1, "upright")._replace(notes={"note": "x" * 2**20})
    with pytest.raises(LimitExceeded, match="bytes of JSON, readers take 1048576"):
        prepare(raw, Item("k", "p", 1), Options())


def test_what_is_not_labelled_stays_and_areas_follow():
    raw = raw_of(1, 6, "stored")
    one = {"bbox": [8, 8, 24, 16], "area": 128.0,
           "keypoints": [[8, 8, 2], [0, 0, 0]],
           "segmentation": [[8, 8, 24, 8, 24, 16]]}  # fmt: skip
    run = {"bbox": [8, 8, 24, 16], "segmentation": {"counts": [1], "size": [1, 1]}}
    made = prepare(
        raw._replace(notes={"objects": [one, run]}, members={}),
        Item("k", "p", 1), Options(resize=HEIGHT // 2),
    )  # fmt: skip
    placed, left = json.loads(made.members["json"])["objects"]

    assert placed["area"] == 32
    assert placed["keypoints"][1] == [0, 0, 0]
    x, y = placed["keypoints"][0][:2]
    assert [x, y] in (
        [placed["bbox"][i], placed["bbox"][j]] for i in (0, 2) for j in (1, 3)
    )
    corners = np.reshape(placed["segmentation"], (-1, 2))
    assert [*corners.min(0), *corners.max(0)] == placed["bbox"]
    assert "segmentation" not in left
    assert any("outline of object 1" in doubt for doubt in made.doubts)


class _Reader:
    def __init__(self, raws):
        self.raws = raws

    def __repr__(self):
        return "reader"

    def __call__(self, item):
        return self.raws[int(item.key)]


def test_the_stream_delivers_what_was_written(tmp_path):
    cases = list(itertools.product(range(1, 9), ("stored", "upright")))
    raws = [raw_of(i, *case) for i, case in enumerate(cases)]
    source = Source(
        kind="test", root="r", reader=_Reader(raws),
        items=Items.of(Item(str(i), "p", 1) for i in range(len(raws))),
        fields={"bboxes": "json:objects[].bbox", "mask": "mask.png",
                "masks": "masks.npz", "keypoints": "json:keypoints"},
    )  # fmt: skip
    # A half turn keeps the size: there the frame has to be said, for all alike.
    for frame in ("stored", "upright"):
        found = streamed_of(source, tmp_path / frame, frame)
        for i, (orientation, own) in enumerate(cases):
            if orientation in {2, 3, 4} and own != frame:
                continue
            image, mask, box = scene(i)
            sample = found[str(i)]
            assert (sample["image"].numpy().transpose(1, 2, 0) == image).all()
            assert sample["bboxes"].tolist() == [box]
            assert (sample["mask"].numpy() == mask).all()
            assert (sample["masks"].numpy()[0] == mask).all()


def streamed_of(source, dst, frame):
    converted(source, dst, frame=frame)
    return streamed(dst)
