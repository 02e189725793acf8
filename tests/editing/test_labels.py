"""Which labels an edited photo keeps: the table, row by row."""

import pytest

from fiberaug.editing.labels import Fates, judge
from fiberaug.editing.options import EditOptions
from fiberaug.editing.painting import Painted
from fiberaug.editing.regions import Region
from fiberaug.tiling import Window

WINDOW = Window(0, 0, 10, 10)


def judged(strength, touched=(1.0, 0.0), *, asked=False, number=0, **options):
    region = Region("bboxes", WINDOW, WINDOW, 0, number)
    edit = Painted(region, 0, strength, {}, {})
    return judge(EditOptions(**options), [edit], touched, asked=asked)


def test_what_nothing_was_painted_over_is_inherited_whatever_the_mode():
    for mode in ("inpaint", "image-to-image", "controlnet-inpaint"):
        for labels in ("auto", "keep", "drop-edited"):
            found = judged(1.0, (0.0, 0.0), mode=mode, labels=labels)
            assert found.objects == {}


@pytest.mark.parametrize(
    ("strength", "asked", "mode", "region", "wanted"),
    [
        (0.3, False, "image-to-image", "bboxes",
         ("inherited", "inherited", "inherited", "inherited", "inherited")),
        (0.5, False, "image-to-image", "bboxes",
         ("inherited", "ignored", "dropped", "inherited", "inherited")),
        (0.6, False, "controlnet-image-to-image", "bboxes",
         ("unchecked", "inherited", "inherited", "unchecked", "unchecked")),
        (1.0, True, "inpaint", "mask",
         ("asked", "inherited", "dropped", "unchecked", "unchecked")),
        (1.0, True, "inpaint", "bboxes",
         ("asked", "ignored", "dropped", "unchecked", "unchecked")),
        (0.6, False, "inpaint", "bboxes",
         ("dropped", "ignored", "dropped", "dropped", "unchecked")),
    ],
)  # fmt: skip
def test_the_table_holds(strength, asked, mode, region, wanted):
    found = judged(strength, asked=asked, mode=mode, region=region)

    assert found.objects.get(0) == wanted[0]
    assert 1 not in found.objects
    told = (found.mask, found.points, found.caption, found.label)
    assert told == wanted[1:]


@pytest.mark.parametrize(
    ("strength", "caption"), [(0.5, "inherited"), (1, "unchecked")]
)
def test_a_background_changes_no_label_of_an_object(strength, caption):
    found = judged(strength, (0.0, 0.0), what="background")

    assert found == Fates(caption=caption)


def test_labels_are_kept_on_the_users_word():
    found = judged(1.0, (1.0, 0.9), labels="keep")

    assert found == Fates(objects={0: "inherited", 1: "inherited"})


def test_all_that_was_edited_is_dropped_where_that_is_asked_for():
    found = judged(0.1, (1.0, 0.2), asked=True, labels="drop-edited")

    assert found.objects == {0: "dropped", 1: "dropped"}
    assert (found.mask, found.points, found.caption) == (
        "ignored",
        "dropped",
        "dropped",
    )


@pytest.mark.parametrize(
    ("share", "fate"),
    [(0.0, None), (0.1, None), (0.11, "unchecked"), (0.5, "unchecked"),
     (0.51, "dropped")],
)  # fmt: skip
def test_a_neighbour_that_was_painted_over_is_judged_by_how_much(share, fate):
    found = judged(1.0, (1.0, share), asked=True)

    assert found.objects.get(1) == fate
    assert found.objects[0] == "asked"


def test_the_word_for_the_origin_is_that_of_what_stays():
    assert judged(1.0, asked=True).origin == "conditioned"
    assert judged(0.2).origin == "inherited"
    assert judged(1.0).origin == "inherited"
    assert judged(1.0, (0.0,), what="background").origin == "inherited"
