"""What cannot be done to a batch is said at once, with what to do about it."""

import albumentations as A
import kornia.augmentation as K
import pytest
from sets import samples
from staged import loader, operations

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.mixes.blending import MixUp
from fiberaug.transforms import AugMix


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors") / "set"
    content = ({**s, "bboxes": [[1, 2, 9, 8]], "bbox_labels": [1]} for s in samples(20))
    fiberaug.convert(content, folder, shard_size="60kB", progress=False)
    return str(folder)


PLAIN = {"fields": {"image": "jpg;png", "label": "cls"}}


def first(shards, **options):
    return next(iter(loader(shards, 8, **options)))


def test_a_float_batch_out_of_range_names_the_sample_and_the_remedy(shards):
    cpu = [A.Resize(32, 32), A.Normalize(), A.HorizontalFlip()]
    with pytest.raises(
        UsageError, match=r"\[0, 1\], got \[-.*Normalize of uint8.*K.Normalize"
    ) as e:
        first(shards, cpu=cpu)
    assert e.value.key is not None
    assert first(shards, cpu=[A.Resize(32, 32), A.ToFloat(), A.HorizontalFlip()])
    cpu = [A.Resize(32, 32), A.Normalize(normalization="image")]
    with pytest.raises(UsageError, match=r"K.Normalize into gpu_transform"):
        first(shards, cpu=cpu)


def test_operations_that_want_three_channels_say_so_by_name(shards):
    gray = {"cpu": [A.Resize(32, 32)], "decode": {"color": "gray"}}
    gpu = [K.ColorJiggle(0.1, 0.1, 0.1, 0.1, p=1.0)]
    with pytest.raises(UsageError, match=r"gpu\.0 ColorJiggle.*3 channels.*have 1"):
        first(shards, gpu=gpu, **gray)
    with pytest.raises(UsageError, match=r"gpu\.0 ColorJiggle cannot be.*\[8, 1, 32"):
        first(shards, gpu=gpu, fused=False, **gray)


def test_boxes_cannot_follow_an_elastic_transform(shards):
    with pytest.raises(UsageError, match=r"RandomElasticTransform cannot take \['bbox"):
        loader(shards, 8, gpu=[K.RandomElasticTransform(p=0.5)])
    assert first(shards, gpu=[K.RandomElasticTransform(p=0.5)], **PLAIN)


def test_masks_cannot_follow_a_blend_of_moved_copies(tmp_path):
    content = ({**s, "mask": s["image"][:, :, 0] // 128} for s in samples(8))
    fiberaug.convert(content, tmp_path / "set", progress=False)
    dataset = fiberaug.StreamingDataset(tmp_path / "set")
    with pytest.raises(UsageError, match=r"AugMix cannot take \['mask'\].*RandAugment"):
        fiberaug.DataLoader(dataset, 8, gpu_transform=AugMix())


def test_a_crop_that_is_larger_than_the_image_is_refused(shards):
    for fused in (True, False):
        with pytest.raises(UsageError, match=r"RandomCrop is 64 px .* pad_if_needed"):
            first(shards, gpu=[K.RandomCrop((64, 20))], fused=fused, **PLAIN)


def test_boxes_outside_of_the_image_are_clipped_or_left_out(tmp_path):
    content = (
        {**s, "bboxes": [[-4, 2, 9, 8], [60, 2, 70, 8], [40, 30, 52, 44]]}
        for s in samples(8)
    )
    fiberaug.convert(content, tmp_path / "set", progress=False)
    dataset = fiberaug.StreamingDataset(tmp_path / "set")  # 40 x 48 px
    run = fiberaug.DataLoader(dataset, 8, gpu_transform=K.RandomHorizontalFlip(p=0.5))
    for batch in run:
        for record, boxes in zip(batch["record"], batch["bboxes"], strict=True):
            flipped = bool(record.applied_transforms)
            kept = [[39, 2, 48, 8], [0, 30, 8, 40]] if flipped else [
                [0, 2, 9, 8], [40, 30, 48, 40],
            ]  # fmt: skip
            assert boxes.tolist() == kept


def test_a_module_on_another_device_is_refused(shards):
    moved = K.RandomAffine(10.0, p=0.5)
    moved.set_rng_device_and_dtype("meta", moved.dtype)
    with pytest.raises(UsageError, match=r"moved to meta.*give the loader device="):
        loader(shards, 8, gpu=[moved], **PLAIN)


def test_an_operation_that_changes_sizes_has_to_be_certain(shards):
    with pytest.raises(UsageError, match=r"RandomCrop changes the size.*give p=1"):
        loader(shards, 8, gpu=[K.RandomCrop((16, 16), p=0.5)], **PLAIN)


@pytest.mark.parametrize(
    "options",
    [{"collate": "pad"}, {"collate": "list"}, {"collate_fn": lambda rows: rows}],
)
def test_batches_have_to_be_stacked(shards, options):
    dataset = fiberaug.StreamingDataset(shards, transform=A.Resize(32, 32))
    with pytest.raises(UsageError, match=r"stacked batches.*crop or resize"):
        fiberaug.DataLoader(dataset, 8, gpu_transform=operations(), **options)


def test_images_of_several_sizes_are_told_by_key(tmp_path):
    from sets import photo

    content = ({**s, "image": photo(i, 40 + i % 2)} for i, s in enumerate(samples(8)))
    fiberaug.convert(content, tmp_path / "set", progress=False)
    dataset = fiberaug.StreamingDataset(tmp_path / "set")
    run = fiberaug.DataLoader(dataset, 8, gpu_transform=K.RandomHorizontalFlip())
    with pytest.raises(UsageError, match="image has 2 shapes in one batch: 'k00"):
        next(iter(run))


def test_mixes_are_for_training(shards):
    with pytest.raises(UsageError, match=r"MixUp.*for training"):
        loader(shards, 8, mixes=[MixUp(num_classes=4)], train=False, **PLAIN)


def test_images_and_labels_are_blended_and_boxes_are_not(shards):
    with pytest.raises(UsageError, match=r"MixUp.*bboxes.*Mosaic or CopyPaste"):
        loader(shards, 8, mixes=[MixUp(num_classes=4)])


def test_labels_that_are_mixed_need_the_number_of_classes(shards):
    with pytest.raises(UsageError, match="num_classes="):
        first(shards, mixes=[MixUp()], **PLAIN)


def test_what_is_no_operation_is_named_with_its_place(shards):
    with pytest.raises(UsageError, match=r"gpu_transform 1"):
        loader(shards, 8, gpu=[K.RandomHorizontalFlip(), 7], **PLAIN)
