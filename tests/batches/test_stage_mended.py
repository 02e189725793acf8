"""What once went wrong with batches."""

import io

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch
from PIL import Image
from sets import cut_jpeg, samples
from staged import loader, operations, rows
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.errors import StateMismatch, UsageError
from fiberaug.gpu.operation import Operation
from fiberaug.mixes import MixUp, Mosaic


class Dim(Operation):
    """An operation of the user's own."""

    def __init__(self, factor):
        super().__init__("Dim")
        self.factor = factor

    def draw(self, shape):
        return {"batch_prob": torch.ones(shape[0])}

    def run(self, image, params):
        return image * self.factor


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mended") / "set"
    fiberaug.convert(samples(48), folder, shard_size="60kB", progress=False)
    return str(folder)


def with_second(count):
    for sample in samples(count):
        mask = (sample["image"][:, :, 0] > 127).astype(np.uint8)
        yield {**sample, "mask": mask, "second": mask}


def test_masks_under_names_of_their_own_go_along(tmp_path):
    content = (
        {
            **{k: v for k, v in s.items() if k != "second"},
            "second.png": png(s["second"]),
        }
        for s in with_second(16)
    )
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    pipeline = A.Compose([A.NoOp()], additional_targets={"second": "mask"})
    dataset = fiberaug.StreamingDataset(
        tmp_path / "set",
        fields={"image": "png", "mask": "mask.png", "second": "second.png"},
        transform=pipeline,
    )
    gpu = [K.Resize((20, 24)), K.RandomHorizontalFlip(p=0.5)]
    for batch in fiberaug.DataLoader(dataset, 8, gpu_transform=gpu):
        assert batch["mask"].shape == (8, 20, 24)
        assert torch.equal(batch["mask"], batch["second"])


def png(mask):
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "png")
    return out.getvalue()


def test_further_images_would_stay_and_are_refused(tmp_path):
    content = ({**s, "second": s["image"]} for s in samples(8))
    content = (
        {"__key__": s["__key__"], "image": s["image"], "second.png": png(s["second"])}
        for s in content
    )
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    dataset = fiberaug.StreamingDataset(
        tmp_path / "set",
        fields={"image": "png", "second": "second.png"},
        transform=A.Compose([A.NoOp()], additional_targets={"second": "image"}),
    )
    with pytest.raises(UsageError, match=r"moves the pixels.*\['second'\]"):
        fiberaug.DataLoader(dataset, 8, gpu_transform=K.RandomHorizontalFlip())
    bright = K.RandomBrightness((0.9, 1.1))
    assert next(iter(fiberaug.DataLoader(dataset, 8, gpu_transform=bright)))


def test_an_operation_of_ones_own_is_told_apart_by_its_values(shards):
    run = loader(shards, 16, gpu=[Dim(0.5)])
    next(iter(run))
    with pytest.raises(StateMismatch, match="recipe"):
        loader(shards, 16, gpu=[Dim(0.9)]).load_state_dict(run.state_dict())
    loader(shards, 16, gpu=[Dim(0.5)]).load_state_dict(run.state_dict())


def test_what_the_user_changes_later_changes_nothing(shards):
    flip = K.RandomHorizontalFlip(p=0.0)
    run = loader(shards, 16, gpu=[flip])
    flip.p = 1.0
    assert not any(
        transform.path == "gpu.0"
        for record, _ in rows(run).values()
        for transform in record.applied_transforms
    )


@pytest.mark.parametrize("form", ["vector", "number"])
def test_labels_that_are_no_ids_mix_without_a_number_of_classes(tmp_path, form):
    def content():
        for i, sample in enumerate(samples(32)):
            label = [float(i % 4 == k) for k in range(4)] if form == "vector" else i / 7
            yield {"__key__": sample["__key__"], "image": sample["image"],
                   "json": {"label": label}}  # fmt: skip

    fiberaug.convert(content(), tmp_path / "set", progress=False)
    fields = {"image": "jpg;png", "label": "json:label"}
    run = loader(tmp_path / "set", 8, mixes=[MixUp()], fields=fields)
    alone = rows(loader(tmp_path / "set", 8, fields=fields), ("label",))
    for position, (record, (label,)) in rows(run, ("label",)).items():
        lam = record.applied_transforms[-1].params["lam"]
        other = alone[record.batch["partners"][0]["position"]][1][0]
        torch.testing.assert_close(
            label, (lam * alone[position][1][0] + (1 - lam) * other).float()
        )


def test_a_blend_stands_behind_the_normalisation_that_it_follows(shards):
    for record, _ in rows(loader(shards, 16, mixes=[MixUp(num_classes=4)])).values():
        assert [t.name for t in record.applied_transforms][-2:] == [
            "Normalize",
            "MixUp",
        ]


@pytest.mark.parametrize("mix", [MixUp(num_classes=4), Mosaic(p=1.0)])
def test_broken_rows_that_are_masked_are_nobodys_partners(tmp_path, mix):
    def content():
        for i, whole in enumerate(samples(48)):
            cut = {"__key__": whole["__key__"], "jpg": cut_jpeg(i), "label": 0}
            sample = cut if i % 11 == 5 else whole
            yield {**sample, "json": {"boxes": [[1, 2, 9, 8]], "kinds": [1]}}

    with fiberaug.ShardWriter(tmp_path / "set", encoding="jpeg") as writer:
        for sample in content():
            writer.write(sample)
    fields = {"image": "jpg", "label": "cls"}
    if isinstance(mix, Mosaic):
        fields = {"image": "jpg", "bboxes": "json:boxes", "bbox_labels": "json:kinds"}
    run = loader(
        tmp_path / "set",
        12,
        mixes=[mix],
        fields=fields,
        on_error="mask",
        max_errors=1.0,
    )
    broken = {f"k{i:03d}" for i in range(48) if i % 11 == 5}
    seen = masked = 0
    for batch in run:
        for row, record in enumerate(batch["record"]):
            masked += record.key in broken
            partners = {p["key"] for p in record.batch["partners"]}
            seen += len(partners)
            assert not partners & broken
            if not batch["is_pad"][row]:
                sample = fiberaug.replay(record, run)
                assert torch.equal(sample["image"], batch["image"][row])
    assert masked == len(broken)
    assert seen > 20


def test_a_replay_has_the_dtype_and_layout_of_the_batch(shards):
    run = fiberaug.DataLoader(
        loader(shards, 16).dataset, 16, gpu_transform=operations(),
        dtype=torch.bfloat16, channels_last=True,
    )  # fmt: skip
    batch = next(iter(run))
    sample = fiberaug.replay(batch["record"][3], run)
    assert torch.equal(sample["image"], batch["image"][3])
    assert sample["image"].dtype == torch.bfloat16


def test_records_of_views_are_replayed_one_by_one_and_that_is_said(shards):
    run = loader(shards, 8, views=2)
    batch = next(iter(run))
    with pytest.raises(UsageError, match=r"2 views.*\[row\]\[view\]"):
        fiberaug.replay(batch["record"], run)
    with pytest.raises(UsageError, match=r"batch\['record'\] for a whole batch"):
        fiberaug.replay(batch["record"][:3], run)


def test_the_command_line_shows_the_sample_after_its_batch(shards, tmp_path):
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.Compose([A.RandomCrop(32, 24), A.Normalize()]), seed=3
    )
    run = fiberaug.DataLoader(
        dataset, 16, gpu_transform=operations(), log=tmp_path / "run",
        batch_transform=MixUp(num_classes=4),
    )  # fmt: skip
    batch = next(iter(run))
    run.close()
    key, out = batch["__key__"][2], tmp_path / "o.png"
    said = CliRunner().invoke(
        app, ["replay", str(tmp_path / "run"), "--key", key, "-o", str(out)]
    )
    assert said.exit_code == 0, said.output
    mean, std = (torch.tensor(v)[:, None, None] for v in (
        [0.485, 0.456, 0.406], [0.229, 0.224, 0.225],
    ))  # fmt: skip
    expected = ((batch["image"][2] * std + mean) * 255).clamp(0, 255)
    found = torch.from_numpy(np.array(Image.open(out))).permute(2, 0, 1)
    assert (found - expected).abs().max() <= 0.51
    assert any(
        path.name.endswith("-batch.png") for path in out.with_suffix(".steps").iterdir()
    )


def test_a_draw_without_gates_and_a_device_that_is_not_there_are_told(shards):
    class Bare(Dim):
        def draw(self, shape):
            return {"amount": torch.zeros(shape[0])}

    with pytest.raises(UsageError, match="batch_prob"):
        next(iter(loader(shards, 8, gpu=[Bare(0.5)])))
    if not torch.cuda.is_available():
        dataset = loader(shards, 8).dataset
        with pytest.raises(UsageError, match="no CUDA device"):
            fiberaug.DataLoader(dataset, 8, gpu_transform=operations(), device="cuda")
