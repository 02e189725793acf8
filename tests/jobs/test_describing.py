"""Laws of what the index says of a sample."""

import pytest
from sets import cut_jpeg, photo

from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.index import DECODES


def facts_of(**members):
    describe = Describer(decode=members.pop("decode", False))
    return describe("k", members)


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"cls": b"3"}, 3),
        ({"cls": b"3\n"}, 3),
        ({"cls": b"007"}, 7),
        ({"cls": b"-1"}, -1),
        ({"cls": b"3.0"}, -1),
        ({"cls": b"cat"}, -1),
        ({"cls": b"\xff"}, -1),
        ({"cls": b"99999999999999999999"}, -1),
        ({"json": b'{"label": 4}'}, 4),
        ({"json": b'{"class": 4}'}, 4),
        ({"json": b'{"label": true}'}, 1),
        ({"json": b'{"label": [1, 0]}'}, -1),
        ({"json": b'{"label": 1e300}'}, -1),
        ({"json": b"[4]"}, -1),
        ({"json": b"{"}, -1),
        ({"cls": b"1", "json": b'{"label": 4}'}, 1),
        ({}, -1),
    ],
    ids=list("abcdefghijklmnopq"),
)
def test_the_index_knows_the_class_that_training_gets(members, label):
    assert facts_of(**members).label == label


def test_the_index_knows_size_turn_and_boxes():
    jpeg = encode_image(photo(0), "jpeg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = (
        jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    )
    boxes = b'{"objects": [{"bbox": [0, 0, 1, 1]}, {}]}'

    facts = facts_of(jpg=turned, json=boxes)

    assert (facts.width, facts.height, facts.orientation, facts.boxes) == (40, 48, 6, 2)
    assert facts_of(jpg=b"no image")[1:4] == (0, 0, 0)
    assert facts_of(jpg=jpeg).flags == 0
    assert facts_of(jpg=jpeg, decode=True).flags == DECODES
    assert facts_of(jpg=cut_jpeg(0), decode=True).flags == 0
    assert facts_of(jpg=cut_jpeg(0), decode=True).width == 160
