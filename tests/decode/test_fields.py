"""Laws of the field mapping: what is written is read, and ``auto`` says what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.decode.fields import (
    AUTO,
    FieldSpec,
    Source,
    describe_fields,
    parse_fields,
    resolve_auto,
)
from fiberaug.errors import UsageError

step = st.text("abcXYZ_0", min_size=1, max_size=5)
source = st.one_of(
    st.sampled_from(["jpg", "png", "mask.png", "cls"]),
    st.lists(st.tuples(step, st.booleans()), min_size=1, max_size=3).map(
        lambda steps: "json:" + ".".join(s + "[]" * many for s, many in steps)
    ),
)
mapping = st.dictionaries(
    st.sampled_from(["label", "mask?", "bboxes", "caption?", "depth", "x_1?"]),
    st.lists(source, min_size=1, max_size=3, unique=True).map(";".join),
    max_size=4,
).map(lambda fields: {"image": "jpg"} | fields)


@given(mapping)
def test_a_mapping_is_written_back_as_it_was_given(fields):
    """The run manifest keeps it in this form."""
    specs = parse_fields(fields)

    written = {spec.name + "?" * spec.optional: str(spec) for spec in specs}
    assert written == fields
    assert parse_fields(written) == specs


def test_a_source_is_a_member_or_a_path_in_json():
    (image, boxes) = parse_fields(
        {"image": " .JPG ; png;", "bboxes?": "meta.json:objects[].bbox"}
    )

    assert image == FieldSpec("image", (Source("jpg"), Source("png")))
    assert boxes == FieldSpec(
        "bboxes", (Source("meta.json", ("objects", "[]", "bbox")),), optional=True
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("everything", "auto, classification, detection"),
        (["image"], "mapping"),
        (None, "mapping"),
        ({}, "must name the image"),
        ({"label": "cls"}, "must name the image"),
        ({"image": "jpg", "1st": "cls"}, "'1st' cannot"),
        ({"image": "jpg", "__key__": "cls"}, "'__key__' cannot"),
        ({"image": "jpg", "record": "json"}, "'record' cannot"),
        ({"image": "jpg", "is_pad?": "cls"}, "cannot be the name"),
        ({"image": "jpg", 7: "cls"}, "7 cannot"),
        ({"image": ""}, "no source"),
        ({"image": " ; "}, "no source"),
        ({"image": ["jpg"]}, "must be text"),
        ({"image": "jpg", "label": "cls:a"}, "extension such as jpg, or"),
        ({"image": "jpg", "label": ":a"}, "extension such as jpg, or"),
        ({"image": "jpg", "label": "json:a..b"}, "objects"),
        ({"image": "jpg", "label": "json:"}, "objects"),
        ({"image": "jpg", "label": "json:[]"}, "objects"),
        ({"image": "jpg", "mask": "png", "mask?": "png"}, "twice"),
    ],
)
def test_a_mapping_that_is_not_understood_is_named(fields, words):
    with pytest.raises(UsageError, match=words):
        parse_fields(fields)


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("classification", ["image", "label"]),
        ("detection", ["image", "bboxes", "bbox_labels"]),
        ("segmentation", ["image", "mask"]),
        ("image", ["image"]),
    ],
)
def test_a_preset_is_a_mapping_of_required_fields(preset, names):
    specs = parse_fields(preset)

    assert [spec.name for spec in specs] == names
    assert not any(spec.optional for spec in specs)


ALL_BOXES = (
    "image <- jpg, bboxes? <- json:objects[].bbox, bbox_labels? <- json:objects[].label"
)
DETECTION = {"objects": [{"bbox": [0, 0, 1, 1], "label": 3}], "caption": "two ends"}


@pytest.mark.parametrize(
    ("extensions", "metadata", "line"),
    [
        (["jpg"], {}, "image <- jpg"),
        (["cls", "jpg", "xyz"], {}, "image <- jpg, label <- cls, ignored: xyz"),
        (["mask.png", "png"], {}, "image <- png, mask <- mask.png"),
        # img2dataset: 000000000.jpg, .txt and .json
        (["jpg", "json", "txt"], {"caption": "a", "url": "http://x", "width": 9},
         "image <- jpg, caption? <- txt, ignored: json"),
        (["jpg", "json"], {"label": 3}, "image <- jpg, label <- json:label"),
        (["jpg", "json"], {"class": "cat"}, "image <- jpg, label <- json:class"),
        (["jpg", "json"], DETECTION, f"{ALL_BOXES}, caption? <- json:caption"),
        # A first sample without objects says nothing of the others.
        (["jpg", "json"], {"objects": []}, ALL_BOXES),
        (["jpg", "json"], {"objects": [{"bbox": [0, 0, 1, 1]}]},
         "image <- jpg, bboxes? <- json:objects[].bbox"),
        (["jpg", "json"], {"objects": [7]}, "image <- jpg, ignored: json"),
        (["jpg", "json"], {"objects": {}}, "image <- jpg, ignored: json"),
        (["jpg", "json"], {}, "image <- jpg, ignored: json"),
        (["jpg", "json"], [], "image <- jpg, ignored: json"),
    ],
    ids=list("abcdefghijklm"),
)  # fmt: skip
def test_auto_finds_what_the_first_sample_has(extensions, metadata, line):
    specs = resolve_auto(extensions, {"json": metadata})

    assert describe_fields(specs, extensions) == line


def test_an_image_of_another_format_is_still_the_image():
    """A folder mixes .jpg and .png; the first sample has one of them."""
    formats = {s.extension for s in resolve_auto(["jpg", "cls"], {})[0].sources}

    assert formats == set(AUTO["image"].split(";"))


def test_what_lies_beside_the_first_image_is_never_the_image():
    """A mask in .png must not stand in for a photo that is missing."""
    image, *_ = resolve_auto(["jpg", "png"], {})

    assert image.sources[0] == Source("jpg")
    assert Source("png") not in image.sources
    assert describe_fields([image], ["jpg", "png"]) == "image <- jpg, ignored: png"


def test_a_set_without_images_is_told_what_to_say():
    with pytest.raises(UsageError, match=r"\['cls', 'wav'\].*fields="):
        resolve_auto(["wav", "cls"], {})


def test_a_field_that_the_first_sample_lacks_shows_all_its_sources():
    specs = parse_fields({"image": "jpg;png", "caption?": "txt;json:caption"})

    assert describe_fields(specs, ["png"]) == (
        "image <- png, caption? <- txt;json:caption"
    )
