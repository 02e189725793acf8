"""Laws of TFRecord files: every record, box and value kept, or told why not."""

import json
import pickle
import struct
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conversions import converted, report, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import DATA, photo

import fiberaug
from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.finding import find_source
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.tfrecord import list_tfrecord, looks_like_tfrecord
from fiberaug.jobs.sources.tfrecord_example import parse_example
from fiberaug.jobs.sources.tfrecord_file import read_record, records
from fiberaug.shards.naming import split_name

# The independent side: another project's writer and reader of these files.
pytest.importorskip("tfrecord")
from tfrecord.reader import tfrecord_loader
from tfrecord.writer import TFRecordWriter

KINDS = {bytes: "byte", int: "int", float: "float"}
OBJECT = "image/object/"


def feature(value):
    values = list(value) if isinstance(value, list | tuple) else [value]
    values = [one.encode() if isinstance(one, str) else one for one in values]
    return values, KINDS[type(values[0])]


def write(path, *rows):
    """A file of these features; what is empty is not written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = TFRecordWriter(str(path))
    for row in rows:
        writer.write({name: feature(v) for name, v in row.items() if v not in ([], ())})
    writer.close()
    return path


def image(i=0, encoding="jpeg"):
    return encode_image(photo(i), encoding)


HEIGHT, WIDTH = photo(0).shape[:2]


def detection(i, boxes, labels=(), **more):
    """A record as the object detection API has it; boxes in px."""
    x0, y0, x1, y1 = zip(*boxes, strict=True) if boxes else ((),) * 4
    return {
        "image/encoded": image(i), "image/format": b"jpeg",
        "image/height": HEIGHT, "image/width": WIDTH,
        "image/filename": f"{i}.jpg",
        f"{OBJECT}bbox/xmin": [float(x) / WIDTH for x in x0],
        f"{OBJECT}bbox/xmax": [float(x) / WIDTH for x in x1],
        f"{OBJECT}bbox/ymin": [float(y) / HEIGHT for y in y0],
        f"{OBJECT}bbox/ymax": [float(y) / HEIGHT for y in y1],
        f"{OBJECT}class/label": list(labels), **more,
    }  # fmt: skip


def listed(path, columns=None, **options):
    return list_tfrecord(Path(path), SourceOptions(columns=columns or {}, **options))


def members(folder):
    found = {}
    for path in sorted(Path(folder).glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, extension = split_name(info.name, shard="", offset=0)
                found.setdefault(key, {})[extension] = tar.extractfile(info).read()
    return found


def test_records_are_those_of_another_reader(tmp_path):
    rows = [
        {"image": image(i), "n": [i, -i], "x": [0.5, 0.1 * i], "t": f"é{i}"}
        for i in range(5)
    ]
    path = write(tmp_path / "a.tfrecord", *rows)
    theirs = [*tfrecord_loader(str(path), None)]
    ours = [parse_example(record.data) for record in records(str(path))]

    assert len(ours) == len(theirs) == 5
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["image"] == [other["image"]]
        assert mine["n"] == other["n"].tolist()
        assert mine["x"] == other["x"].tolist()
        assert mine["t"] == [other["t"]]
    for record in records(str(path)):
        assert read_record(str(path), record.offset) == record.data


def test_a_classification_set_keeps_bytes_labels_and_values(tmp_path):
    rows = [
        {
            "image/encoded": image(i, "png" if i % 2 else "jpeg"),
            "image/class/label": i % 3, "image/class/text": ["ant", "bée", "c"][i % 3],
            "image/filename": f"{i}.x", "score": 0.1, "sizes": [i, 2],
            "raw": b"\xff\xfe\x00",
        }
        for i in range(6)
    ]  # fmt: skip
    for part in range(2):
        name = f"set-train.tfrecord-{part:05d}-of-00002"
        write(tmp_path / "in" / name, *rows[3 * part : 3 * part + 3])
    found = find_source(tmp_path / "in")

    assert found.kind == "tfrecord"
    assert found.classes == ("ant", "bée", "c")
    assert found.about == {}
    assert "6 records of 2 files: image <- image/encoded" in found.said
    assert "left out: raw" in found.said
    converted(found, tmp_path / "out")
    stored = [*members(tmp_path / "out").values()]
    assert [m.get("jpg", m.get("png")) for m in stored] == [
        row["image/encoded"] for row in rows
    ]
    samples = streamed(tmp_path / "out")
    assert [int(s["label"]) for s in samples.values()] == [0, 1, 2, 0, 1, 2]
    assert [*samples] == [
        f"set-train.tfrecord-{part:05d}-of-00002/{i:06d}"
        for part in range(2)
        for i in range(3)
    ]
    assert [json.loads(m["json"]) for m in stored] == [
        {"image/filename": f"{i}.x", "score": 0.1, "sizes": [i, 2]} for i in range(6)
    ]


def test_boxes_are_those_that_were_written(tmp_path):
    """Ids from 1 with a gap become 0, 1, ...; what each object has goes with it."""
    boxes = [[(1, 2, 10, 20), (0, 0, WIDTH, HEIGHT)], [], [(3.5, 4.25, 9, 9)]]
    names = {1: "red", 4: "white"}
    labels = [[4, 1], [], [1]]
    rows = [
        detection(
            i, boxes[i], labels[i],
            **{
                f"{OBJECT}class/text": [names[n] for n in labels[i]],
                f"{OBJECT}difficult": [int(n == 4) for n in labels[i]],
                f"{OBJECT}is_crowd": [0] * len(labels[i]),
                f"{OBJECT}view": ["left"] * len(labels[i]),
                f"{OBJECT}mask": [b"\x89PNG\xff"] * len(labels[i]),
                f"{OBJECT}keypoint/x": [0.5, 0.25] * len(labels[i]),
            },
        )
        for i in range(3)
    ]  # fmt: skip
    found = listed(write(tmp_path / "a.record.tfrecord", *rows))
    assert found.classes == ("red", "white")
    assert found.about == {"class_ids": [1, 4]}
    assert f"left out: {OBJECT}keypoint/x, {OBJECT}mask" in found.said
    converted(found, tmp_path / "out")

    for i, sample in enumerate(streamed(tmp_path / "out").values()):
        wanted = np.array(boxes[i], np.float32).reshape(-1, 4)
        np.testing.assert_array_equal(sample["bboxes"], wanted)
        assert sample["bbox_labels"].tolist() == [{1: 0, 4: 1}[n] for n in labels[i]]
    notes = [json.loads(m["json"]) for m in members(tmp_path / "out").values()]
    assert [
        [(o["difficult"], o["iscrowd"], o["view"]) for o in note["objects"]]
        for note in notes
    ] == [[(1, 0, "left"), (0, 0, "left")], [], [(0, 0, "left")]]
    assert report(tmp_path / "out") == []


corner = st.integers(0, 2**16).map(lambda n: n / 2**16)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.lists(
            st.tuples(corner, corner, corner, corner, st.integers(0, 9)), max_size=4
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_boxes_are_read_back_as_the_other_reader_has_them(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("set")
    path = write(
        folder / "a.tfrecord",
        *(
            detection(
                i,
                [(x0 * WIDTH, y0 * HEIGHT, x1 * WIDTH, y1 * HEIGHT)
                 for x0, y0, x1, y1, _ in row],
                [row[-1] for row in row],
            )
            for i, row in enumerate(rows)
        ),
    )  # fmt: skip
    theirs = [*tfrecord_loader(str(path), None)]
    found = listed(path)
    for item, other in zip(found.items, theirs, strict=True):
        raw = found.reader(item)
        objects = (raw.notes or {}).get("objects", [])
        edges = [
            np.atleast_1d(other.get(f"{OBJECT}bbox/{edge}", ())) * side
            for edge, side in (
                ("xmin", WIDTH), ("ymin", HEIGHT), ("xmax", WIDTH), ("ymax", HEIGHT),
            )
        ]  # fmt: skip
        wanted = np.stack(edges, 1) if edges[0].size else np.zeros((0, 4))
        got = np.array([one["bbox"] for one in objects]).reshape(-1, 4)
        np.testing.assert_allclose(got, wanted, atol=1e-4)
        labels = np.atleast_1d(other.get(f"{OBJECT}class/label", ())).tolist()
        assert [one["label"] for one in objects] == labels


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_raw_pixels_become_png_of_the_same_pixels(tmp_path, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 5, 7, channels), np.uint8)
    # One begins like a JPEG of 16x16 px, whole header and all.
    jpeg = np.frombuffer(b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x10\3", np.uint8)
    pixels.reshape(3, -1)[0, : len(jpeg)] = jpeg
    rows = [
        {
            "image_raw": p.tobytes(),
            "height": 5,
            "width": 7,
            "depth": channels,
            "label": i,
        }
        for i, p in enumerate(pixels)
    ]
    found = listed(write(tmp_path / "a.tfrecords", *rows))
    converted(found, tmp_path / "out")
    decode = {"color": "keep"}
    samples = streamed(tmp_path / "out", decode=decode).values()
    for sample, wanted in zip(samples, pixels, strict=True):
        got = np.moveaxis(np.asarray(sample["image"]), 0, -1)
        np.testing.assert_array_equal(got, wanted)
    assert report(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("values", "field", "kind"),
    [
        ([0.5, 0.25, 0.1], "label", "cls"),
        ([[0.5, 1.0], [0.0, 2.0], [3.0, 4.0]], "label", "json:label"),
        ([[0, 1, 1], [1, 0, 0], [0, 0, 0]], "label", "json:label"),
        ([1, 0, []], "label?", "cls"),
        ([2, -1, 0], "label?", "cls"),
        (["dog", "ant", "dog"], "label", "cls"),
    ],
)
def test_labels_of_every_kind(tmp_path, values, field, kind):
    rows = [{"image": image(i), "label": v} for i, v in enumerate(values)]
    found = listed(write(tmp_path / "a.tfrecord", *rows))
    assert found.fields == {field: kind}
    converted(found, tmp_path / "out")
    got = [sample.get("label") for sample in streamed(tmp_path / "out").values()]
    ids = {"dog": 1, "ant": 0}
    for mine, value in zip(got, values, strict=True):
        if value in ([], -1):
            assert mine is None or int(mine) == -1
        else:
            wanted = np.float32(
                ids.get(value, value) if isinstance(value, str) else value
            )
            np.testing.assert_array_equal(np.float32(mine), wanted)


def test_masks_and_captions(tmp_path):
    mask = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 5
    rows = [
        {
            "image/encoded": image(0), "image/caption": "ein Häuschen",
            "image/segmentation/class/encoded": mask_member(mask),
            "image/segmentation/class/format": "png",
        },
        {"image/encoded": image(1)},
    ]  # fmt: skip
    found = listed(write(tmp_path / "a.tfrecord", *rows))
    assert set(found.fields) == {"mask?", "caption?"}
    converted(found, tmp_path / "out")
    first, second = streamed(tmp_path / "out").values()
    assert first["caption"] == "ein Häuschen"
    np.testing.assert_array_equal(np.asarray(first["mask"]), mask)
    assert second.get("mask") is None


def turned(jpeg, orientation):
    """A JPEG with an EXIF orientation."""
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("frame", ["stored", "upright", None])
def test_the_stated_size_tells_the_frame_of_boxes(tmp_path, frame):
    row = detection(0, [(1, 2, 10, 20)], [0])
    row["image/encoded"] = turned(row["image/encoded"], 6)
    if frame == "upright":
        row["image/height"], row["image/width"] = WIDTH, HEIGHT
    if frame is None:
        del row["image/height"], row["image/width"]
    source = listed(write(tmp_path / "a.tfrecord", row))
    if frame is None:
        with pytest.raises(UsageError, match="EXIF orientation 6, and nothing tells"):
            converted(source, tmp_path / "out")
        return
    converted(source, tmp_path / "out")
    (sample,) = streamed(tmp_path / "out").values()
    x0, y0, x1, y1 = 1, 2, 10, 20
    if frame == "stored":  # orientation 6 turns clockwise: x' = height - y, y' = x
        wanted = [HEIGHT - y1, x0, HEIGHT - y0, x1]
    else:
        wanted = [
            x0 / WIDTH * HEIGHT, y0 / HEIGHT * WIDTH,
            x1 / WIDTH * HEIGHT, y1 / HEIGHT * WIDTH,
        ]  # fmt: skip
    np.testing.assert_allclose(sample["bboxes"][0], wanted, atol=1e-3)


def test_corners_in_px_are_asked_for(tmp_path):
    row = detection(0, [(1, 2, 10, 20)], [0])
    for edge, value in zip(
        ("xmin", "ymin", "xmax", "ymax"), (1, 2, 10, 20), strict=True
    ):
        row[f"{OBJECT}bbox/{edge}"] = [float(value)]
    path = write(tmp_path / "a.tfrecord", row)
    with pytest.raises(DataRefused, match=r"reaches to 20;.*normalized=false"):
        listed(path)
    source = listed(path, {"normalized": "false"})
    assert source.reader(source.items[0]).notes["objects"][0]["bbox"] == [1, 2, 10, 20]


def test_a_record_that_is_broken_is_left_out_with_its_place(tmp_path):
    rows = [{"image": image(i), "label": i % 2} for i in range(5)]
    path = write(tmp_path / "a.tfrecord", *rows)
    data = bytearray(path.read_bytes())
    second = [record.offset for record in records(str(path))][1]
    data[second + 40] ^= 1
    path.write_bytes(data)
    assert listed(path).fields == {"label": "cls"}  # all that are sound have one
    rows = [{"x": 1}, {"image": b"no image"}]
    write(tmp_path / "b.tfrecord", *rows)
    source = listed(tmp_path)
    assert source.fields == {"label?": "cls"}  # those of b.tfrecord have none

    assert converted(source, tmp_path / "out").samples == 4
    reasons = {
        one["key"]: (one["path"], one["reason"]) for one in report(tmp_path / "out")
    }
    assert set(reasons) == {
        "a.tfrecord/000001", "b.tfrecord/000000", "b.tfrecord/000001",
    }  # fmt: skip
    where, why = reasons["a.tfrecord/000001"]
    assert where == f"{path}@{second}"
    assert f"byte {second} does not have its checksum" in why
    assert "0 values of 'image'" in reasons["b.tfrecord/000000"][1]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_damage_passes_unseen(tmp_path_factory, data):
    """A flipped bit or a cut is an error of the file or of its record."""
    rows = [{"image": bytes([i]) * 20, "label": i} for i in range(3)]
    path = write(tmp_path_factory.mktemp("set") / "a.tfrecord", *rows)
    whole = path.read_bytes()
    sound = [(record.offset, record.data) for record in records(str(path))]
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        damaged = whole[:at]
    path.write_bytes(damaged)
    found = []
    try:
        found += [(record.offset, record.data) for record in records(str(path))]
    except DataRefused as error:
        assert str(path) in str(error)  # noqa: PT017  # two outcomes are right
    else:
        assert found != sound
    assert all(one in sound or one[1] is None for one in found)
    for offset, body in sound:
        with suppress(SampleBroken):
            assert read_record(str(path), offset) == body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b" + bytes(40), "is compressed"),
        (b"nothing of the kind, but long enough", "is no TFRecord file"),
        (b"short", "is no TFRecord file"),
        (b"", "has no record"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, reason):
    (tmp_path / "a.tfrecord").write_bytes(content)
    with pytest.raises(DataRefused, match=reason):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "reason"),
    [
        ([{"x": 1}], {}, None, r"looks like an image: .*--column.*\['x'\]"),
        ([{"image": b"x"}], {"label": "y"}, None, "no record has a feature 'y'"),
        ([{"image": b"x"}], {"colour": "y"}, None, r"columns of .* got \['colour'\]"),
        ([{"image": b"x", "label": 3}], {}, ["a"], "class id 3 has no name"),
        ([{"image": b"x", "label": "b"}], {}, ["a"], "none of the classes"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, rows, columns, classes, reason):
    path = write(tmp_path / "a.tfrecord", *rows)
    with pytest.raises(UsageError, match=reason):
        listed(path, columns, classes=classes)


def test_a_class_with_two_names_is_refused(tmp_path):
    rows = [
        {"image": b"x", "image/class/label": 1, "image/class/text": name}
        for name in ("a", "b")
    ]
    with pytest.raises(DataRefused, match="class 1 is named 'a' and 'b'"):
        listed(write(tmp_path / "a.tfrecord", *rows))


def test_names_that_tell_the_files(tmp_path):
    for name in ("a.tfrecord", "a.tfrecords", "b.tfrec", "x.tfrecord-00003-of-00010"):
        (tmp_path / name).write_bytes(b"")
        assert looks_like_tfrecord(tmp_path / name)
        (tmp_path / name).rename(tmp_path / "other.txt")
        assert not looks_like_tfrecord(tmp_path / "other.txt")
    assert not looks_like_tfrecord(tmp_path)
    # ImageNet's have no suffix: they are taken where the kind is said.
    write(tmp_path / "in/train-00000-of-00001", {"image": image()})
    assert len(listed(tmp_path / "in").items) == 1


def test_a_link_that_leaves_the_folder_is_asked_for(tmp_path):
    path = write(tmp_path / "away/a.tfrecord", {"image": image()})
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.tfrecord").symlink_to(path)
    with pytest.raises(UsageError, match="leads outside"):
        listed(tmp_path / "in")
    assert len(listed(tmp_path / "in", allow_outside=True).items) == 1


def test_the_digest_tells_changed_content_and_the_reader_travels(tmp_path):
    path = write(tmp_path / "a.tfrecord", {"image": image(0), "label": 1})
    first = listed(path)
    assert listed(path).digest() == first.digest()
    reader = pickle.loads(pickle.dumps(first.reader))
    assert reader(first.items[0]) == first.reader(first.items[0])
    data = image(0)[:-1] + b"\0"
    write(path, {"image": data, "label": 1})
    assert listed(path).digest() != first.digest()


@pytest.mark.parametrize("missing", ["google_crc32c", "google.protobuf"])
def test_a_library_that_is_not_there_is_named_with_its_extra(
    tmp_path, monkeypatch, missing
):
    path = write(tmp_path / "a.tfrecord", {"image": image()})
    from fiberaug.jobs.sources import tfrecord_example

    tfrecord_example._message.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install 'fiberaug\[tfrecord\]'"):
        listed(path)


def test_any_workers_write_the_same_bytes(tmp_path):
    rows = [{"image": image(i), "label": i % 2} for i in range(12)]
    write(tmp_path / "in/a.tfrecord", *rows)
    manifests = [
        fiberaug.convert(
            tmp_path / "in", tmp_path / f"out{n}", workers=n, shard_size="6kB",
            progress=False,
        )
        for n in (1, 2)
    ]  # fmt: skip
    assert manifests[0].shards == manifests[1].shards
    assert len(manifests[0].shards) > 1


@pytest.mark.data
def test_bccd_comes_through_tfrecord_as_from_its_own_files(tmp_path):
    if not (DATA / "bccd").is_dir():
        pytest.skip("the data is not beside this checkout")
    voc = find_source(DATA / "bccd")
    rows, wanted = [], []
    for item in [*voc.items][:40]:
        raw = voc.reader(item)
        width, height = raw.stated
        objects, sides = raw.notes["objects"], {"x": width, "y": height}
        edges = zip(*(one["bbox"] for one in objects), strict=True)
        names = ("xmin", "ymin", "xmax", "ymax")
        rows.append({
            "image/encoded": raw.image, "image/height": height, "image/width": width,
            **{
                f"{OBJECT}bbox/{name}": [v / sides[name[0]] for v in edge]
                for name, edge in zip(names, edges, strict=True)
            },
            f"{OBJECT}class/label": [one["label"] + 1 for one in objects],
            f"{OBJECT}class/text": [voc.classes[one["label"]] for one in objects],
        })  # fmt: skip
        wanted.append([(one["bbox"], voc.classes[one["label"]]) for one in objects])
    found = listed(write(tmp_path / "a.tfrecord", *rows))
    assert set(found.classes) == {name for one in wanted for _, name in one}
    converted(found, tmp_path / "out")
    for sample, boxes in zip(streamed(tmp_path / "out").values(), wanted, strict=True):
        np.testing.assert_allclose(
            sample["bboxes"], [box for box, _ in boxes], atol=1e-3
        )
        assert [found.classes[n] for n in sample["bbox_labels"]] == [
            n for _, n in boxes
        ]
