"""More laws of batch operations: views, sizes that change, objects, records."""

import pickle

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from sets import photo, samples
from staged import loader, operations, rows
from staged_objects import OBJECTS, WIDTH, objects, params, paths, segmented

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.gpu.operation import Operation
from fiberaug.jobs.encoding import encode_image
from fiberaug.mixes.blending import MixUp
from fiberaug.remaking import Run, replay_batch


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    content = {"plain": samples(60), "objects": objects(48), "masks": segmented(48)}
    for name, made in content.items():
        fiberaug.convert(made, folder / name, encode="png", progress=False)
    return folder


class Dim(Operation):
    """A user's operation."""

    def __init__(self, *, fails=False):
        super().__init__("Dim")
        self.fails = fails

    def draw(self, shape):
        drawn = torch.rand(shape[0])
        if self.fails:
            raise UsageError("cannot be drawn")
        return {"batch_prob": torch.ones(shape[0]), "factor": drawn}

    def run(self, image, params):
        return image * params["factor"].to(image.device).view(-1, 1, 1, 1)


@pytest.mark.parametrize("fused", [True, False])
def test_views_keep_their_own_pixels_whatever_the_batch(sets, fused):
    gpu = [K.RandomAffine(30, p=0.6), K.RandomGamma((0.5, 2.0), p=0.6)]
    bare = rows(loader(sets / "plain", 60, views=2, gpu=[]))
    whole = rows(loader(sets / "plain", 60, views=2, gpu=gpu, fused=fused))
    parts = rows(loader(sets / "plain", 9, views=2, gpu=gpu, fused=fused))
    for position, (records, (images,)) in whole.items():
        assert records == parts[position][0]
        assert torch.equal(images, parts[position][1][0])
        for view, record in enumerate(records):
            if not {"gpu.0", "gpu.1"} & {*paths(record)}:
                expected = bare[position][1][0][view]
                torch.testing.assert_close(images[view], expected, atol=1e-5, rtol=1e-5)


def test_two_operations_of_a_kind_draw_each_for_itself(sets):
    gpu = [K.RandomHorizontalFlip(p=0.5), K.RandomHorizontalFlip(p=0.5)]
    found = rows(loader(sets / "plain", 20, gpu=gpu))
    drawn = {
        tuple(p for p in paths(record) if p.startswith("gpu"))
        for record, _ in found.values()
    }
    assert drawn == {(), ("gpu.0",), ("gpu.1",), ("gpu.0", "gpu.1")}


@pytest.mark.parametrize("fused", [True, False])
def test_masks_and_all_that_objects_have_stay_with_them(sets, fused):
    gpu = [K.RandomAffine(0, translate=(0.5, 0.3), p=0.8)]
    run = loader(
        sets / "objects", 7, cpu=[A.NoOp()], gpu=gpu, fields=OBJECTS, fused=fused
    )
    names = (
        "masks", "bboxes", "bbox_labels", "bbox_ids", "mask_labels", "keypoints",
        "keypoint_labels",
    )  # fmt: skip
    lost = 0
    for record, content in rows(run, names).values():
        masks, boxes, labels, ids, mask_labels, points, point_labels = content
        number = int(record.key[1:])
        kept = [int(n) - 100 * number for n in ids]
        lost += len(kept) < number % 3
        assert kept == sorted({*kept})
        assert labels.tolist() == mask_labels.tolist() == [5 + n for n in kept]
        assert len(boxes) == len(masks) == len(kept)
        assert len(points) == len(point_labels)
        applied = "gpu.0" in paths(record)
        shift = params(record, "gpu.0")["translations"] if applied else (0, 0)
        for n, box, mask in zip(kept, boxes.tolist(), masks, strict=True):
            x0, x1 = (
                min(max(x + float(shift[0]), 0), WIDTH)
                for x in (4 + 20 * n, 16 + 20 * n)
            )
            assert (box[0], box[2]) == pytest.approx((x0, x1), abs=1e-3)
            there = torch.nonzero(mask)
            if len(there):
                assert abs(int(there[:, 1].min()) - x0) <= 1
                assert abs(int(there[:, 1].max()) + 1 - x1) <= 1
        for point, label in zip(points.tolist(), list(point_labels), strict=True):
            x = 10 + 20 * (int(label) - 7) + float(shift[0])
            assert point[0] == pytest.approx(x, abs=1e-3)
            assert 0 <= point[0] <= WIDTH
    assert lost > 3


@pytest.mark.parametrize("fused", [True, False])
def test_a_batch_without_any_object_has_masks_of_the_new_size(tmp_path, fused):
    content = (s for s in objects(24) if s["__key__"] in {"k000", "k003", "k006"})
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    run = loader(
        tmp_path / "set", 3, cpu=[A.NoOp()], gpu=[K.Resize((20, 30))], fields=OBJECTS,
        fused=fused,
    )  # fmt: skip
    (batch,) = run
    assert [tuple(masks.shape) for masks in batch["masks"]] == [(0, 20, 30)] * 3
    assert batch["masks"][0].dtype == torch.uint8


def test_crops_follow_the_size_that_images_have_in_their_batch(tmp_path):
    content = (
        {**s, "image": photo(i, *((40, 48) if i % 16 < 8 else (20, 24)))}
        for i, s in enumerate(samples(32))
    )
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    gpu = [K.RandomCrop((16, 16), p=1.0)]
    run = loader(tmp_path / "set", 8, cpu=[A.NoOp()], gpu=gpu, shuffle=False)
    for batch in run:
        for row, record in enumerate(batch["record"]):
            image, sample = batch["image"][row], fiberaug.replay(record, run)
            assert torch.equal(sample["image"], image)
            whole = torch.as_tensor(
                photo(int(record.key[1:]), *record.decode["shape"][:2])
            )
            x, y = params(record, "gpu.0")["src"][0]
            cut = whole[int(y) : int(y) + 16, int(x) : int(x) + 16]
            torch.testing.assert_close(image, cut.permute(2, 0, 1) / 255)


def test_the_dtype_and_the_layout_are_those_asked_for(sets):
    for mixes in (None, [MixUp(num_classes=4)]):
        dataset = loader(sets / "plain", 16).dataset
        options = {"gpu_transform": operations(), "batch_transform": mixes}
        plain = fiberaug.DataLoader(dataset, 16, **options)
        half = fiberaug.DataLoader(
            dataset, 16, dtype=torch.bfloat16, channels_last=True, **options
        )
        for batch, other in zip(plain, half, strict=True):
            image = other["image"]
            assert image.dtype == torch.bfloat16
            assert image.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(
                image.float(), batch["image"], atol=0.05, rtol=0.01
            )


def test_an_operation_of_the_users_runs_and_its_records_say_what_they_lack(
    sets, tmp_path
):
    dataset = loader(sets / "plain", 16).dataset
    run = fiberaug.DataLoader(dataset, 16, gpu_transform=[Dim()], log=tmp_path / "run")
    batch = next(iter(run))
    run.close()
    record = batch["record"][3]
    assert not record.replayable
    assert torch.equal(fiberaug.replay(record, run)["image"], batch["image"][3])
    with pytest.raises(UsageError, match=r"Dim.*did not serialise.*loader of the run"):
        fiberaug.replay(record, tmp_path / "run")


def test_a_run_folder_says_whether_passes_were_fused(sets, tmp_path):
    dataset = fiberaug.StreamingDataset(
        sets / "plain", transform=A.Compose([A.RandomCrop(32, 24)]), seed=3
    )
    run = fiberaug.DataLoader(
        dataset, 16, gpu_transform=operations(), fused=False, log=tmp_path / "run"
    )
    batch = next(iter(run))
    run.close()
    sample = fiberaug.replay(batch["record"][2], tmp_path / "run")
    assert torch.equal(sample["image"], batch["image"][2])


def test_torchs_generator_is_put_back_when_a_draw_fails(sets):
    torch.manual_seed(5)
    before = torch.default_generator.get_state()
    with pytest.raises(UsageError, match="cannot be drawn"):
        next(iter(loader(sets / "plain", 16, gpu=[Dim(fails=True)])))
    assert torch.equal(torch.default_generator.get_state(), before)


def test_what_was_drawn_does_not_travel_to_workers(sets):
    run = loader(sets / "plain", 16)
    before = len(pickle.dumps(run.stage))
    for _ in run:
        pass
    assert len(pickle.dumps(run.stage)) < before + 2000


def no_numbers(image, **_):
    return image.astype(np.float32) * np.nan


def of_16_bits(image, **_):
    return image.astype(np.uint16)


def test_images_of_no_numbers_and_of_16_bits_are_refused(sets):
    with pytest.raises(UsageError, match=r"in \[0, 1\], got \[nan"):
        next(iter(loader(sets / "plain", 16, cpu=[A.Lambda(image=no_numbers)])))
    with pytest.raises(UsageError, match=r"got uint16; end the transform with A\.ToF"):
        next(iter(loader(sets / "plain", 16, cpu=[A.Lambda(image=of_16_bits)])))


def test_a_batch_is_replayed_epoch_by_epoch_and_view_by_view(sets):
    run = loader(sets / "plain", 60)
    first, second = (next(iter(run))["record"][0] for _ in range(2))
    with pytest.raises(UsageError, match=r"one epoch, these records of \[0, 1\]"):
        replay_batch([first, second], Run(run.dataset, run.stage))
    run = loader(sets / "plain", 60, views=2)
    records = next(iter(run))["record"][0]
    with pytest.raises(UsageError, match=r"view by view, got the views \[0, 1\]"):
        replay_batch(records, Run(run.dataset, run.stage))


def test_views_have_boxes_of_their_own_where_only_the_batch_moves_them(sets):
    dataset = fiberaug.StreamingDataset(sets / "objects", fields=OBJECTS, views=2)
    run = fiberaug.DataLoader(
        dataset, 16, gpu_transform=[K.RandomHorizontalFlip(p=0.5)]
    )
    different = 0
    for records, (boxes,) in rows(run, ("bboxes",)).values():
        for record, own in zip(records, boxes, strict=True):
            flipped = "gpu.0" in paths(record)
            lefts = [4 + 20 * n for n in range(int(record.key[1:]) % 3)]
            assert own[:, 0].tolist() == [
                WIDTH - x - 12 if flipped else x for x in lefts
            ]
        different += len({"gpu.0" in paths(record) for record in records}) == 2
    assert different > 5


def test_a_further_image_is_normalised_as_it_is_without_batch_operations(tmp_path):
    content = (
        {**s, "other.png": encode_image(photo(i + 50), "png")}
        for i, s in enumerate(samples(20))
    )
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    dataset = fiberaug.StreamingDataset(
        tmp_path / "set",
        fields={"image": "png", "other": "other.png"},
        transform=A.Compose([A.Normalize()], additional_targets={"other": "image"}),
    )
    gpu = [K.RandomGamma((0.5, 2.0), p=1.0)]
    changed = fiberaug.DataLoader(dataset, 10, gpu_transform=gpu)
    for batch, bare in zip(changed, fiberaug.DataLoader(dataset, 10), strict=True):
        assert torch.equal(batch["other"], bare["other"])
        assert not torch.allclose(batch["image"], bare["image"])


ROWS = [0]


class Gated(Operation):
    """A user's operation that trusts to be given only the rows it is done to."""

    def __init__(self):
        super().__init__("Gated")

    def draw(self, shape):
        return {"batch_prob": (torch.rand(shape[0]) < 0.5).float()}

    def run(self, image, params):
        ROWS[0] += len(image)
        return torch.zeros_like(image)


def test_an_operation_is_given_the_rows_that_it_is_done_to_and_no_others(sets):
    ROWS[0] = 0  # the loader has a copy of its own
    bare = rows(loader(sets / "plain", 9, cpu=[A.RandomCrop(32, 24)], gpu=[]))
    found = rows(loader(sets / "plain", 9, cpu=[A.RandomCrop(32, 24)], gpu=[Gated()]))
    done = 0
    for position, (record, (image,)) in found.items():
        applied = "gpu.0" in paths(record)
        done += applied
        expected = bare[position][1][0] / 255 * (not applied)
        torch.testing.assert_close(image, expected)
    assert [done] == ROWS
    assert 10 < done < 50


def test_the_last_normalisation_counts_levels_as_the_transform_says(sets):
    gpu = [K.RandomVerticalFlip(p=1.0)]
    cpu = [A.RandomCrop(32, 24), A.Normalize(0.4, 0.3, max_pixel_value=100.0)]
    bare = rows(loader(sets / "plain", 20, cpu=cpu, gpu=[]))
    for position, (_, (image,)) in rows(
        loader(sets / "plain", 20, cpu=cpu, gpu=gpu)
    ).items():
        expected = bare[position][1][0].flip(1)
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=1e-5)


def test_masks_of_several_units_are_those_of_their_rows_one_by_one(sets):
    gpu = [K.RandomHorizontalFlip(p=0.5, same_on_batch=True)]
    run = loader(
        sets / "objects", 24, cpu=[A.NoOp()], gpu=gpu, fields=OBJECTS, fused=False
    )
    for _, (masks, boxes) in rows(run, ("masks", "bboxes")).values():
        for mask, box in zip(masks, boxes, strict=True):
            columns = torch.nonzero(mask.amax(0))[:, 0]
            assert [columns.min(), columns.max() + 1] == [box[0], box[2]]
