"""Photos edited window after window."""

import tracemalloc

import numpy as np
import pytest
from editors import CLASSES, Patches, Repaint, photo
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.editing import EditOptions, Editor, edit_photo
from fiberaug.editing.objects import Objects
from fiberaug.errors import SampleBroken, UsageError

WHATS = ("object", "background", "window")


@st.composite
def photos(draw):
    """A photo with boxes, a mask, points, and how it is edited."""
    width, height = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 4))
    corners = rng.uniform(-10, 1.1 * max(width, height), (count, 2, 2))
    boxes = np.sort(corners, axis=1).reshape(count, 4)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(draw(st.integers(0, 3))):
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)] = rng.integers(3)
    fields = {
        "bboxes": boxes.astype(np.float32),
        "bbox_labels": rng.integers(0, 3, count),
        "mask": mask,
        "keypoints": rng.uniform(0, 1, (2, 2)).astype(np.float32) * (width, height),
    }
    region = draw(st.sampled_from(["bboxes", "mask", "grid"]))
    feather = draw(st.integers(0, 9))
    least = draw(st.integers(24, 80))
    options = EditOptions(
        mode=draw(st.sampled_from(["inpaint", "image-to-image"])), region=region,
        what=draw(st.sampled_from(WHATS)), window=(least, draw(st.integers(least, 96))),
        margin=draw(st.integers(0, 8)), feather=feather,
        most=draw(st.sampled_from([None, 1, 3])), seed=draw(st.integers(0, 3)),
    )  # fmt: skip
    channels = draw(st.sampled_from([1, 3, 4]))
    return photo(width, height, int(rng.integers(99)), channels), fields, options


@settings(deadline=None, max_examples=150)
@given(photos())
def test_outside_of_what_is_on_record_a_photo_is_the_same_bit_for_bit(asked):
    before, fields, options = asked
    pixels = before.copy()

    done = edit_photo(
        pixels, fields, Editor(Repaint(), options, CLASSES), name="sample"
    )

    assert (pixels[done.changed == 0] == before[done.changed == 0]).all()
    inside = np.zeros(done.changed.shape, np.bool_)
    for edit in done.edits:
        x0, y0, x1, y1 = edit.region.window
        assert 0 <= x0 < x1 <= before.shape[1]
        assert 0 <= y0 < y1 <= before.shape[0]
        inside[y0:y1, x0:x1] = True
    assert not done.changed[~inside].any(), "what is repainted lies in the windows"
    objects = Objects.of(fields, before.shape[1], before.shape[0])
    whole = (0, 0, before.shape[1], before.shape[0])
    if options.repainted == "background":
        of_objects = objects.inside(whole) != 0
        assert not done.changed[of_objects].any(), "objects are protected"
        assert objects.touched(done.changed) == [0.0] * len(objects.boxes)


@settings(deadline=None, max_examples=60)
@given(photos(), st.randoms(use_true_random=False))
def test_the_order_of_boxes_gives_the_same_photo(asked, random):
    before, fields, options = asked
    order = list(range(len(fields["bboxes"])))
    random.shuffle(order)
    other = fields | {name: fields[name][order] for name in ("bboxes", "bbox_labels")}

    made = []
    for one in (fields, other):
        pixels = before.copy()
        editor = Editor(Repaint(), options, CLASSES)
        done = edit_photo(pixels, one, editor, name="sample")
        made.append((pixels, done.changed))

    assert (made[0][0] == made[1][0]).all()
    assert (made[0][1] == made[1][1]).all()


@settings(deadline=None, max_examples=60)
@given(photos())
def test_an_object_is_repainted_whole(asked):
    """The ramp lies around it, as far as window and photo go."""
    before, fields, options = asked
    options = EditOptions.from_dict(
        options.to_dict() | {"what": "object", "region": "bboxes", "most": None}
    )
    pixels = before.copy()

    done = edit_photo(
        pixels, fields, Editor(Repaint(), options, CLASSES), name="sample"
    )

    for edit in done.edits:
        x0, y0, x1, y1 = edit.region.box
        assert (done.changed[y0:y1, x0:x1] == 255).all()


def edited(pixels, boxes, generator=None, name="s", **options):
    generator = generator or Repaint()
    told = {"window": 32, "margin": 4, "feather": 2} | options
    editor = Editor(generator, EditOptions(**told), CLASSES)
    made = pixels.copy()
    fields = {
        "bboxes": np.array(boxes, np.float32),
        "bbox_labels": np.arange(len(boxes)) % 3,
    }
    return made, edit_photo(made, fields, editor, name=name), generator


BOXES = [(10, 12, 20, 20), (60, 30, 75, 50)]


def test_an_edit_depends_on_its_sample_its_seed_and_its_place_alone():
    pixels = photo(100, 80)
    both = edited(pixels, BOXES)[0]
    first = edited(pixels, BOXES[:1])[0]
    other_name = edited(pixels, BOXES, name="t")[0]
    other_seed = edited(pixels, BOXES, seed=1)[0]

    assert (both[:, :40] == first[:, :40]).all()
    assert (both == edited(pixels, BOXES)[0]).all()
    assert (both != other_name).any()
    assert (both != other_seed).any()


def test_the_editor_sees_the_window_as_it_is_in_the_photo():
    pixels = photo(100, 80)

    _, done, editor = edited(pixels, BOXES[:1])

    x0, y0, x1, y1 = done.edits[0].region.window
    asked = editor.asked[0]
    assert asked["image"].shape == (1, 32, 32, 3)
    assert (asked["image"][0] == pixels[y0:y1, x0:x1]).all()
    assert asked["mask"].shape == (1, 32, 32)
    assert set(np.unique(asked["mask"])) <= {0, 255}
    assert ((asked["mask"][0] > 0) == (done.changed[y0:y1, x0:x1] > 0)).all()


def test_a_smaller_photo_is_filled_up_by_reflection():
    pixels = photo(20, 12)

    made, done, editor = edited(pixels, [(4, 4, 8, 8)])

    image = editor.asked[0]["image"][0]
    assert image.shape == (32, 32, 3)
    assert (image == np.pad(pixels, ((0, 20), (0, 12), (0, 0)), "symmetric")).all()
    assert not editor.asked[0]["mask"][0][12:].any()
    assert done.edits[0].region.window == (0, 0, 20, 12)
    assert (made[done.changed == 0] == pixels[done.changed == 0]).all()


def test_an_object_larger_than_the_window_is_edited_at_a_smaller_scale():
    pixels = photo(300, 200)

    made, done, editor = edited(pixels, [(20, 20, 260, 120)], window=(32, 64))

    assert editor.asked[0]["image"].shape == (1, 64, 64, 3)
    assert done.edits[0].told["scale"][0] == pytest.approx(64 / 248, abs=0.01)
    assert (made[done.changed == 0] == pixels[done.changed == 0]).all()
    assert (done.changed[20:120, 20:260] == 255).all()
    # Noise that was made larger is smoother than noise.
    inside = made[30:110, 30:250].astype(int)
    assert abs(np.diff(inside, axis=1)).mean() < 40 < abs(np.diff(
        pixels[30:110, 30:250].astype(int), axis=1
    )).mean()  # fmt: skip


def test_an_edit_that_was_made_larger_lies_where_it_was():
    """A gradient that goes down to the editor's scale and up again is the same."""

    class Same:
        def generate(self, seeds, labels, *, image, mask):
            return image.copy()

    x = np.linspace(0, 255, 300)
    pixels = np.repeat(np.tile(x, (200, 1)).astype(np.uint8)[:, :, None], 3, axis=2)

    made, done, _ = edited(
        pixels, [(20, 20, 260, 120)], Same(), window=(32, 64), what="window"
    )

    assert (done.changed[:, :248] > 0).any()
    away = abs(made.astype(int) - pixels)
    assert away[:, 8:240].max() <= 2


def test_an_edit_that_was_made_larger_is_not_shifted():
    """The edit of a mirrored photo is the mirrored edit."""

    class Same:
        def generate(self, seeds, labels, *, image, mask):
            return image.copy()

    pixels = np.repeat(np.repeat(photo(16, 16), 16, axis=0), 16, axis=1)
    box = [(20, 20, 236, 236)]

    made = [
        edited(np.ascontiguousarray(one), box, Same(), window=(32, 64))[0].astype(int)
        for one in (pixels, pixels[:, ::-1], pixels[::-1])
    ]

    assert (made[0] != pixels).any()
    assert abs(made[1][:, ::-1] - made[0]).max() <= 6  # 1/32 px of 255 levels
    assert abs(made[2][::-1] - made[0]).max() <= 6


def test_what_was_painted_over_the_filling_does_not_come_into_the_photo():
    class Places:
        def generate(self, seeds, labels, *, image, mask):
            y, x = np.mgrid[: image.shape[1], : image.shape[2]]
            return np.repeat((x + 4 * y).astype(np.uint8)[None, ..., None], 3, axis=3)

    made, done, _ = edited(photo(20, 12), [(4, 4, 8, 8)], Places())

    y, x = np.nonzero(done.changed == 255)
    assert len(y) > 15
    assert (made[y, x, 0] == x + 4 * y).all()


def test_pixels_that_a_box_touches_are_of_its_object():
    done = edited(photo(100, 80), [(10.6, 12.4, 20.2, 19.7)])[1]
    other = edited(photo(100, 80), [(10.6, 12.4, 20.2, 19.7)], what="background")[1]

    assert (done.changed[12:20, 10:21] == 255).all()
    assert not other.changed[12:20, 10:21].any()
    assert other.changed[12:20, 9].all()
    assert other.changed[12:20, 21].all()


def test_a_patch_is_pasted_over_its_box_and_not_beyond_the_ramp():
    pixels = photo(100, 80)

    made, done, _ = edited(pixels, BOXES, Patches(), mode="paste", feather=3)

    for label, (x0, y0, x1, y1) in enumerate(BOXES):
        base = [60, 120, 180][label]
        inside = made[y0:y1, x0:x1]
        assert ((inside >= base) & (inside < base + 20)).all()
    far = np.ones((80, 100), np.bool_)
    for x0, y0, x1, y1 in BOXES:
        far[y0 - 3 : y1 + 3, x0 - 3 : x1 + 3] = False
    assert (made[far] == pixels[far]).all()
    assert not done.changed[far].any()


def test_colours_of_a_patch_can_be_matched():
    pixels = (photo(100, 80) // 8 + 200).astype(np.uint8)

    plain = edited(pixels, BOXES, Patches(), mode="paste")[0]
    matched = edited(pixels, BOXES, Patches(), mode="paste", match=True)[0]

    x0, y0, x1, y1 = BOXES[0]
    there = pixels[y0:y1, x0:x1].mean()
    assert abs(plain[y0:y1, x0:x1].mean() - there) > 100
    assert abs(matched[y0:y1, x0:x1].mean() - there) < 4


def test_only_objects_of_chosen_classes_are_edited():
    pixels = photo(100, 80)

    done = edited(pixels, BOXES, classes=("disc",))[1]

    assert [edit.region.label for edit in done.edits] == [1]
    with pytest.raises(UsageError, match="no class 'cat'"):
        edited(pixels, BOXES, classes=("cat",))


def test_a_generator_of_one_size_sees_windows_of_that_size():
    class Fixed(Repaint):
        def describe(self):
            return {"kind": "diffusion", "params": {"size": [16, 24], "channels": 1}}

        def generate(self, seeds, labels, **told):
            assert told["image"].shape == (1, 16, 24, 1)
            return super().generate(seeds, labels, image=told["image"])

    pixels = photo(100, 80)

    made, done, _ = edited(pixels, BOXES, Fixed(), mode="image-to-image")

    assert len(done.edits) == 2
    assert (made[done.changed == 0] == pixels[done.changed == 0]).all()


@pytest.mark.parametrize("kind", ["float", "still"])
def test_a_photo_that_cannot_be_edited_in_place_is_refused(kind):
    pixels = photo(40, 40)
    if kind == "float":
        pixels = pixels.astype(np.float32)
    else:
        pixels.flags.writeable = False
    editor = Editor(Repaint(), EditOptions(), CLASSES)

    with pytest.raises((SampleBroken, UsageError)):
        edit_photo(pixels, {}, editor, name="s")


def test_an_editor_that_returns_another_size_is_named():
    class Half:
        def generate(self, seeds, labels, *, image, mask):
            return image[:, ::2]

    with pytest.raises(UsageError, match=r"Half returned \[16, 32\] px"):
        edited(photo(100, 80), BOXES, Half())


@pytest.mark.parametrize("what", WHATS)
def test_memory_does_not_grow_with_the_photo(what):
    """But for the photo and the mask of what was changed, which are there anyway."""
    boxes = [(100, 100, 160, 140), (300, 200, 330, 290)]
    peaks = []
    for side in (600, 1800):
        pixels = photo(side, side)
        fields = {"bboxes": np.array(boxes, np.float32)}
        editor = Editor(Repaint(), EditOptions(window=128, what=what), CLASSES)
        tracemalloc.start()
        done = edit_photo(pixels, fields, editor, name="s")
        peaks.append(tracemalloc.get_traced_memory()[1] - done.changed.nbytes)
        tracemalloc.stop()
        editor.generator.asked.clear()

    assert peaks[1] < 1.05 * peaks[0] + 50_000
