"""Laws of written Pascal VOC: any parser reads what was said, to the last digit."""

from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.voc import check_names, to_xml

EDGES = ("xmin", "ymin", "xmax", "ymax")
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"],
                  exclude_characters="\ufffe\uffff"),
    min_size=1, max_size=200,
).filter(lambda text: text == text.strip())  # fmt: skip
NUMBER = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))
BOX = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).map(list)


def parsed(xml):
    """Read a file by hand: size, and name, box and the rest of each object."""
    tree = ET.fromstring(xml)  # noqa: S314  # our own text
    size = tuple(int(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    objects = []
    for node in tree.findall("object"):
        box = [float(node.findtext(f"bndbox/{edge}")) for edge in EDGES]
        rest = {n.tag: n.text for n in node if n.tag not in {"name", "bndbox"}}
        objects.append((node.findtext("name"), box, rest))
    return tree, size, objects


@given(st.lists(st.tuples(TEXT, BOX, TEXT), max_size=4), st.sampled_from([0, 1]), TEXT)
def test_any_names_boxes_and_texts_are_read_back_as_they_were(things, origin, name):
    classes = sorted({name for name, _, _ in things}) or ["x"]
    check_names(classes)
    objects = [
        {"bbox": box, "label": classes.index(name), "pose": text, "difficult": 1}
        for name, box, text in things
    ]
    one = Annotated(f"{name.replace('/', '_')}.jpg", 640, 480, objects)
    tree, size, found = parsed(to_xml(one, classes, origin=origin))

    assert size == (640, 480)
    assert tree.findtext("filename") == one.file
    assert found == [
        (
            name,
            [box[0] + origin, box[1] + origin, box[2], box[3]],
            {"pose": text, "difficult": "1"},
        )
        for name, box, text in things
    ]


def test_whole_numbers_have_no_point_and_others_all_their_digits():
    box = [3.0, 1 / 3, 20, 1e-7]
    xml = to_xml(Annotated("a.jpg", 1, 1, [{"bbox": box, "label": 0}]), ["a"])

    assert b"<xmin>3</xmin>" in xml
    assert f"<ymin>{1 / 3!r}</ymin>".encode() in xml
    assert b"<xmax>20</xmax>" in xml
    assert float(ET.fromstring(xml).findtext("object/bndbox/ymax")) == 1e-7  # noqa: S314


def test_a_text_keeps_its_own_line_ends():
    one = {"bbox": [0, 0, 1, 1], "label": 0, "note": "a\r\nb\rc\nd\te"}
    _, _, ((_, _, rest),) = parsed(to_xml(Annotated("a.jpg", 1, 1, [one]), ["a"]))

    assert rest["note"] == one["note"]


def test_what_it_cannot_hold_is_counted_by_name_and_what_says_nothing_is_not():
    lost = Counter()
    one = {"bbox": [0, 0, 1, 1], "label": 0, "segmentation": [[1, 2, 3, 4, 5, 6]],
           "two words": 1, "name": "x", "empty": None, "none": "", "score": 0.5,
           "crowd": True}  # fmt: skip
    xml = to_xml(Annotated("a.jpg", 1, 1, [one, one]), ["a"], lost=lost)

    assert lost == {
        "segmentation of objects": 2, "two words of objects": 2, "name of objects": 2,
    }  # fmt: skip
    assert parsed(xml)[2][1][2] == {"score": "0.5", "crowd": "1"}


@pytest.mark.parametrize(
    "name", ["", " a", "a\n", "a\0b", "a\x1bb", "\ud800", "\uffff"]
)
def test_class_names_that_no_parser_gives_back_are_refused_before_anything(name):
    with pytest.raises(UsageError, match=r"class 1 .*Pascal VOC cannot hold it"):
        check_names(["fine", name])


def test_a_text_that_xml_lacks_breaks_its_sample():
    one = {"bbox": [0, 0, 1, 1], "label": 0, "pose": "a\0"}
    with pytest.raises(SampleBroken, match=r"U\+0000, which XML lacks"):
        to_xml(Annotated("a.jpg", 1, 1, [one]), ["a"])


def test_the_folder_of_an_image_is_told_and_that_it_has_a_mask():
    tree, _, _ = parsed(to_xml(Annotated("x/y/a.jpg", 1, 1, []), [], segmented=True))

    assert tree.findtext("folder") == "JPEGImages/x/y"
    assert tree.findtext("filename") == "a.jpg"
    assert tree.findtext("segmented") == "1"
