"""Samples of shards edited: their members, and where they come from."""

import json
from hashlib import sha256

import numpy as np
import pytest
from editors import (
    CLASSES,
    FIELDS,
    Patches,
    Repaint,
    jpeg,
    members_of,
    photo,
    png,
    reading,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.orientation import upright
from fiberaug.editing import EditOptions, Editor, Reading, edit_sample, remake
from fiberaug.editing.relabelling import stored_plane
from fiberaug.editing.sample import EDIT
from fiberaug.errors import ReplayMismatch, SampleBroken, UsageError
from fiberaug.synthetic.provenance import Parent, Provenance
from fiberaug.synthetic.truth import verify

PARENT = Parent(key="street/7", shard="s-000.tar", split="train")
BOXES = [(10, 12, 24, 26), (60, 30, 75, 50)]


def editor_of(generator=None, **options):
    told = {"window": 32, "margin": 4, "feather": 2} | options
    return Editor(generator or Repaint(), EditOptions(**told), CLASSES)


def edited(members, generator=None, copy=0, fields=FIELDS, **options):
    editor = editor_of(generator, **options)
    made = edit_sample(members, editor, reading(fields), parent=PARENT, copy=copy)
    assert made is not None
    return made, editor


def fields_of(members, extension="png"):
    specs = parse_fields(FIELDS | {"image": extension})
    return Reading(specs=specs, classes=CLASSES).decoder(members).fields


def changed_of(made, orientation=1):
    plane = decode_mask(made.members[EDIT], limits=ImageLimits())
    return upright(plane, orientation)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 8), st.sampled_from(["bboxes", "mask", "grid"]),
    st.sampled_from(["object", "background", "window"]), st.booleans(),
    st.integers(20, 60), st.integers(20, 60),
)  # fmt: skip
def test_all_orientations_give_the_same_edit_of_the_upright_photo(
    orientation, region, what, stored, width, height
):
    """Whatever frame the annotations are stated in."""
    pixels = photo(width, height)
    mask = np.zeros((height, width), np.uint8)
    mask[2:15, 3:18] = 2
    box = np.array([[4, 5, 14, 16]], np.float32)

    def sample(turn):
        notes = {"frame": "upright"}
        plane, boxes = mask, box
        if turn != 1 and stored:
            from fiberaug.decode.orientation import points_upright

            inverse = {6: 8, 8: 6}.get(turn, turn)
            corners = points_upright(box.reshape(-1, 2), inverse, width, height)
            corners = corners.reshape(-1, 2, 2)
            boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
            plane = np.ascontiguousarray(stored_plane(mask, turn))
            notes = {"frame": "stored"}
        elif turn >= 5:
            plane = np.ascontiguousarray(stored_plane(mask, turn))
            if width == height:
                plane = mask
        exif = Image.Exif()
        exif[0x0112] = turn
        file = png(np.ascontiguousarray(stored_plane(pixels, turn)), exif=exif)
        found = members_of(pixels, boxes.tolist(), mask=plane, **notes)
        del found["jpg"]
        return found | {"png": file}

    made = []
    for turn in (1, orientation):
        told = {"region": region, "what": what, "window": 32, "prompt": "a {label}"}
        one = edited(sample(turn), margin=2, **{**told, "mode": "inpaint"})[0]
        made.append((one, fields_of(one.members), changed_of(one, turn)))
    (first, one, changed), (second, other, again) = made

    assert (one["image"] == other["image"]).all()
    assert (changed == again).all()
    assert (one["mask"] == other["mask"]).all()
    assert (one["bboxes"] == other["bboxes"]).all()
    assert first.fates == second.fates
    data = second.members["png"]
    assert decode_image(data, limits=ImageLimits())[1].orientation == orientation


def test_all_members_of_the_parent_are_carried():
    mask = np.zeros((80, 100), np.uint8)
    mask[12:26, 10:24] = 1
    members = members_of(
        photo(100, 80), BOXES, mask=mask, caption="two of them", camera="C7"
    ) | {"depth.npy": b"as it is", "cls": b"2"}

    made, _ = edited(members, what="background")

    assert set(made.members) == set(members) - {"jpg"} | {"png", EDIT}
    for name in ("mask.png", "txt", "depth.npy", "cls"):
        assert made.members[name] == members[name]
    notes = json.loads(made.members["json"])
    old = json.loads(members["json"])
    assert {name: notes[name] for name in old} == old
    assert notes["group"] == "street/7"


def test_the_provenance_says_all_that_was_done_and_is_true():
    members = members_of(photo(100, 80), BOXES, [0, 1])

    made, editor = edited(
        members, prompt="a {label}", strength=0.4, mode="image-to-image", seed=5, copy=2
    )

    said = made.provenance
    data = made.members["png"]
    assert verify(said, data) == []
    assert Provenance.from_dict(json.loads(made.members["json"])["provenance"]) == said
    assert said.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert said.id == "street/7-e002"
    assert said.parents == (
        Parent(key="street/7", shard="s-000.tar", split="train",
               sha256=sha256(members["jpg"]).hexdigest()),
    )  # fmt: skip
    assert said.generator.sha256 == "0" * 64
    assert (said.params.seed, said.params.index, said.params.strength) == (5, 2, 0.4)
    assert said.params.prompt == "a ring"
    others = said.params.others
    assert others["options"] == editor.options.to_dict()
    assert others["windows"] == [one["window"] for one in others["edits"]]
    assert (others["region"], others["what"], others["feather"]) == (
        "bboxes",
        "object",
        2,
    )
    assert others["edits"][1]["params"] == {"prompt": "a disc"}
    assert others["outside"] == {"differing": 0, "most": 0}
    assert {"border", "inside", "before", "ratio"} == set(others["edits"][0]["seam"])


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["inpaint", "image-to-image", "paste"]),
    st.sampled_from(["bboxes", "mask"]), st.integers(0, 3), st.integers(0, 2**64 - 1),
    st.sampled_from(["png", "webp", "keep"]),
)  # fmt: skip
def test_an_edit_is_made_again_from_its_parent_and_what_is_on_record(
    mode, region, copy, seed, encode
):
    mask = np.zeros((80, 100), np.uint8)
    mask[12:26, 10:24] = 1
    members = members_of(photo(100, 80), BOXES, [0, 1], mask=mask)
    generator = Patches() if mode == "paste" else Repaint()
    made, editor = edited(
        members, generator, copy, mode=mode, region=region, seed=seed, encode=encode
    )
    told = Provenance.from_json(made.provenance.to_json())

    other = Editor(generator, EditOptions(seed=99), CLASSES)

    assert remake(members, told, other, reading()).members == made.members
    assert editor.options.seed == seed


def test_another_parent_or_generator_is_no_replay():
    members = members_of(photo(100, 80), BOXES)
    made, editor = edited(members)

    class Other(Repaint):
        def describe(self):
            return {"kind": "procedural", "sha256": "2" * 64}

    class Unlike(Repaint):
        def generate(self, seeds, labels, **told):
            return super().generate([seed + 1 for seed in seeds], labels, **told)

    with pytest.raises(ReplayMismatch, match="not the one that was edited"):
        remake(members_of(photo(100, 80, 1), BOXES), made.provenance, editor, reading())
    for other, why in ((Other(), "generator is not"), (Unlike(), "other pixels")):
        wrong = Editor(other, editor.options, CLASSES)
        with pytest.raises(ReplayMismatch, match=why):
            remake(members, made.provenance, wrong, reading())
    parent = made.provenance.parents[0]
    from dataclasses import replace

    plain = replace(made.provenance.params, others={})
    with pytest.raises(UsageError, match="of no edit"):
        remake(
            members, replace(made.provenance, params=plain, parents=(parent,)), editor,
            reading(),
        )  # fmt: skip


def test_boxes_that_nobody_knows_any_more_go_and_the_others_stay():
    members = members_of(photo(100, 80), BOXES, ["disc", 0])

    made, _ = edited(members, classes=("disc",))

    fields = fields_of(made.members)
    assert fields["bboxes"].tolist() == [list(BOXES[1])]
    assert fields["bbox_labels"].tolist() == [0]


def test_a_pasted_object_has_the_class_that_was_asked_for():
    members = members_of(photo(100, 80), BOXES, ["ring", "ring"])

    made, _ = edited(members, Patches(), mode="paste", to="bar", most=1)

    labels = fields_of(made.members)["bbox_labels"].tolist()
    assert sorted(labels) == [0, 2]
    number = made.provenance.params.others["edits"][0]["object"]
    assert labels[number] == 2
    assert made.provenance.label_origin == "conditioned"
    x0, y0, x1, y1 = BOXES[number]
    image = fields_of(made.members)["image"]
    assert (image[y0:y1, x0:x1] >= 180).all(), "a bar is of this colour"


def test_a_component_that_was_filled_with_another_class_is_of_that_class():
    mask = np.zeros((80, 100), np.uint8)
    mask[12:26, 10:24] = 1
    mask[40:60, 50:90] = 1
    members = members_of(photo(100, 80), mask=mask)

    made, _ = edited(members, Patches(), mode="paste", region="mask", to="bar", most=1)

    found = fields_of(made.members)["mask"]
    assert sorted(np.unique(found).tolist()) == [0, 1, 2]
    changed = changed_of(made)
    assert (changed[found == 2] > 0).all()
    assert not changed[found == 1].any()
    assert ((found != 0) == (mask != 0)).all(), "within its outline"


@pytest.mark.parametrize("palette", [False, True])
def test_mask_pixels_that_nobody_knows_any_more_are_ignored(palette):
    mask = np.zeros((80, 100), np.uint8)
    mask[5:70, 5:70] = 1
    members = members_of(photo(100, 80), BOXES[:1], mask=mask)
    if palette:
        image = Image.frombytes("P", (100, 80), mask.tobytes())
        image.putpalette([0, 0, 0, 200, 10, 10])
        import io

        file = io.BytesIO()
        image.save(file, "PNG")
        members["mask.png"] = file.getvalue()

    made, _ = edited(members)

    found, changed = fields_of(made.members)["mask"], changed_of(made)
    assert (found[changed > 0] == 255).all()
    assert (found[changed == 0] == mask[changed == 0]).all()
    import io

    with Image.open(io.BytesIO(made.members["mask.png"])) as image:
        assert image.mode == ("P" if palette else "L")


def test_a_mask_that_has_the_class_already_is_refused_with_the_remedy():
    mask = np.full((80, 100), 255, np.uint8)
    members = members_of(photo(100, 80), BOXES[:1], mask=mask)

    with pytest.raises(SampleBroken, match="say another with ignore"):
        edited(members)
    assert edited(members, ignore=7)[0].fates.mask == "ignored"
    assert edited(members, ignore=700)[0].fates.mask == "ignored"


def test_points_that_were_painted_over_go():
    members = members_of(
        photo(100, 80), BOXES[:1], keypoints=[[15, 15], [90, 70], [17, 20]]
    )

    made, _ = edited(members)

    assert fields_of(made.members)["keypoints"].tolist() == [[90, 70]]


def test_a_caption_of_what_is_gone_goes():
    members = members_of(photo(100, 80), BOXES[:1], caption="a ring")

    assert "txt" not in edited(members)[0].members
    assert "txt" in edited(members, what="background")[0].members
    assert "txt" in edited(members, labels="keep")[0].members


def test_masks_of_single_objects_that_may_have_moved_are_refused():
    planes = np.zeros((1, 80, 100), np.uint8)
    import io

    file = io.BytesIO()
    np.savez(file, masks=planes)
    members = members_of(photo(100, 80), BOXES[:1]) | {"masks.npz": file.getvalue()}
    fields = FIELDS | {"masks?": "masks.npz"}

    with pytest.raises(SampleBroken, match="masks or polygons"):
        edited(members, fields=fields)
    made = edited(members, fields=fields, what="background")[0]
    assert made.members["masks.npz"] == file.getvalue()


def test_an_edit_of_an_edit_names_the_photo_behind_it():
    first = edited(members_of(photo(100, 80), BOXES), what="background")[0]
    members = {k: v for k, v in first.members.items() if k != EDIT}
    parent = Parent(key="street/7-e000", shard="synth-000000.tar")

    again = edit_sample(members, editor_of(what="background"), reading(), parent=parent)

    keys = [one.key for one in again.provenance.parents]
    assert keys == ["street/7-e000", "street/7"]
    assert again.provenance.parents[1].split == "train"
    assert json.loads(again.members["json"])["group"] == "street/7"


def test_a_photo_without_a_region_is_no_edit():
    editor = editor_of()

    assert edit_sample(
        members_of(photo(20, 20)), editor, reading(), parent=PARENT
    ) is None  # fmt: skip


@pytest.mark.parametrize("name", ["png", EDIT])
def test_a_member_in_the_way_is_not_overwritten(name):
    members = members_of(photo(100, 80), BOXES) | {name: png(photo(4, 4))}

    with pytest.raises(SampleBroken, match="already"):
        edited(members)


def test_what_a_jpeg_changes_outside_of_an_edit_is_counted():
    members = members_of(photo(100, 80) // 4, BOXES)

    made = edited(members, encode="keep")[0]

    assert "jpg" in made.members
    before = decode_image(members["jpg"], limits=ImageLimits())[0]
    after = decode_image(made.members["jpg"], limits=ImageLimits())[0]
    away = abs(before.astype(int) - after).max(axis=2)[changed_of(made) == 0]
    told = made.provenance.params.others["outside"]
    assert told == {"differing": int((away > 0).sum()), "most": int(away.max())}
    assert told["differing"] > 0
    assert verify(made.provenance, made.members["jpg"]) == []


def test_a_picture_of_another_number_of_bits_is_edited_in_its_own():
    deep = np.random.default_rng(0).integers(0, 65536, (80, 100), np.uint16)
    from fiberaug.editing.storing import encode_plane

    members = members_of(photo(100, 80), BOXES)
    del members["jpg"]
    made = edited(members | {"png": encode_plane(deep)})[0]

    found = decode_image(
        made.members["png"], limits=ImageLimits(), color="keep", depth="keep"
    )[0][:, :, 0]
    changed = changed_of(made)
    assert found.dtype == np.uint16
    assert (found[changed == 0] == deep[changed == 0]).all()
    assert (found[changed == 255] != deep[changed == 255]).any()
    assert jpeg(photo(8, 8))
