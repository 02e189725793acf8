"""A diffusion model learns what its photos show, and goes on where it was."""

import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

import fiberaug
from fiberaug.errors import StateMismatch, UsageError
from fiberaug.models import UNet
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.training import DiffusionTrainer, Watcher
from fiberaug.training.contracts import Photos, RealBatch
from fiberaug.training.diffusion_options import DiffusionOptions
from fiberaug.training.diffusion_task import DiffusionTask
from fiberaug.training.levers import Levers
from fiberaug.training.ranking import Ranks
from fiberaug.training.states import latest

QUICK = {
    "batch_size": 12, "memory": "20GB", "judge": False, "progress": False,
    "held_out": 0.0, "guard": False,
}  # fmt: skip


def photos(count=60, size=(8, 12), channels=3):
    """Photos whose class is how bright their upper half is."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % 2
    images = rng.integers(90, 120, (count, *size, channels))
    images[:, : size[0] // 2] += 120 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def unet(classes=2, **options):
    torch.manual_seed(0)
    return UNet((8, 12), classes, width=8, **options)


def weights(trainer):
    state = latest(trainer.out)
    return {
        f"{file}/{name}": value
        for file, some in state.tensors.items()
        for name, value in some.items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) for k in one
    )


def test_generated_images_are_of_the_class_that_is_asked_for(tmp_path):
    generator = DiffusionTrainer(
        unet(), photos(), out=tmp_path / "run", lr="cosine 5e-3 1e-4", half_life=2_000,
        **QUICK,
    ).train(images=12 * 250)  # fmt: skip
    seeds = list(range(8))
    dark, light = (generator.generate(seeds, [one] * 8) for one in (0, 1))
    upper = [float(one[:, :4].mean()) for one in (dark, light)]
    lower = [float(one[:, 4:].mean()) for one in (dark, light)]
    assert upper == pytest.approx([105, 225], abs=25)
    assert lower == pytest.approx([105, 105], abs=25)
    opened = fiberaug.load(tmp_path / "run/generator")
    assert np.array_equal(opened.generate(seeds, [1] * 8), light)
    notes = json.loads((tmp_path / "run/generator/generator.json").read_text())["notes"]
    assert notes["options"]["min_snr"] == 5.0
    assert notes["trained_on"]["photos"] == 60


class Breaks(Watcher):
    """Ends a training as Ctrl-C does, at a step."""

    def __init__(self, at):
        self.at = at

    def step(self, view):
        if view.step == self.at:
            self.at = -1
            raise KeyboardInterrupt


@pytest.mark.parametrize("levers", [{}, {"bf16": True}])
def test_a_training_that_was_broken_off_is_the_unbroken_one(tmp_path, levers):
    def trainer(name, **more):
        return DiffusionTrainer(
            unet(), photos(), out=tmp_path / name, save_every=36, seed=5,
            **(QUICK | levers | more),
        )  # fmt: skip

    whole = trainer("whole")
    whole.train(images=144)
    broken = trainer("broken", watchers=[Breaks(5)])
    with pytest.raises(KeyboardInterrupt):
        broken.train(images=144)
    assert latest(tmp_path / "broken").facts["step"] < 12
    again = trainer("broken", watchers=[Breaks(-1)])
    again.train(images=144)
    assert same(weights(whole), weights(again))
    rows = [(tmp_path / one / "loss.csv").read_text() for one in ("whole", "broken")]
    steps = [[row.split(",")[0] for row in one.splitlines()[1:]] for one in rows]
    assert steps[0] == steps[1] == [str(step) for step in range(1, 13)]


def task(module, **options):
    levers = options.pop("levers", Levers())
    return DiffusionTask(
        module, DiffusionOptions(**options), image=(3, 8, 12), classes=("a", "b"),
        total=1_000, levers=levers,
        ranks=Ranks.alone(), save=lambda *_: None,
    )  # fmt: skip


def batch(rows=12):
    torch.manual_seed(2)
    return RealBatch(torch.rand(rows, 3, 8, 12) * 2 - 1, torch.arange(rows) % 2)


def test_the_average_is_the_exponential_mean_of_the_weights():
    module = unet()
    trained = task(module, half_life=24, lr=0.01)
    mean = {name: one.detach().clone() for name, one in module.named_parameters()}
    for step in range(6):
        trained.step(batch(), step=step, nimg=12 * step)
        half_life = min(24, 0.05 * 12 * (step + 1))
        keep = 0.5 ** (12 / half_life)
        for name, one in module.named_parameters():
            mean[name] = keep * mean[name] + (1 - keep) * one.detach()
    for name, one in trained.average.module.named_parameters():
        assert torch.allclose(one, mean[name], atol=1e-6)
        assert not one.requires_grad


def test_a_gradient_that_is_too_long_is_shortened_by_all_its_numbers_alike():
    class Heavy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([3.0, 4.0]))

        def forward(self, x, t, labels):
            return x * self.weight[0] + 100 * self.weight[1]

    found = []
    for longest in (1e9, 0.5):
        module = Heavy()
        trained = task(module, longest=longest)
        trained.optimisers["unet"].step = lambda m=module: found.append(
            m.weight.grad.clone()
        )
        trained.step(batch(), step=0, nimg=0)
    assert found[1].norm() == pytest.approx(0.5, rel=1e-4)
    assert torch.allclose(found[0] / found[0].norm(), found[1] / 0.5, rtol=1e-4)


def test_a_state_of_another_network_or_kind_is_refused(tmp_path):
    DiffusionTrainer(unet(), photos(), out=tmp_path, **QUICK).train(images=24)
    torch.manual_seed(0)
    wide = UNet((8, 12), 2, width=16)
    with pytest.raises(StateMismatch, match="another unet"):
        DiffusionTrainer(wide, photos(), out=tmp_path, **QUICK).train(images=48)
    other = DiffusionTrainer(unet(), photos(), out=tmp_path, lr=0.1, **QUICK)
    with pytest.raises(StateMismatch, match="lr"):
        other.train(images=48)


def stock(**options):
    return UNet2DModel(
        sample_size=(8, 12), block_out_channels=(8, 8), norm_num_groups=4,
        layers_per_block=1, down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2, **options,
    )  # fmt: skip


class Plain(nn.Module):
    """A network of the user's, whose arguments have other names."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.classes = nn.Embedding(3, 8)

    def forward(self, x, t, y=None):
        hidden = self.a(x) + t[:, None, None, None] / 1000
        if y is not None:
            hidden = hidden + self.classes(y)[:, :, None, None]
        return self.b(torch.relu(hidden))


@pytest.mark.parametrize("name", ["stock", "own"])
def test_networks_of_others_are_trained_and_opened_again(tmp_path, name):
    torch.manual_seed(0)
    make = {"stock": lambda: stock(num_class_embeds=3), "own": Plain}[name]
    size = {"size": (8, 12), "channels": 3} if name == "own" else {}
    module = make()
    before = [one.detach().clone() for one in module.parameters()]
    generator = DiffusionTrainer(
        module, photos(), out=tmp_path / "run", **(QUICK | size)
    ).train(images=48)
    moved = [
        not torch.equal(one, was)
        for one, was in zip(module.parameters(), before, strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    images = generator.generate([1, 2], [0, 1])
    assert images.shape == (2, 8, 12, 3)
    again = DiffusionGenerator.of(make(), tmp_path / "run/generator")
    assert np.array_equal(again.generate([1, 2], [0, 1]), images)


@pytest.mark.parametrize(
    ("module", "data", "options", "said"),
    [
        (lambda: unet(3), photos, {}, "made for 3 classes and the data has 2"),
        (lambda: unet(0), photos, {"conditional": True}, "0 classes and the data"),
        (Plain, photos, {}, r"give size=\(height, width\)"),
        (Plain, photos, {"size": (8, 12)}, "give channels=3"),
        (unet, photos, {"size": (8, 8)}, "made for size"),
        (stock, photos, {"conditional": True}, "classes"),
        (unet, photos, {"min_snr": 0}, "min_snr must be > 0"),
        (unet, photos, {"dropped": 1.5}, r"dropped must be in \[0, 1\]"),
        (unet, photos, {"lr": -1}, "lr must be >= 0"),
        (unet, photos, {"betas": (0.9, 1)}, "betas must be two numbers"),
        (unet, photos, {"longest": 0}, "longest must be > 0"),
        (unet, photos, {"memory": "1MB"}, "does not fit into 1.0 MB"),
        (nn.ReLU, photos, {}, "torch.nn.Module with weights"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_would(
    tmp_path, module, data, options, said
):
    with pytest.raises(UsageError, match=said):
        DiffusionTrainer(
            module(), data(), out=tmp_path / "run", **(QUICK | options)
        ).train(images=24)
    assert not (tmp_path / "run/state").exists()


def test_a_network_of_diffusers_without_classes_is_trained_and_sampled(tmp_path):
    torch.manual_seed(0)
    images, _ = photos()
    generator = DiffusionTrainer(stock(), images, out=tmp_path, **QUICK).train(24)
    assert generator.generate([1, 2]).shape == (2, 8, 12, 3)


class Needs(Plain):
    """It cannot be called without a class."""

    def forward(self, x, t, y):
        return super().forward(x, t, y)


def test_labels_that_a_network_needs_are_asked_for():
    made = DiffusionGenerator(Needs(), shape=(3, 8, 12))
    with pytest.raises(UsageError, match="Needs needs labels: give them"):
        made.generate([1, 2])
    plain = DiffusionGenerator(Plain(), shape=(3, 8, 12), steps=2)
    assert plain.generate([1, 2]).shape == (2, 8, 12, 3)


class Shrinks(Plain):
    """Gives images of another size."""

    def forward(self, x, t, y=None):
        return super().forward(x, t, y)[:, :, ::2]


def test_a_network_that_gives_another_shape_is_refused(tmp_path):
    with pytest.raises(UsageError, match="v of the shape of its noisy images"):
        DiffusionTrainer(
            Shrinks(), photos(), out=tmp_path, size=(8, 12), channels=3, **QUICK
        ).train(images=24)


class Contexts:
    """A source of the user's whose photos have a context: how bright they are."""

    size, channels, classes, photos, has_places = (8, 12), 1, (), 40, False

    def __init__(self):
        rng = np.random.default_rng(1)
        self.levels = rng.integers(0, 2, 40)
        self.images = np.full((40, 8, 12, 1), 40, np.uint8)
        self.images += (170 * self.levels).astype(np.uint8)[:, None, None, None]
        self.images += rng.integers(0, 30, self.images.shape).astype(np.uint8)
        self.at = 0

    def batches(self):
        while True:
            rows = np.random.default_rng(self.at).integers(0, 40, 12)
            self.at += 1
            images = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2)
            levels = torch.from_numpy(self.levels[rows])
            context = torch.nn.functional.one_hot(levels, 2).float()
            yield RealBatch(images.float() / 127.5 - 1, None, None, context)

    def reference(self, count, *, held_out=False):
        return Photos(self.images[:0] if held_out else self.images[:count])

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]

    def describe(self):
        return {"fingerprint": "contexts"}

    def close(self):
        pass


def test_a_context_of_a_source_of_ones_own_is_learned(tmp_path):
    torch.manual_seed(0)
    module = UNet((8, 12), 0, 2, channels=1, width=8)
    generator = DiffusionTrainer(
        module, Contexts(), out=tmp_path, lr="cosine 5e-3 1e-4", half_life=2_000,
        **QUICK,
    ).train(images=12 * 250)  # fmt: skip
    levels = [
        float(generator.generate(list(range(6)), context=context).mean())
        for context in ([1.0, 0.0], [0.0, 1.0])
    ]
    assert levels == pytest.approx([55, 225], abs=25)


class Counts(Watcher):
    """Counts the images that are sampled of a training."""

    def __init__(self):
        self.sampled, self.shown = 0, 0

    def begin(self, view):
        usual = view.task.sample

        def sample(seeds, labels, places=None):
            self.sampled += len(seeds)
            return usual(seeds, labels, places)

        view.task.sample = sample

    def end(self, view):
        self.shown = view.nimg


def test_looks_at_samples_take_a_small_share_of_a_training(tmp_path):
    """Pictures and guard: 10 steps of a sample are as dear as 3 photos of training."""
    counts = Counts()
    DiffusionTrainer(
        unet(), photos(240), out=tmp_path, watchers=[counts],
        **(QUICK | {"batch_size": 120, "guard": True}),
    ).train(images=24_000)  # fmt: skip
    pictures = list((tmp_path / "samples").glob("0*.png"))
    assert 2 <= len(pictures) <= 6  # of a GAN there would be a dozen
    assert counts.sampled * DiffusionTask.sample_cost < 0.1 * counts.shown


def test_levers_of_a_diffusion_model_leave_its_loss_as_it_is(tmp_path):
    trained, said = task(unet()), []
    while (taken := trained.relieve(12)) is not None:
        said.append(taken)
    assert trained.levers == Levers(micro_batches=12, recompute=True, bf16=True)
    assert not any("differences" in one for one in said)
    images, _ = photos(60, (32, 32))
    torch.manual_seed(0)
    wide = UNet((32, 32), width=32)
    options = QUICK | {"batch_size": 2}
    with pytest.raises(UsageError, match="blocks computed again") as refused:
        DiffusionTrainer(
            wide, images, out=tmp_path, **(options | {"memory": "100MB"})
        ).plan(24)
    assert "differences" not in str(refused.value)


def test_without_a_folder_a_training_has_one_of_its_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        DiffusionTrainer(unet(), photos(), **QUICK).train(images=12)
    folders = sorted(one.name for one in (tmp_path / "runs").iterdir())
    assert folders == ["diffusion-1", "diffusion-2"]
