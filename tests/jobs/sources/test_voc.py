"""Laws of Pascal VOC: every box under its photo, and every trouble in the report."""

import os
import pickle
import shutil
import unicodedata
from html import escape
from io import BytesIO
from xml.etree import ElementTree as ET

import numpy as np
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
from fiberaug.jobs.sources.voc import list_voc, looks_like_voc

BCCD = DATA / "bccd"
DOG, CAT = ("dog", (3, 4, 20, 30)), ("cat", (0, 0, 48, 40))


def annotation(*objects, filename="", size=(48, 40)):
    """Write what LabelImg writes; an object is a name, a box and further XML."""
    text = f"<annotation>\n<filename>{escape(filename)}</filename>\n"
    if size is not None:
        text += f"<size><width>{size[0]}</width><height>{size[1]}</height></size>\n"
    for name, box, *more in objects:
        edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        inner = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
        text += f"<object><name>{escape(name)}</name>{''.join(more)}\n"
        text += f"<bndbox>{inner}</bndbox></object>\n"
    return text + "</annotation>\n"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jpeg(i=0):
    return encode_image(photo(i), "jpeg")


def turned(orientation):
    """Return a JPEG of 48x40 stored px with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(photo(0)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def voc(root, **sets):
    """Write a set in VOC's layout: objects by the stem of the photo."""
    for i, (stem, objects) in enumerate(sets.items()):
        put(root / "JPEGImages" / f"{stem}.jpg", jpeg(i))
        text = annotation(*objects, filename=f"{stem}.jpg")
        put(root / "Annotations" / f"{stem}.xml", text)
    return root


def convert(src, dst, frame=None, **options):
    """Convert, and return the manifest, the samples and the lines of the report."""
    source = list_voc(src, SourceOptions(**options))
    manifest = converted(source, dst, frame=frame)
    return manifest, streamed(dst), report(dst)


def annotated(sample):
    return sample["bboxes"].tolist(), sample["bbox_labels"].tolist()


def test_every_box_arrives_under_its_photo_with_the_class_of_its_name(tmp_path):
    voc(tmp_path / "voc", a=[DOG, CAT], b=[], c=[("ape", (1.5, 2.25, 3, 4))])
    manifest, found, errors = convert(tmp_path / "voc", tmp_path / "out")

    assert manifest.classes == ("ape", "cat", "dog")
    assert errors == []
    assert list(found) == ["JPEGImages/a", "JPEGImages/b", "JPEGImages/c"]
    assert annotated(found["JPEGImages/a"]) == (
        [[3, 4, 20, 30], [0, 0, 48, 40]],
        [2, 1],
    )
    assert annotated(found["JPEGImages/b"]) == ([], [])
    assert annotated(found["JPEGImages/c"]) == ([[1.5, 2.25, 3, 4]], [0])


@settings(max_examples=25, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(
            st.text("äß &<>光ab", min_size=1).filter(str.strip),
            st.tuples(*[st.floats(-5, 60, width=16) for _ in range(4)]),
        ),
        max_size=5,
    ),
    origin=st.sampled_from([0, 1]),
)
def test_any_boxes_are_read_as_they_stand(tmp_path_factory, boxes, origin):
    src = voc(tmp_path_factory.mktemp("voc"), a=boxes)
    source = list_voc(src, SourceOptions(origin=origin))
    raw = source.reader(source.items[0])

    names = [unicodedata.normalize("NFC", name.strip()) for name, _ in boxes]
    assert source.classes == tuple(sorted(set(names)))
    assert [source.classes[one["label"]] for one in raw.notes["objects"]] == names
    assert [one["bbox"] for one in raw.notes["objects"]] == [
        [x0 - origin, y0 - origin, x1, y1] for _, (x0, y0, x1, y1) in boxes
    ]
    assert raw.stated == (48, 40)


def test_with_origin_1_the_first_pixel_is_1_and_the_last_belongs_to_the_box(tmp_path):
    voc(tmp_path / "voc", a=[("dog", (1, 1, 48, 40))])
    _, found, _ = convert(tmp_path / "voc", tmp_path / "out", origin=1)

    assert annotated(found["JPEGImages/a"])[0] == [[0, 0, 48, 40]]
    with pytest.raises(UsageError, match="origin must be 0 or 1, got 2"):
        list_voc(tmp_path / "voc", SourceOptions(origin=2))


def test_what_else_is_said_of_an_object_is_kept_and_parts_are_named(tmp_path):
    more = (
        "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
        "<occluded>1</occluded><label>x</label><part><name>head</name></part>"
    )
    source = list_voc(voc(tmp_path, a=[(*DOG, more)]), SourceOptions())
    raw = source.reader(source.items[0])

    assert raw.notes["objects"] == [
        {"bbox": [3, 4, 20, 30], "label": 0, "pose": "Left", "truncated": 1,
         "difficult": 0, "occluded": 1}
    ]  # fmt: skip
    assert source.said.endswith("left out of objects: <label>, <part>")


def test_files_of_labelimg_lie_beside_their_photos(tmp_path):
    src = tmp_path / "src"
    put(src / "one.PNG", encode_image(photo(1), "png"))
    put(src / "one.xml", annotation(DOG, filename="one.PNG"))
    put(src / "deep/two.jpg", jpeg())
    put(src / "deep/two.xml", annotation(CAT, filename="C:\\photos\\two.jpg"))
    put(src / "deep/renamed.jpg", jpeg())
    put(src / "deep/renamed.xml", annotation(CAT, filename="old name.jpg"))
    put(src / "by name.jpg", jpeg())
    put(src / "0001.xml", annotation(DOG, filename="by name.jpg"))
    _, found, errors = convert(src, tmp_path / "out")

    assert errors == []
    assert {key: annotated(sample)[1] for key, sample in found.items()} == {
        "by name": [1], "deep/renamed": [0], "deep/two": [0], "one": [1],
    }  # fmt: skip


def test_a_copied_filename_does_not_take_the_photo_of_another(tmp_path):
    """Augmented copies keep the ``<filename>`` of their original."""
    src = tmp_path / "src"
    for stem, one in (("a", DOG), ("a_flip", CAT)):
        put(src / f"{stem}.jpg", jpeg())
        put(src / f"{stem}.xml", annotation(one, filename="a.jpg"))
    put(src / "b.xml", annotation(CAT, filename="a.jpg"))
    _, found, errors = convert(src, tmp_path / "out")

    assert {key: annotated(sample)[1] for key, sample in found.items()} == {
        "a": [1], "a_flip": [0],
    }  # fmt: skip
    assert [(e["key"], e["reason"].split(" [")[0]) for e in errors] == [
        ("b", "b.xml: its image a.jpg has its annotation in a.xml")
    ]


def test_several_sets_lie_side_by_side_as_in_the_devkit(tmp_path):
    for year, one in (("VOC2007", DOG), ("VOC2012", CAT)):
        voc(tmp_path / "kit" / year, a=[one])
    _, found, errors = convert(tmp_path / "kit", tmp_path / "out")

    assert errors == []
    assert annotated(found["VOC2007/JPEGImages/a"])[1] == [1]
    assert annotated(found["VOC2012/JPEGImages/a"])[1] == [0]
    assert looks_like_voc(tmp_path / "kit")


@pytest.mark.parametrize("listed", ["train", "ImageSets/Main/train.txt", "{}/own.txt"])
def test_a_list_restricts_the_set_and_leaves_the_ids_as_they_are(tmp_path, listed):
    src = voc(tmp_path / "voc", a=[DOG], b=[CAT], c=[DOG], **{"d 1": [("eel", CAT[1])]})
    put(src / "JPEGImages/bare.jpg", jpeg())
    for path in (src / "ImageSets/Main/train.txt", tmp_path / "own.txt"):
        put(path, "\ufeffc\r\nd 1\n\nb.jpg\nc\ngone\n")
    manifest, found, errors = convert(
        src, tmp_path / "out", listed=listed.format(tmp_path)
    )

    assert sorted(found) == ["JPEGImages/b", "JPEGImages/c", "JPEGImages/d 1"]
    assert manifest.classes == ("cat", "dog", "eel")
    assert annotated(found["JPEGImages/c"])[1] == [1]
    assert [e["reason"].split(" of ")[0] for e in errors] == ["gone"]


def test_a_list_that_is_not_there_or_fits_nothing_is_the_users_error(tmp_path):
    src = voc(tmp_path, a=[DOG])
    put(src / "ImageSets/Main/dog_train.txt", "a -1\nb  1\n")

    with pytest.raises(UsageError, match=r"no list val: .*ImageSets/Main/val\.txt"):
        list_voc(src, SourceOptions(listed="val"))
    with pytest.raises(UsageError, match="a list has a name a line, no more"):
        list_voc(src, SourceOptions(listed="dog_train"))


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_without_a_size_the_frame_is_asked_for(tmp_path, size):
    src = tmp_path / "src"
    put(src / "a.jpg", turned(6))
    put(src / "a.xml", annotation(("dog", (0, 0, 10, 20)), size=size))
    source = list_voc(src, SourceOptions())

    with pytest.raises(FrameUnknown, match="--annotation-frame"):
        converted(source, tmp_path / "none")
    for frame, box in (("upright", [0, 0, 10, 20]), ("stored", [20, 0, 40, 10])):
        _, found, _ = convert(src, tmp_path / frame, frame=frame)
        assert annotated(found["a"])[0] == [box]


def test_a_size_tells_the_frame(tmp_path):
    src = tmp_path / "src"
    for stem, size in (("stored", (48, 40)), ("upright", (40, 48)), ("other", (9, 9))):
        put(src / f"{stem}.jpg", turned(6))
        put(src / f"{stem}.xml", annotation(("dog", (0, 0, 10, 20)), size=size))
    _, found, errors = convert(src, tmp_path / "out")

    assert annotated(found["stored"])[0] == [[20, 0, 40, 10]]
    assert annotated(found["upright"])[0] == [[0, 0, 10, 20]]
    assert ["9x9 px" in e["reason"] for e in errors] == [True]


def test_masks_of_classes_are_kept_byte_for_byte(tmp_path):
    src = voc(tmp_path / "voc", a=[DOG], b=[CAT])
    ids = np.zeros((40, 48), np.uint8)
    ids[4:30, 3:20] = 15
    ids[4, 3:20] = 255
    coloured = Image.fromarray(ids, "P")
    coloured.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    coloured.save(file := BytesIO(), "PNG")
    mask = file.getvalue()
    for kind in ("SegmentationClass", "SegmentationObject"):
        put(src / kind / "a.png", mask)
    put(src / "SegmentationClass/lost.png", mask)
    source = list_voc(src, SourceOptions())
    raw = source.reader(source.items[0])

    assert dict(raw.members) == {"mask.png": mask, "mask.objects.png": mask}
    assert source.fields["mask?"] == "mask.png"
    _, found, errors = convert(src, tmp_path / "out")
    assert (found["JPEGImages/a"]["mask"].numpy() == ids).all()
    assert found["JPEGImages/b"].get("mask") is None
    assert [e["reason"].split(" [")[0] for e in errors] == [
        "SegmentationClass/lost.png has no image"
    ]


BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM
"file:///etc/hostname">]>
<annotation><filename>&b;&c;</filename></annotation>"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "line 2: has a DOCTYPE, which is refused"),
        ("<annotation>\n<object>\n</annotation>", "line 3: is no XML: mismatched tag"),
        ("", "line 1: is no XML: no element found"),
        (b"\xff\xd8\xff\xe0", "line 1: is no XML: not well-formed"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "is no XML: unknown"),
        ("<html/>", "line 1: is <html>, not Pascal VOC's <annotation>"),
        (annotation(("dog", (1, 2, "x", 4))), "line 5: bndbox/xmax is 'x', no finite"),
        (annotation(("dog", (1, "nan", 3, 4))), "line 5: bndbox/ymin is 'nan'"),
        (annotation(("dog", (1, 2, 3, "1e999"))), "line 5: bndbox/ymax is '1e999'"),
        (annotation(("", (1, 2, 3, 4))), "line 4: the object has no <name>"),
        (annotation(size=("w", 4)), "line 3: size/width is 'w', no finite number"),
        ("<annotation>\n<object><name>a</name></object></annotation>",
         "line 2: 'a' has no <bndbox>"),
        (annotation(("dog", (1, 2, 3, 1e38))), "line 5: bndbox/ymax is '1e+38', no"),
        (annotation(size=("1e300", 4)), "line 3: size/width is '1e300', no finite"),
        ('<?xml version="1.0" encoding="gb2312"?><annotation/>', "is no XML: multi-"),
        ("<annotations/>", "line 1: is CVAT's <annotations>; export it as COCO or"),
    ],
    ids=list("abcdefghijklmnop"),
)  # fmt: skip
def test_a_broken_file_costs_its_own_sample_and_names_the_line(tmp_path, text, reason):
    src = voc(tmp_path / "voc", a=[DOG], b=[CAT])
    put(src / "Annotations/a.xml", text)
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["JPEGImages/b"]
    (error,) = errors
    assert error["outcome"] == "left out"
    assert error["path"] == str(src / "JPEGImages/a.jpg")
    assert error["reason"].startswith(f"Annotations/a.xml {reason}")


def test_deep_nesting_ends_in_an_error_and_not_in_a_crash(tmp_path):
    src = voc(tmp_path, a=[DOG], b=[DOG])
    put(src / "Annotations/a.xml", "<annotation>" * 200_000)
    source = list_voc(src, SourceOptions())

    assert "1 error" in source.said


def test_neither_a_photo_nor_an_annotation_is_lost_silently(tmp_path):
    src = voc(tmp_path / "voc", a=[DOG], c=[CAT])
    put(src / "JPEGImages/bare.jpg", jpeg())
    (src / "JPEGImages/c.jpg").unlink()
    put(src / "JPEGImages/cut.jpg", b"no photo")
    put(src / "Annotations/cut.xml", annotation(DOG))
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["JPEGImages/a"]
    assert {e["key"]: e["reason"].split(" [")[0] for e in errors} == {
        "JPEGImages/bare": "JPEGImages/bare.jpg has no annotation",
        "JPEGImages/cut": "the bytes are no image: none of BMP, GIF, JPEG, PNG, PPM,"
        " TIFF, WEBP",
        "Annotations/c": "Annotations/c.xml: its image c.jpg is not there",
    }


def test_a_photo_outside_is_an_error_that_names_it_unless_it_is_allowed(tmp_path):
    src = tmp_path / "src"
    put(tmp_path / "elsewhere.jpg", jpeg(1))
    put(src / "a.xml", annotation(DOG, filename="../elsewhere.jpg"))
    put(src / "b.xml", annotation(CAT, filename="link.jpg"))
    put(src / "c.jpg", jpeg(2))
    put(src / "c.xml", annotation(CAT))
    (src / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    _, found, errors = convert(src, tmp_path / "out")

    assert list(found) == ["c"]
    assert [e["reason"].split(" lies")[0] for e in errors] == [
        "a.xml: its image ../elsewhere.jpg", "b.xml: its image link.jpg",
    ]  # fmt: skip
    assert all("--allow-outside" in e["reason"] for e in errors)
    _, found, errors = convert(src, tmp_path / "all", allow_outside=True)
    assert sorted(found) == ["c", "elsewhere", "link"]
    assert errors == []


def test_given_classes_set_the_ids_and_an_unknown_one_is_named_with_its_line(tmp_path):
    src = voc(tmp_path / "voc", a=[DOG, CAT])
    manifest, found, _ = convert(src, tmp_path / "out", classes=["dog", "eel", "cat"])

    assert manifest.classes == ("dog", "eel", "cat")
    assert annotated(found["JPEGImages/a"])[1] == [0, 2]
    with pytest.raises(UsageError, match=r"'cat' of .*a\.xml line 6 is none of"):
        list_voc(src, SourceOptions(classes=["dog"]))


@pytest.mark.parametrize(
    "stem", ["a b", "Größe 光", "x" * 200, "img.v2", "50%", "a'\""]
)
def test_any_name_works_written_either_way(tmp_path, stem):
    there = unicodedata.normalize("NFD", stem)
    voc(tmp_path / "voc", a=[CAT])
    put(tmp_path / "voc/JPEGImages" / f"{there}.jpg", jpeg())
    text = annotation((stem, DOG[1]), filename=f"{stem}.jpg")
    put(tmp_path / "voc/Annotations" / f"{stem}.xml", text)
    put(tmp_path / "voc/JPEGImages" / f"_{there}.jpg", jpeg())
    put(tmp_path / "voc/Annotations" / f"_{stem}.xml", text.replace("filename", "f"))
    put(tmp_path / "voc/ImageSets/Main/one.txt", f"{there}\n_{stem}\n")
    manifest, found, errors = convert(tmp_path / "voc", tmp_path / "out", listed="one")

    assert errors == []
    assert len(found) == 2
    for boxes, (label,) in map(annotated, found.values()):
        assert boxes == [[3, 4, 20, 30]]
        assert manifest.classes[label] == unicodedata.normalize("NFC", stem)


def test_bytes_that_are_no_text_in_a_name_do_no_harm(tmp_path):
    src = voc(tmp_path / "voc", a=[DOG])
    name = os.fsdecode(b"caf\xe9")
    put(src / f"JPEGImages/{name}.jpg", jpeg())
    put(src / f"Annotations/{name}.xml", annotation(CAT))
    _, found, errors = convert(src, tmp_path / "out")

    assert annotated(found["JPEGImages/caf%E9"])[1] == [0]
    assert errors == []


def test_the_source_is_told_from_others(tmp_path):
    voc(tmp_path / "voc", a=[DOG])
    put(tmp_path / "labelimg/a.xml", annotation(DOG))
    put(tmp_path / "other/a.xml", "<project/>")
    put(tmp_path / "folder/dog/a.jpg", jpeg())

    assert looks_like_voc(tmp_path / "voc")
    assert looks_like_voc(tmp_path / "labelimg")
    assert not looks_like_voc(tmp_path / "other")
    assert not looks_like_voc(tmp_path / "folder")
    assert not looks_like_voc(tmp_path / "voc/Annotations/a.xml")
    with pytest.raises(DataRefused, match=r"folder has no \.xml file"):
        list_voc(tmp_path / "folder", SourceOptions())
    with pytest.raises(UsageError, match="no folder"):
        list_voc(tmp_path / "gone", SourceOptions())


def test_a_moved_set_has_the_same_items_and_the_same_reader(tmp_path):
    voc(tmp_path / "one", b=[DOG], a=[CAT])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (list_voc(tmp_path / n, SourceOptions()) for n in ("one", "two"))

    assert one.items.digest() == two.items.digest()
    assert repr(one.reader) == repr(two.reader)
    assert pickle.loads(pickle.dumps(one.reader)) == one.reader


@pytest.mark.data
@pytest.mark.skipif(not BCCD.is_dir(), reason="FIBERAUG_DATA names no folder")
def test_all_blood_cells_have_the_boxes_of_an_independent_reading(tmp_path):
    manifest, found, errors = convert(BCCD, tmp_path / "out")
    ids = {name: i for i, name in enumerate(manifest.classes)}
    total = 0
    for path in (BCCD / "Annotations").glob("*.xml"):
        tree = ET.parse(path)  # noqa: S314  # our own copy
        boxes, labels = annotated(found[f"JPEGImages/{path.stem}"])
        assert labels == [ids[one.findtext("name")] for one in tree.iter("object")]
        assert boxes == [
            [float(box.findtext(e)) for e in ("xmin", "ymin", "xmax", "ymax")]
            for box in tree.iter("bndbox")
        ]
        total += len(boxes)

    assert manifest.classes == ("Platelets", "RBC", "WBC")
    assert (len(found), total) == (364, 4888)
    assert [(e["key"], e["outcome"]) for e in errors] == [
        ("JPEGImages/BloodImage_00338", "kept"),
        ("JPEGImages/BloodImage_00343", "kept"),
    ]
    assert all("has no area" in e["reason"] for e in errors)
    listed = list_voc(BCCD, SourceOptions(listed="train"))
    assert len(listed.items) == 205


@pytest.mark.parametrize("name", [".idea/workspace.xml", "build.xml", "a/other.xml"])
def test_xml_files_of_other_tools_do_not_hide_a_set(tmp_path, name):
    src = voc(tmp_path, a=[DOG])
    put(src / name, "<project/>")

    assert looks_like_voc(src)
    assert not looks_like_voc((src / name).parent) or name == "build.xml"


def test_a_set_is_told_by_files_in_upper_case_and_in_utf_16(tmp_path):
    put(tmp_path / "upper" / "A.XML", annotation(DOG))
    put(tmp_path / "wide" / "a.xml", annotation(DOG).encode("utf-16"))

    assert looks_like_voc(tmp_path / "upper")
    assert looks_like_voc(tmp_path / "wide")


@pytest.mark.parametrize("named", ["a", "a.png", "C:\\sets\\a", "/home/me/a.bmp"])
def test_an_image_is_found_without_its_extension_or_with_another(tmp_path, named):
    put(tmp_path / "src" / "a.jpg", jpeg())
    put(tmp_path / "src" / "x1.xml", annotation(DOG, filename=named))
    _, found, errors = convert(tmp_path / "src", tmp_path / "out")

    assert errors == []
    assert found["a"]["bboxes"].tolist() == [list(DOG[1])]


def test_an_image_of_its_own_name_goes_before_one_without_extension(tmp_path):
    for i, stem in enumerate(["a", "b", "c"]):
        put(tmp_path / "src" / f"{stem}.jpg", jpeg(i))
    put(tmp_path / "src" / "b.xml", annotation(DOG, filename="a.png"))
    put(tmp_path / "src" / "c.xml", annotation(CAT, filename="c.jpg"))
    put(tmp_path / "src" / "d.xml", annotation(CAT, filename="c.png"))
    _, found, errors = convert(tmp_path / "src", tmp_path / "out")

    assert found["b"]["bboxes"].tolist() == [list(DOG[1])]
    assert {e["key"]: e["reason"].split(" [")[0] for e in errors} == {
        "a": "a.jpg has no annotation", "d": "d.xml: its image c.png is not there"
    }  # fmt: skip


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("named", ["b" * 5000 + ".jpg", "b/" * 3000 + "c.jpg"])
def test_a_name_too_long_for_a_file_costs_one_sample(tmp_path, named, outside):
    src = voc(tmp_path / "src", a=[DOG])
    put(src / "Annotations" / "x.xml", annotation(DOG, filename=named))
    _, found, errors = convert(src, tmp_path / "out", allow_outside=outside)

    assert list(found) == ["JPEGImages/a"]
    assert [e["key"] for e in errors] == ["Annotations/x"]
    assert len(errors[0]["reason"]) < 400


def test_annotations_may_lie_in_labels(tmp_path):
    put(tmp_path / "src/images/a.jpg", jpeg())
    put(tmp_path / "src/labels/a.xml", annotation(DOG, filename="a.jpg"))
    _, found, errors = convert(tmp_path / "src", tmp_path / "out")

    assert errors == []
    assert found["images/a"]["bboxes"].tolist() == [list(DOG[1])]


def test_what_is_left_out_of_an_object_is_said(tmp_path):
    more = "<pose>Left</pose><pose>Right</pose><segmentation>x</segmentation>"
    src = voc(tmp_path, a=[(*DOG, more)])
    source = list_voc(src, SourceOptions())
    (item,) = source.items

    assert "left out of objects: <segmentation>, a second <pose>" in source.said
    assert source.reader(item).notes["objects"][0]["pose"] == "Left"
    assert "segmentation" not in source.reader(item).notes["objects"][0]
