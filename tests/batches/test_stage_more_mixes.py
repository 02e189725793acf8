"""More laws of mixes in a loader: several of them, views, labels, masked rows."""

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from sets import photo, samples
from staged import loader, rows
from staged_objects import FILL, OBJECTS, objects, params, paths, segmented

import fiberaug
from fiberaug.errors import StateMismatch
from fiberaug.jobs.encoding import encode_image
from fiberaug.mixes.blending import CutMix, MixUp
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.mosaic import Mosaic


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    content = {"plain": samples(60), "objects": objects(48), "masks": segmented(48)}
    for name, made in content.items():
        fiberaug.convert(made, folder / name, encode="png", progress=False)
    return folder


def test_two_mixes_in_a_row_are_on_record_each_with_its_partners(sets):
    mixes = [Mosaic(p=0.5), CutMix(num_classes=4, p=0.5)]
    options = {"mixes": mixes, "gpu": [K.RandomHorizontalFlip(p=0.5)]}
    run = loader(sets / "masks", 16, **options)
    fields = ("image", "mask", "label")
    found = rows(run, fields)
    kinds = set()
    for record, content in found.values():
        mixed = tuple(p for p in paths(record) if p.startswith("batch"))
        kinds.add(mixed)
        count = {"batch.0": 3, "batch.1": 1}
        names = [p["mix"] for p in record.batch["partners"]]
        expected = ["Mosaic"] * 3 * ("batch.0" in mixed)
        expected += ["CutMix"] * ("batch.1" in mixed)
        assert names == expected
        assert len(names) == sum(count[path] for path in mixed)
        sample = fiberaug.replay(record, run)
        for name, value in zip(fields, content, strict=True):
            assert torch.equal(torch.as_tensor(sample[name]), value), name
    # each mix draws for itself: all four of both, either, none
    assert kinds == {(), ("batch.0",), ("batch.1",), ("batch.0", "batch.1")}


def test_what_cutmix_cuts_out_of_the_image_it_cuts_out_of_the_mask(sets):
    alone = rows(loader(sets / "masks", 16, gpu=[]), ("mask",))
    mixed = rows(
        loader(sets / "masks", 16, gpu=[], mixes=[CutMix(num_classes=4)]), ("mask",)
    )
    changed = 0
    for position, (record, (mask,)) in mixed.items():
        (partner,) = record.batch["partners"]
        x0, y0, x1, y1 = params(record, "batch.0")["box"]
        expected = alone[position][1][0].clone()
        expected[y0:y1, x0:x1] = alone[partner["position"]][1][0][y0:y1, x0:x1]
        assert torch.equal(mask, expected)
        changed += not torch.equal(mask, alone[position][1][0])
    assert changed > 10


def test_mosaics_of_a_view_are_of_the_same_view_of_their_partners(sets):
    options = {"fields": OBJECTS, "views": 2, "mixes": [Mosaic(p=0.7)]}
    fields = ("image", "bboxes", "bbox_ids")
    run = loader(sets / "objects", 7, **options)
    seen = 0
    for batch in run:
        for row, records in enumerate(batch["record"]):
            for view, record in enumerate(records):
                seen += "batch.0" in paths(record)
                sample = fiberaug.replay(record, run)
                for name in fields:
                    again = torch.as_tensor(sample[name])
                    assert torch.equal(again, batch[name][row][view]), name
    assert seen > 40


def test_mosaics_of_a_view_show_the_colours_of_that_view_alone(tmp_path):
    content = (
        {**s, "image": np.full((32, 24, 3), 20 + 7 * i, np.uint8)}
        for i, s in enumerate(objects(32))
    )
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    options = {
        "cpu": [A.RandomBrightnessContrast((-0.3, 0.3), (0, 0), p=1.0)], "gpu": [],
        "views": 2, "fields": {"image": "png", "bboxes": "json:bboxes"},
    }  # fmt: skip
    alone = rows(loader(tmp_path / "set", 16, **options))
    mixed = rows(loader(tmp_path / "set", 16, mixes=[Mosaic(p=1.0)], **options))
    for position, (records, (images,)) in mixed.items():
        for view, record in enumerate(records):
            places = [position, *(p["position"] for p in record.batch["partners"])]
            parts = [int(alone[place][1][0][view][0, 0, 0]) for place in places]
            shown = {*images[view].flatten().tolist()} - {FILL}
            assert shown <= {*parts}
            assert len(shown) > 1


def test_rectangles_are_of_the_size_that_the_operations_leave(sets):
    gpu = [K.Resize((64, 30))]
    mixed = rows(
        loader(sets / "plain", 16, gpu=gpu, mixes=[CutMix(num_classes=4)]),
        ("image", "label"),
    )
    alone = rows(loader(sets / "plain", 16, gpu=gpu), ("image", "label"))
    beyond = 0
    for position, (record, (image, label)) in mixed.items():
        (partner,) = record.batch["partners"]
        x0, y0, x1, y1 = params(record, "batch.0")["box"]
        share = (x1 - x0) * (y1 - y0) / (64 * 30)
        own, other = (alone[p][1] for p in (position, partner["position"]))
        expected = own[0].clone()
        expected[:, y0:y1, x0:x1] = other[0][:, y0:y1, x0:x1]
        assert torch.equal(image, expected)
        hot = torch.eye(4)
        torch.testing.assert_close(
            label, (1 - share) * hot[int(own[1])] + share * hot[int(other[1])]
        )
        assert x1 <= 30
        assert y1 <= 64
        beyond += y1 > 32  # of the crop before
    assert beyond > 10


def test_mixed_labels_are_smoothed_as_the_mix_says(sets):
    mix = MixUp(num_classes=4, smoothing=0.2)
    for _, (label,) in rows(
        loader(sets / "plain", 16, mixes=[mix]), ("label",)
    ).values():
        assert label.min() == pytest.approx(0.05)
        assert label.sum() == pytest.approx(1)


def test_mixes_draw_anew_in_every_epoch_and_every_view(sets):
    run = loader(sets / "plain", 30, views=2, mixes=[MixUp(num_classes=4)])
    shares = [
        [params(record, "batch.0")["lam"] for record in records]
        for _ in range(2)
        for records, _ in rows(run).values()
    ]
    assert len({share for of_views in shares for share in of_views}) == 2 * 2 * 60


def test_two_compositions_are_on_record_under_their_own_paths(sets):
    mixes = [Mosaic(p=0.5), CopyPaste(p=0.5)]
    fields = {n: at for n, at in OBJECTS.items() if not n.startswith("keypoint")}
    run = loader(sets / "objects", 16, gpu=[], fields=fields, mixes=mixes)
    names = {"batch.0": "Mosaic", "batch.1": "CopyPaste"}
    kinds = set()
    for record, (image,) in rows(run).values():
        mixed = tuple(p for p in paths(record) if p in names)
        for applied in record.applied_transforms:
            assert names.get(applied.path, applied.name) == applied.name
        assert {p["mix"] for p in record.batch["partners"]} == {names[p] for p in mixed}
        assert torch.equal(fiberaug.replay(record, run)["image"], image)
        kinds.add(mixed)
    assert kinds == {(), ("batch.0",), ("batch.1",), ("batch.0", "batch.1")}


@pytest.mark.parametrize("mix", [MixUp(num_classes=4), Mosaic()])
def test_nothing_of_a_batch_is_on_record_for_a_row_that_is_masked(tmp_path, mix):
    def content():
        for i, sample in enumerate(samples(32)):
            data = encode_image(photo(i), "png")
            boxes = {} if mix.phase == "blend" else {"bboxes": [[4, 6, 16, 20]]}
            yield {
                "__key__": sample["__key__"],
                "png": data[: len(data) // 2] if i in {5, 20} else data,
                "json": {"label": sample["label"], **boxes},
            }

    with fiberaug.ShardWriter(tmp_path / "set") as writer:
        for sample in content():
            writer.write(sample)
    fields = {"image": "png", "label": "json:label"}
    if mix.phase != "blend":
        fields["bboxes"] = "json:bboxes"
    run = loader(
        tmp_path / "set", 8, mixes=[mix], fields=fields, on_error="mask", max_errors=1.0
    )
    masked = {}
    for batch in run:
        for record, pad in zip(batch["record"], batch["is_pad"].tolist(), strict=True):
            if pad:
                masked[record.key] = record
    assert sorted(masked) == ["k005", "k020"]
    for record in masked.values():
        assert not [p for p in paths(record) if p.startswith(("gpu", "batch"))]
        assert record.batch["partners"] == []


def test_a_state_of_another_mix_is_refused(sets):
    run = loader(sets / "plain", 16, mixes=[MixUp(num_classes=4, alpha=0.2)])
    next(iter(run))
    with pytest.raises(StateMismatch, match="recipe"):
        loader(
            sets / "plain", 16, mixes=[MixUp(num_classes=4, alpha=0.3)]
        ).load_state_dict(run.state_dict())
