"""Laws of YOLO: shares of the sides become the pixels that were meant."""

import os
import pickle
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from conversions import converted, report, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import DATA, photo

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.framing import FrameUnknown
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.voc import list_voc
from fiberaug.jobs.sources.yolo import list_yolo, looks_like_yolo

BCCD = DATA / "bccd"
WHOLE = "0 0.5 0.5 1 1\n"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jpeg(i=0):
    return encode_image(photo(i), "jpeg")  # 48x40 px


def turned(orientation):
    """Return a JPEG of 48x40 stored px with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(photo(0)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def pairs(root, **labels):
    """Write photos in ``images``, and their lines in ``labels``; None: no file."""
    for i, (stem, text) in enumerate(labels.items()):
        put(root / "images" / f"{stem}.jpg", jpeg(i))
        if text is not None:
            put(root / "labels" / f"{stem}.txt", text)
    return root


def convert(src, dst, frame=None, **options):
    """Convert, and return the manifest, the samples and the lines of the report."""
    source = list_yolo(src, SourceOptions(**options))
    manifest = converted(source, dst, frame=frame)
    return manifest, streamed(dst), report(dst)


def annotated(sample):
    return sample["bboxes"].tolist(), sample["bbox_labels"].tolist()


def notes_of(src, **options):
    """Return the JSON of each sample by key."""
    source = list_yolo(src, SourceOptions(**options))
    return {item.key: source.reader(item).notes for item in source.items}


def reasons(errors):
    return {error["key"]: error["reason"].split(" [key")[0] for error in errors}


def test_boxes_are_shares_of_the_sides_and_their_centre(tmp_path):
    src = pairs(tmp_path / "src", a="1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.5 0.5\r\n\n",
                b="\ufeff" + WHOLE)  # fmt: skip
    put(src / "classes.txt", "dog\ncat\n\n")
    manifest, found, errors = convert(src, tmp_path / "out")

    assert manifest.classes == ("dog", "cat")
    assert errors == []
    assert annotated(found["images/a"]) == ([[18, 10, 30, 30], [0, 0, 24, 20]], [1, 0])
    assert annotated(found["images/b"]) == ([[0, 0, 48, 40]], [0])


@settings(max_examples=40, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 2), *[st.floats(0, 1, width=32) for _ in range(4)]),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_any_boxes_are_what_plain_arithmetic_says(tmp_path_factory, boxes):
    lines = [f"{i} {x!r} {y!r} {w!r} {h!r}" for i, x, y, w, h in boxes]
    src = pairs(tmp_path_factory.mktemp("yolo"), a="\n".join(lines))
    (notes,) = notes_of(src, classes=["a", "b", "c"]).values()

    assert [one["label"] for one in notes["objects"]] == [i for i, *_ in boxes]
    for one, (_, x, y, w, h) in zip(notes["objects"], boxes, strict=True):
        edges = 48 * (x - w / 2), 40 * (y - h / 2), 48 * (x + w / 2), 40 * (y + h / 2)
        assert one["bbox"] == pytest.approx(edges, abs=1e-4)


def test_duplicates_and_small_overshoot_are_kept(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE * 2 + "0 1.005 -0.005 0.5 0.5\n")
    _, found, errors = convert(src, tmp_path / "out")

    boxes = annotated(found["images/a"])[0]
    assert boxes[0] == boxes[1] == [0, 0, 48, 40]
    assert boxes[2] == pytest.approx([36.24, -10.2, 60.24, 9.8])
    assert [e["outcome"] for e in errors] == ["kept"]


def test_scores_and_outlines_are_kept(tmp_path):
    src = pairs(
        tmp_path, a="0 0.5 0.5 1 1 0.75\n1 0 0 0.5 0 0.5 0.5\n0 0 0 1 0 1 1 0 0.5\n"
    )
    (notes,) = notes_of(src).values()
    scored, triangle, square = notes["objects"]

    assert scored == {"bbox": [0, 0, 48, 40], "label": 0, "score": 0.75}
    assert triangle == {
        "bbox": [0, 0, 24, 20], "label": 1,
        "polygons": [[[0, 0], [24, 0], [24, 20]]],
    }  # fmt: skip
    assert square["bbox"] == [0, 0, 48, 40]
    assert square["polygons"] == [[[0, 0], [48, 0], [48, 40], [0, 20]]]


@pytest.mark.parametrize(
    ("shape", "points", "expected"),
    [
        ([2, 3], "0 1 2 0.5 0.25 0.5", [[0, 40, 2], [24, 10, 0.5]]),
        ([2, 2], "0 1 0.5 0.25", [[0, 40], [24, 10]]),
    ],
)
def test_keypoints_are_read_as_the_yaml_has_them(tmp_path, shape, points, expected):
    pairs(tmp_path, a=f"0 0.5 0.5 1 1 {points}\n")
    put(tmp_path / "data.yaml", f"train: images\nval: images\nnames: [man]\nkpt_shape:"
        f" {shape}\nflip_idx: [1, 0]\n")  # fmt: skip
    source = list_yolo(tmp_path, SourceOptions())
    notes = source.reader(source.items[0]).notes

    assert source.about == {"kpt_shape": shape, "flip": [1, 0]}
    assert notes["objects"] == [
        {"bbox": [0, 0, 48, 40], "label": 0, "keypoints": expected}
    ]


def test_the_parts_of_a_yaml_are_taken_and_named(tmp_path):
    src = tmp_path / "src"
    for part in ("train", "val"):
        put(src / f"images/{part}/a.jpg", jpeg())
        put(src / f"labels/{part}/a.txt", WHOLE)
    put(src / "images/more/b c.jpg", jpeg())
    put(src / "labels/more/b c.txt", "1 0.5 0.5 1 1")
    put(src / "images/unlisted/d.jpg", jpeg())
    put(src / "lists/test.txt", "./../images/more/b c.jpg\nimages/train/a.jpg\n")
    put(src / "data.yaml", "path: .\ntrain: images/train\nval: [images/val]\n"
        "test: lists/test.txt\nnames:\n  1: no\n  0: 007\n")  # fmt: skip
    manifest, found, errors = convert(src, tmp_path / "out")

    assert manifest.classes == ("007", "no")
    assert errors == []
    assert {key: n["part"] for key, n in notes_of(src).items()} == {
        "images/train/a": "train", "images/val/a": "val", "images/more/b c": "test",
    }  # fmt: skip
    assert set(found) == set(notes_of(src))
    assert annotated(found["images/more/b c"])[1] == [1]
    assert (
        "1 image of two parts, taken in the first"
        in list_yolo(src / "data.yaml", SourceOptions()).said
    )


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['dog']\n",
        "path: /content/ds\ntrain: train/images\nval: valid/images\nnames: {0: dog}\n",
        "path: ../datasets/src\ntrain: train/images\nval: valid/images\nnames: [dog]\n",
    ],
    ids=["roboflow", "another machine", "path from elsewhere"],
)
def test_folders_of_a_yaml_are_found_where_it_lies(tmp_path, text):
    src = tmp_path / "src"
    for part in ("train", "valid"):
        put(src / part / "images/a.jpg", jpeg())
        put(src / part / "labels/a.txt", WHOLE)
    put(src / "data.yaml", text)
    _, found, errors = convert(src, tmp_path / "out")

    assert sorted(found) == ["train/images/a", "valid/images/a"]
    assert all(annotated(sample)[1] == [0] for sample in found.values())
    assert errors == []


def test_labels_lie_beside_their_photos_as_darknet_has_them(tmp_path):
    src = tmp_path / "src"
    put(src / "obj.names", "dog\ncat\n")
    put(src / "obj_train_data/a.jpg", jpeg())
    put(src / "obj_train_data/a.txt", "1 0.5 0.5 1 1")
    put(src / "train.txt", "data/obj_train_data/a.jpg")
    put(src / "b.png", encode_image(photo(1), "png"))
    put(src / "b.txt", WHOLE)
    manifest, found, errors = convert(src, tmp_path / "out")

    assert manifest.classes == ("dog", "cat")
    assert {key: annotated(s)[1] for key, s in found.items()} == {
        "b": [0], "obj_train_data/a": [1],
    }  # fmt: skip
    assert errors == []


def test_the_last_images_of_a_path_becomes_labels(tmp_path):
    put(tmp_path / "images/x/images/a.jpg", jpeg())
    put(tmp_path / "images/x/labels/a.txt", WHOLE)
    put(tmp_path / "labels/x/images/a.txt", "bad")

    assert len(notes_of(tmp_path)["images/x/images/a"]["objects"]) == 1


def test_a_photo_without_a_file_or_with_an_empty_one_is_background(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE, b=None, c="", d=" \n\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert {key: annotated(s) for key, s in found.items() if key != "images/a"} == {
        f"images/{stem}": ([], []) for stem in "bcd"
    }
    assert errors == []
    assert "1 without labels are background" in list_yolo(src, SourceOptions()).said


def test_labels_without_a_photo_and_cut_photos_are_reported(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE, cut=WHOLE)
    put(src / "labels/lost.txt", WHOLE)
    put(src / "labels/classes.txt", "dog")
    put(src / "README.txt", "read me")
    put(src / "images/cut.jpg", b"no photo")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert reasons(errors).keys() == {"images/cut", "labels/lost"}
    assert reasons(errors)["labels/lost"] == "labels/lost.txt has no image"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 0.5 0.5 1 1", "class 2 is none of 0 to 1"),
        ("-1 0.5 0.5 1 1", "class -1 is none of"),
        ("0.5 0.5 0.5 1 1", "class 0.5 is none of"),
        ("nan 0.5 0.5 1 1", "class nan is none of"),
        ("0 0.5 0.5 1 nan", "has a value that is not finite: 0 0.5 0.5 1 nan"),
        ("0 0.5 inf 1 1", "has a value that is not finite"),
        ("0 320 240 64 48", "has a value out of [-0.01, 1.01]: 0 320 240 64 48"),
        ("0 0.5 0.5 1 1.02", "has a value out of"),
        ("0 -0.02 0.5 1 1", "has a value out of"),
        ("0 0.5 0.5 1 1 77", "has a value out of"),
        ("0 0 0 0 1 1 1.2", "has a value out of"),
        ("0 0.5 0.5 1", "has 4 values; a box has 5, or 6 with a score"),
        ("0 0 0 0 1 1 1 1", "has 8 values"),
        ("0", "has 1 values"),
        ("dog 0.5 0.5 1 1", "could not convert string to float: 'dog'"),
        ("0,0.5,0.5,1,1", "could not convert"),
    ],
)
def test_a_broken_line_costs_its_own_sample_and_is_named(tmp_path, line, reason):
    src = pairs(tmp_path / "src", a=f"{WHOLE}\n{line}\n", b=WHOLE)
    put(src / "classes.txt", "dog\ncat")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/b"]
    assert reasons(errors)["images/a"].startswith(f"labels/a.txt line 3: {reason}")


def test_labels_that_are_no_text_or_have_other_points_are_named(tmp_path):
    src = pairs(tmp_path / "src", a=b"\xff\xfe0", b="0 0.5 0.5 1 1 0 0 2", c=WHOLE)
    put(src / "data.yaml", "train: images\nnames: [man]\nkpt_shape: [1, 3]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/b"]
    assert "labels/a.txt: 'utf-8' codec" in reasons(errors)["images/a"]
    assert reasons(errors)["images/c"] == (
        "labels/c.txt line 1: has 5 values; with kpt_shape [1, 3] there are 8"
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_shares_are_of_the_sides_of_the_frame_that_is_meant(
    tmp_path, orientation, frame
):
    """The same quarter of the photo, found by the pixels of Pillow's turned photo."""
    src = tmp_path / "src"
    put(src / "a.jpg", turned(orientation))
    put(src / "a.txt", "0 0.25 0.125 0.5 0.25")
    source = list_yolo(src, SourceOptions())
    source = replace(source, reader=replace(source.reader, frame=frame))
    converted(source, tmp_path / "out")
    told = list_yolo(src, SourceOptions(frame=frame)).reader
    assert told == source.reader
    marks = Image.new(
        "L", (48, 40) if frame == "stored" or orientation < 5 else (40, 48)
    )
    width, height = marks.size
    marks.paste(255, (0, 0, width // 2, height // 4))
    if frame == "stored":
        marks = marks.transpose(TURNS[orientation]) if orientation > 1 else marks

    ((box,), _) = annotated(streamed(tmp_path / "out")["a"])
    assert box == list(marks.getbbox())


TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # fmt: skip


def test_a_turned_photo_with_boxes_asks_for_the_frame_and_one_without_does_not(
    tmp_path,
):
    src = tmp_path / "src"
    put(src / "a.jpg", turned(6))
    put(src / "b.jpg", turned(6))
    put(src / "b.txt", WHOLE)
    source = list_yolo(src, SourceOptions())

    assert source.reader(source.items[0]).notes == {"objects": []}
    with pytest.raises(FrameUnknown, match=r"orientation 6.*--annotation-frame"):
        source.reader(source.items[1])


def test_without_names_the_classes_are_numbers_up_to_the_highest(tmp_path):
    src = pairs(tmp_path, a="3 0.5 0.5 1 1\n1.0 0 0 0 0\n", b="99999999 0 0 0 0\n")

    assert list_yolo(src, SourceOptions()).classes == ("0", "1", "2", "3")
    put(src / "data.yaml", "train: images\nnc: 5\n")
    assert list_yolo(src, SourceOptions()).classes == ("0", "1", "2", "3", "4")
    given = list_yolo(src, SourceOptions(classes=["a", "b"]))
    assert given.classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("train: images\nnames: [a\n", r"is no YAML: .*\n.*line"),
        ("train: images\nnames: {0: a, 2: b}\n", "names must have the ids 0, 1, 2"),
        ("train: images\nnames: [[a]]\n", "names must be text or a list"),
        ("train: images\nnames: [a, b]\nnc: 3\n", "nc is 3, there are 2 names"),
        ("train: images\nnc: 99999999\n", "nc must be whole numbers"),
        ("train: images\nnc: 999999\n", "nc is 999999"),
        ("train: {a: b}\nnames: [a]\n", "train must be text or a list"),
        ("train: images\nnames: [a]\nkpt_shape: [17]\n", "kpt_shape must be"),
        (
            "train: images\nnames: [a]\nkpt_shape: [2, 3]\nflip_idx: [0, 0]\n",
            "flip_idx",
        ),
        ("train: images\nnames: !!python/object/apply:os.getcwd []\n", None),
        ("a: &a [x]\nb: &b [*a, *a]\ntrain: *b\nnames: [a]\n", "train must be text"),
        ("train: images\nnames: " + "[" * 5000, "is no YAML"),
    ],
    ids=list("abcdefghijkl"),
)
def test_a_yaml_that_says_nonsense_is_refused(tmp_path, text, reason):
    pairs(tmp_path, a=WHOLE)
    put(tmp_path / "data.yaml", text)

    if reason is None:
        assert list_yolo(tmp_path, SourceOptions()).classes == ("0",)
        return
    with pytest.raises(DataRefused, match=f"(?s)data.yaml.*{reason}"):
        list_yolo(tmp_path, SourceOptions())


def test_what_a_yaml_or_a_list_names_and_is_not_there_is_reported(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE)
    put(src / "list.txt", "images/a.jpg\n\nimages/gone.jpg\n/content/b.jpg\nREADME\n")
    put(src / "README", "x")
    put(src / "data.yaml", "train: list.txt\nval: val/images\ntest: null\nnames: [a]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert reasons(errors)["images/gone"] == (
        "images/gone.jpg of list.txt line 3 is not there"
    )
    assert "/content/b.jpg of list.txt line 4 is not there" in str(errors)
    assert "README of list.txt line 5 is no folder, list or image" in str(errors)
    assert reasons(errors)["val/images"] == "val 'val/images' of the .yaml is not there"


def test_what_lies_outside_is_refused_by_name_unless_it_is_allowed(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE, b=None)
    pairs(tmp_path / "other", c="0 0.5 0.5 0.5 0.5\n")
    put(tmp_path / "secret.txt", WHOLE)
    (src / "labels/b.txt").symlink_to(tmp_path / "secret.txt")
    put(src / "list.txt", f"{tmp_path}/other/images/c.jpg\n")
    put(src / "data.yaml", "train: images\nval: ../other/images\ntest: list.txt\n"
        "names: [a]\n")  # fmt: skip
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert len(errors) == 3
    for named in (
        "'../other/images'",
        "other/images/c.jpg of list.txt",
        "labels/b.txt",
    ):
        assert sum(f"{named}" in e["reason"] for e in errors) == 1
    assert all("--allow-outside" in e["reason"] for e in errors)
    _, found, errors = convert(src, tmp_path / "all", allow_outside=True)
    assert errors == []
    assert sorted(found) == ["images/a", "images/b", "other/images/c"]
    assert annotated(found["other/images/c"])[0] == [[12, 10, 36, 30]]


def test_a_set_without_images_or_labels_is_refused_and_two_yamls_are_a_question(
    tmp_path,
):
    put(tmp_path / "empty/README.txt", "x")
    put(tmp_path / "bare/images/a.jpg", jpeg())
    pairs(tmp_path / "two", a=WHOLE)
    for name in ("one.yaml", "two.yaml"):
        put(tmp_path / "two" / name, "train: images\nnames: [a]\n")
    put(tmp_path / "names/a/classes.txt", "a")
    put(tmp_path / "names/b/classes.txt", "b")
    put(tmp_path / "names/b/x.jpg", jpeg())
    put(tmp_path / "names/b/x.txt", WHOLE)

    with pytest.raises(DataRefused, match="has no image: avif"):
        list_yolo(tmp_path / "empty", SourceOptions())
    with pytest.raises(DataRefused, match="1 image and no label file"):
        list_yolo(tmp_path / "bare", SourceOptions())
    with pytest.raises(UsageError, match=r"'one\.yaml', 'two\.yaml'.*say which one"):
        list_yolo(tmp_path / "two", SourceOptions())
    assert len(list_yolo(tmp_path / "two/one.yaml", SourceOptions()).items) == 1
    with pytest.raises(DataRefused, match="differ; leave one"):
        list_yolo(tmp_path / "names", SourceOptions())
    assert list_yolo(tmp_path / "names", SourceOptions(classes=["a"])).classes == ("a",)
    with pytest.raises(UsageError, match="no folder"):
        list_yolo(tmp_path / "gone", SourceOptions())


@pytest.mark.parametrize("stem", ["a b", "Größe 光", "x" * 200, "img.v2", "caf\udce9"])
def test_any_name_works(tmp_path, stem):
    src = pairs(tmp_path / "src", **{stem: WHOLE})
    _, found, errors = convert(src, tmp_path / "out")

    assert errors == []
    assert [annotated(sample)[0] for sample in found.values()] == [[[0, 0, 48, 40]]]


def test_the_source_is_told_from_others(tmp_path):
    pairs(tmp_path / "pairs", a=WHOLE)
    put(tmp_path / "parts/train/images/a.jpg", jpeg())
    put(tmp_path / "parts/train/labels/a.txt", WHOLE)
    put(tmp_path / "yaml/data.yaml", "train: images\nnames: [a]\n")
    put(tmp_path / "darknet/classes.txt", "a")
    put(tmp_path / "captions/a.jpg", jpeg())
    put(tmp_path / "captions/a.txt", "a dog")
    put(tmp_path / "masks/images/a.jpg", jpeg())
    put(tmp_path / "masks/labels/a.png", jpeg())
    put(tmp_path / "config/train.yaml", "epochs: 3\nlr: 0.1\n")

    for name in ("pairs", "parts", "yaml", "yaml/data.yaml", "darknet"):
        assert looks_like_yolo(tmp_path / name), name
    for name in ("captions", "masks", "config", "config/train.yaml", "gone"):
        assert not looks_like_yolo(tmp_path / name), name


def test_a_moved_set_has_the_same_reader_and_changed_labels_are_seen(tmp_path):
    one = pairs(tmp_path / "one", a=WHOLE)
    shutil.copytree(one, tmp_path / "two")
    first, second = (list_yolo(tmp_path / n, SourceOptions()) for n in ("one", "two"))

    assert repr(first.reader) == repr(second.reader)
    assert first.items.digest() == second.items.digest()
    assert pickle.loads(pickle.dumps(first.reader)) == first.reader
    put(one / "labels/a.txt", WHOLE.replace("0.5 0.5", "0.4 0.5"))
    os.utime(one / "labels/a.txt", (1, 1))
    assert list_yolo(one, SourceOptions()).items.digest() != first.items.digest()


@pytest.mark.data
@pytest.mark.skipif(not BCCD.is_dir(), reason="FIBERAUG_DATA names no folder")
def test_blood_cells_written_as_yolo_have_the_boxes_of_pascal_voc(tmp_path):
    theirs = list_voc(BCCD, SourceOptions())
    expected = {}
    for item in list(theirs.items)[:12]:
        stem, lines = Path(item.place).stem, []
        raw = theirs.reader(item)
        for one in raw.notes["objects"]:
            x0, y0, x1, y1 = one["bbox"]
            shares = (x0 + x1) / 1280, (y0 + y1) / 960, (x1 - x0) / 640, (y1 - y0) / 480
            lines.append(" ".join([str(one["label"]), *(f"{v:.6f}" for v in shares)]))
        put(tmp_path / "src/images" / f"{stem}.jpg", raw.image)
        put(tmp_path / "src/labels" / f"{stem}.txt", "\n".join(lines))
        expected[f"images/{stem}"] = raw.notes["objects"]
    put(tmp_path / "src/classes.txt", "\n".join(theirs.classes))
    manifest, found, errors = convert(tmp_path / "src", tmp_path / "out")

    assert manifest.classes == theirs.classes
    assert found.keys() == expected.keys()
    for key, objects in expected.items():
        boxes, labels = annotated(found[key])
        assert labels == [one["label"] for one in objects]
        for box, one in zip(boxes, objects, strict=True):
            assert box == pytest.approx(one["bbox"], abs=1e-3)
    assert all(error["outcome"] == "kept" for error in errors)


@pytest.mark.parametrize("line", ["/home/bob/x/images", "C:\\x\\images", "x\\images"])
def test_a_description_of_another_machine_is_read_below_its_folder(tmp_path, line):
    src = pairs(tmp_path / "src", a=WHOLE)
    if not line.startswith(("/", "C")):
        src = pairs(tmp_path / "src" / "x", a=WHOLE).parent
    put(src / "data.yaml", f"path: /home/bob\ntrain: {line}\nval: {line}\nnames: [a]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert errors == []
    assert [annotated(sample) for sample in found.values()] == [([[0, 0, 48, 40]], [0])]


def test_a_list_of_another_machine_is_read_below_its_folder(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE, b=WHOLE)
    put(src / "t.txt", "/home/bob/x/images/a.jpg\r\nD:\\x\\images\\b.jpg\r\n")
    put(src / "data.yaml", "train: t.txt\nval: t.txt\nnames: [a]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert errors == []
    assert sorted(found) == ["images/a", "images/b"]


def test_backslashes_do_not_lead_out_of_the_set(tmp_path):
    src = pairs(tmp_path / "src", a=WHOLE)
    put(tmp_path / "secret" / "a.jpg", jpeg())
    put(src / "data.yaml", "train: images\nval: ..\\secret\nnames: [a]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert "lies outside of" in str(errors)


def test_class_ids_are_counted_behind_a_byte_order_mark(tmp_path):
    src = pairs(tmp_path / "src", a="\ufeff5 0.5 0.5 1 1\r\n1 0.5 0.5 1 1\r\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert errors == []
    assert found["images/a"]["bbox_labels"].tolist() == [5, 1]


def test_a_list_of_classes_that_is_no_utf8_is_refused_by_name(tmp_path):
    src = pairs(tmp_path, a=WHOLE)
    put(src / "classes.txt", "café".encode("latin-1"))

    with pytest.raises(
        DataRefused, match=r"classes\.txt.*save it as UTF-8, or give cl"
    ):
        list_yolo(src, SourceOptions())


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_label_that_is_no_file_does_not_make_background(tmp_path, kind):
    src = pairs(tmp_path / "src", a=WHOLE, b=None)
    label = src / "labels" / "b.txt"
    label.mkdir() if kind == "folder" else label.symlink_to("nowhere")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert "its label labels/b.txt is no file" in reasons(errors)["images/b"]


def test_labels_whose_folder_of_images_is_missing_are_reported(tmp_path):
    src = tmp_path / "src"
    put(src / "images/train/a.jpg", jpeg())
    put(src / "labels/train/a.txt", WHOLE)
    put(src / "labels/val/z.txt", WHOLE)
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/train/a"]
    assert reasons(errors) == {"labels/val/z": "labels/val/z.txt has no image"}


def test_a_folder_of_images_that_is_a_link_is_named_where_no_label_fits(tmp_path):
    put(tmp_path / "real" / "a.jpg", jpeg())
    put(tmp_path / "labels" / "a.txt", WHOLE)
    (tmp_path / "images").symlink_to("real")

    with pytest.raises(DataRefused, match=r"no label file.* passed over, as images"):
        list_yolo(tmp_path, SourceOptions())


def test_a_description_without_folders_is_named(tmp_path):
    src = pairs(tmp_path, a=WHOLE)
    put(src / "data.yaml", "train: # images\nval:\nnames: [a]\n")

    with pytest.raises(DataRefused, match=r"the \.yaml has no folder or list at train"):
        list_yolo(src, SourceOptions())


@pytest.mark.parametrize("name", ["images/b.jpg", "list.txt"])
def test_a_pipe_in_a_description_is_reported_and_not_waited_for(tmp_path, name):
    src = pairs(tmp_path / "src", a=WHOLE)
    os.mkfifo(src / name)
    put(src / "data.yaml", f"train: images\nval: {name}\nnames: [a]\n")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["images/a"]
    assert "is no folder, list or image" in str(errors)
