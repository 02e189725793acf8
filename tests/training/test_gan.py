"""A GAN trained through its public names: what works, and what is refused in time."""

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

import fiberaug
from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.models import Critic, Generator
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training import GANTrainer
from fiberaug.training.contracts import Verdict, Watcher
from fiberaug.training.states import latest

QUICK = {"judge": False, "progress": False, "memory": "20GB", "batch_size": 8}


class OldGenerator(nn.Module):
    """That of the experiment this project grew from, at 16 px."""

    def __init__(self, image_size=(3, 16, 16), latent_dim=100):
        super().__init__()
        self.latent_dim = latent_dim
        self.model = nn.Sequential(
            nn.ConvTranspose2d(latent_dim, 64, 4, 1, 0, bias=False),
            nn.BatchNorm2d(64), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False),
            nn.BatchNorm2d(32), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, image_size[0], 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.model(z)


class OldDiscriminator(nn.Module):
    """Its critic, which has batch normalisation and no sigmoid."""

    def __init__(self, image_size=(3, 16, 16)):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(image_size[0], 64, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(128, 1, 4, 1, 0, bias=False),
        )  # fmt: skip

    def forward(self, image):
        return self.model(image).view(-1)


def photos(count=64, size=(8, 8), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    labels = np.arange(count) % 2
    images[labels == 1] //= 4
    return images, labels


def networks(size=(8, 8), classes=2, **options):
    torch.manual_seed(1)
    made = {"classes": classes, "width": 4, **options}
    return Generator(size, **made, z_dim=6), Critic(size, **made)


def weights(module):
    return [one.detach().clone() for one in module.parameters()]


def moved(module, before):
    pairs = zip(module.parameters(), before, strict=True)
    return not all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("loss", ["rpgan", "wgan-clip", "bce", "wgan-gp"])
def test_the_old_experiments_networks_train(tmp_path, loss):
    torch.manual_seed(0)
    generator, critic = OldGenerator(), OldDiscriminator()
    before = [weights(one) for one in (generator, critic)]
    made = GANTrainer(
        generator,
        critic,
        photos(size=(16, 16))[0],
        loss=loss,
        out=tmp_path / "run",
        **QUICK,
    ).train(images=80)
    assert moved(generator, before[0])
    assert moved(critic, before[1])
    images = made.generate([1, 2], [0, 0])
    assert images.shape == (2, 16, 16, 3)
    if loss == "wgan-clip":
        assert max(float(one.detach().abs().max()) for one in critic.parameters()) <= (
            0.01
        )
    again = GANGenerator.of(OldGenerator(), tmp_path / "run" / "generator")
    assert np.array_equal(again.generate([1, 2], [0, 0]), images)


def test_what_is_trained_is_opened_and_written_as_a_pool(tmp_path):
    trainer = GANTrainer(*networks(), photos(), out=tmp_path / "run", **QUICK)
    generator = trainer.train(images=48)
    opened = fiberaug.load(tmp_path / "run" / "generator")
    seeds, labels = [5, 6, 7], [0, 1, 1]
    assert np.array_equal(
        generator.generate(seeds, labels), opened.generate(seeds, labels)
    )
    pool = fiberaug.Pool.write(
        opened, tmp_path / "pool", per_class=4, progress=False, dedupe=False
    )
    assert len(pool) == 8
    told = json.loads((tmp_path / "run/generator/generator.json").read_text())
    assert told["notes"]["trained_on"]["photos"] == 64
    assert told["notes"]["images"] == 48


def test_a_labelled_stream_of_shards_is_trained_on(tmp_path):
    images, labels = photos(40)
    with fiberaug.ShardWriter(tmp_path / "shards", classes=("a", "b")) as writer:
        for i, image in enumerate(images):
            label = int(labels[i])
            writer.write({"__key__": f"{i:03d}", "image": image, "label": label})
    generator = GANTrainer(
        *networks(), tmp_path / "shards", out=tmp_path / "run", num_workers=1, **QUICK
    ).train(images=48)
    assert generator.classes == ("a", "b")


def test_a_plan_changes_nothing_and_begins_nothing(tmp_path):
    generator, critic = networks()
    before, out = weights(generator), tmp_path / "run"
    trainer = GANTrainer(generator, critic, photos(), out=out, **QUICK)
    plan = trainer.plan(images=1000)
    assert not moved(generator, before)
    assert not out.exists()
    assert plan.seconds > 0
    assert 10**8 < plan.peak < plan.budget == 20 * 10**9
    counted = sum(one.numel() for one in generator.parameters())
    assert plan.parameters["generator"] == counted
    assert json.loads(json.dumps(plan.to_dict()))["images"] == 1000
    assert "memory: " in str(plan)


def test_resume_goes_on_with_a_folder_and_refuses_one_without(tmp_path):
    out = tmp_path / "run"
    GANTrainer(*networks(), photos(), out=out, **QUICK).train(images=48)
    trainer = GANTrainer(*networks(), photos(), **QUICK).resume(out)
    trainer.train(images=80)
    assert latest(out).facts["step"] == 10
    with pytest.raises(UsageError, match="holds no training"):
        trainer.resume(tmp_path / "none")


def test_without_a_folder_each_training_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        GANTrainer(*networks(), photos(), **QUICK).train(images=16)
    assert sorted(one.name for one in (tmp_path / "runs").iterdir()) == [
        "gan-1", "gan-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 4}, r"data\.seed = 0, and this one has 4"),
        ({"batch_size": 16}, "batch_size"),
        ({"loss": "bce"}, r"options\.loss = 'rpgan'"),
        ({"data": photos(seed=3)}, r"data\.fingerprint"),
    ],
)
def test_another_training_in_the_folder_is_refused(tmp_path, changed, said):
    out = tmp_path / "run"
    GANTrainer(*networks(), photos(), out=out, **QUICK).train(images=16)
    given = {**QUICK, **changed}
    data = given.pop("data", photos())
    with pytest.raises(StateMismatch, match=said):
        GANTrainer(*networks(), data, out=out, **given).train(images=32)


def test_a_state_of_another_architecture_is_refused_by_its_first_tensor(tmp_path):
    out = tmp_path / "run"
    GANTrainer(*networks(), photos(), out=out, **QUICK).train(images=16)
    wider = networks(width=6)
    with pytest.raises(StateMismatch, match=r"another generator: .* is \["):
        GANTrainer(*wider, photos(), out=out, **QUICK).train(images=32)


def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path):
    out = tmp_path / "run"

    def refused(kind, said, data, *, made=None, **options):
        with pytest.raises(kind, match=said):
            GANTrainer(*(made or networks()), data, out=out, **(QUICK | options)).train(
                images=32
            )
        assert not out.exists()

    images, labels = photos()
    refused(UsageError, "made for 3 classes and the data has 2", (images, labels),
            made=networks(classes=3))  # fmt: skip
    refused(UsageError, "label", images)
    refused(DataRefused, "same|alike|constant", (np.zeros_like(images), labels))
    refused(UsageError, "does not fit", (images, labels), memory="100MB")
    refused(DataRefused, "no photo", (images[:0], labels[:0]))


def test_few_photos_a_class_are_warned_of_with_the_evidence(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fiberaug"):
        GANTrainer(*networks(), photos(), out=tmp_path / "run", **QUICK).train(16)
    assert any("2603.16134" in one for one in caplog.messages)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "hinge"}, "rpgan, bce"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": "steep 1"}, "ramp"),
        ({"gamma": -1.0}, "gamma"),
        ({"betas": (0.5, 1.0)}, "betas"),
        ({"augment": "sharpen"}, "sharpen"),
        ({"augment_share": 1.5}, "augment_share"),
        ({"critic_steps": 0}, "critic_steps"),
        ({"half_life": 0}, "half_life"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(options, said):
    with pytest.raises(UsageError, match=said):
        GANTrainer(*networks(), photos(), **(QUICK | options))


def test_images_to_show_are_a_number(tmp_path):
    with pytest.raises(UsageError, match="integer >= 1, got 0"):
        GANTrainer(*networks(), photos(), out=tmp_path / "run", **QUICK).train(0)


class Spoils(Watcher):
    """Puts a NaN into the weights once, as a broken driver might."""

    def __init__(self, at):
        self.at = at

    def step(self, view):
        if view.step == self.at:
            self.at = -1
            with torch.no_grad():
                next(view.task.generator.module.parameters()).fill_(float("nan"))


def test_weights_that_are_not_finite_are_taken_back_and_never_saved(tmp_path):
    out = tmp_path / "run"
    generator = GANTrainer(
        *networks(), photos(), out=out, save_every=24, watchers=[Spoils(5)], **QUICK
    ).train(images=80)
    state = latest(out)
    assert state.facts["task"]["slowed"] == 0.5
    assert all(
        bool(torch.isfinite(one.float()).all())
        for some in state.tensors.values()
        for one in some.values()
    )
    assert generator.generate([1], [0]).std() > 0
    rows = (out / "loss.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 11))


class KeepsAt(Watcher):
    """Judges the generator of one step the best."""

    def __init__(self, at):
        self.at = at

    def step(self, view):
        return Verdict(best=True) if view.step == self.at else None


def test_the_generator_that_was_judged_best_is_returned(tmp_path):
    out = tmp_path / "run"
    best = GANTrainer(
        *networks(), photos(), out=out, watchers=[KeepsAt(4)], **QUICK
    ).train(images=80)
    told = [
        json.loads((out / name / "generator.json").read_text())["notes"]["images"]
        for name in ("best", "generator")
    ]
    assert told == [32, 80]
    opened = fiberaug.load(out / "best")
    assert np.array_equal(best.generate([3], [1]), opened.generate([3], [1]))


def test_windows_of_large_photos_are_trained_on_with_their_places(tmp_path):
    images, labels = photos(24, (48, 64))
    generator = GANTrainer(
        *networks(places=True), (images, labels), out=tmp_path / "run", **QUICK
    ).train(images=48)
    told = json.loads((tmp_path / "run/generator/generator.json").read_text())["notes"]
    assert told["scales"] == [1.0, 6.0]
    assert told["photo_px"] == [48, 64]
    assert generator.generate([1, 2], [0, 1]).shape == (2, 8, 8, 3)
    GANTrainer(
        *networks(places=True), (images, labels), out=tmp_path / "scaled",
        scales=(2.0, 4.0), **QUICK,
    ).train(images=8)  # fmt: skip
    other = json.loads((tmp_path / "scaled/generator/generator.json").read_text())
    assert other["notes"]["scales"] == [2.0, 4.0]
    placed = generator.generate([1, 1], [0, 0], places=[[0, 0, 0], [0.5, 0, 2]])
    assert not np.array_equal(placed[0], placed[1])
