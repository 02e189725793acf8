"""What users do to a GAN trainer: it works, or is refused before anything is spent."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fiberaug
from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError
from fiberaug.models import Critic, Generator
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training import GANTrainer, plans
from fiberaug.training.gan_options import GANOptions

QUICK = {"judge": False, "progress": False, "memory": "20GB", "batch_size": 4}


class Made(nn.Module):
    """A user's generator of 8x8 px."""

    z_dim = 5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3 * 8 * 8)

    def forward(self, z):
        return torch.tanh(self.layer(z)).view(-1, 3, 8, 8)


class MadeByClass(Made):
    """One that has to be told a class, and knows two."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Embedding(2, 5)

    def forward(self, z, labels):
        return super().forward(z + self.classes(labels))


class JudgeByClass(nn.Module):
    """A user's critic that has to be told a class."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 2)

    def forward(self, images, y):
        return self.layer(images.flatten(1)).gather(1, y[:, None])


class OneHot(Made):
    """One whose labels are vectors."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Linear(2, 5)

    def forward(self, z, labels):
        return super().forward(z + self.classes(labels))


class Broken(Made):
    """One that raises an error of its own, of two lines."""

    def forward(self, z):
        raise ValueError("the first\nand the second line")


class Ours(Generator):
    """A generator of this package that a user has derived from."""


def judge():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 1))


def frozen(module):
    return module.requires_grad_(requires_grad=False)


def photos(count=16, size=(8, 8), channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *size, channels), dtype=np.uint8)


def labels(count=16, classes=2):
    return np.arange(count) % classes


@pytest.fixture
def fits(monkeypatch):
    """Let the memory that a step takes be none: how it is found is tested elsewhere."""
    monkeypatch.setattr(
        plans, "footprint", lambda *_, **__: type("F", (), {"total": 1})
    )


def sharing():
    made, judged = Made(), judge()
    judged.append(nn.Identity())
    judged[2].weight = made.layer.weight
    return made, judged


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        (lambda: (frozen(Made()), judge()), "generator are frozen"),
        (lambda: (Made(), frozen(judge())), "critic are frozen"),
        (lambda: (Made().double(), judge()), "torch.float64"),
        (lambda: (Made(), judge().bfloat16()), "torch.bfloat16"),
        (lambda: (Made(), nn.Sequential(nn.Flatten(), nn.LazyLinear(1))), "not known"),
        (sharing, "in common"),
        (lambda: (Made, judge()), "got type"),
        (lambda: (Made(), nn.Identity()), "got Identity"),
        (lambda: (Broken(), judge()), "the first and the second line"),
        (lambda: (MadeByClass(), judge()), "critic takes none"),
        (lambda: (Made(), JudgeByClass()), "generator takes none"),
        (lambda: (OneHot(), JudgeByClass()), r"labels \[0, 0\]"),
        (lambda: (Made(), nn.Conv2d(3, 1, 3)), "give the mean"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused_when_the_trainer_is_made(
    networks, said
):
    with pytest.raises(UsageError, match=said) as refused:
        GANTrainer(*networks(), photos(), **QUICK)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("made", "data", "options", "said"),
    [
        (MadeByClass, photos(), {}, "needs labels, and the data has none"),
        (MadeByClass, (photos(), labels()), {"conditional": False}, "needs labels"),
        (MadeByClass, (photos(), labels(classes=3)), {}, r"labels \[0, 2\]"),
        (MadeByClass, (photos(), np.array(["cat", "dog"] * 8)), {}, "np.unique"),
        (Made, photos(0), {}, "no photo"),
        (Made, list(photos()), {}, "np.stack"),
        (Made, list(photos(2)), {}, "np.stack"),
    ],
)
def test_networks_and_data_that_do_not_fit_are_refused_and_nothing_is_written(
    made, data, options, said, tmp_path
):
    judged = JudgeByClass() if made is MadeByClass else judge()
    trainer = GANTrainer(made(), judged, data, out=tmp_path / "out", **QUICK, **options)
    with pytest.raises(FiberAugError, match=said) as refused:
        trainer.train(images=8)
    assert isinstance(refused.value, UsageError | DataRefused)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_workers": -1}, {"num_workers": "2"}, {"save_every": 0},
        {"save_every": "often"}, {"latent": 5}, {"latent": (5, 0)}, {"watchers": None},
        {"watchers": ["mine"]}, {"device": "nonsense"}, {"out": 5}, {"out": ""},
        {"betas": (0.9,)}, {"betas": "ab"}, {"augment": None}, {"augment_share": "all"},
        {"half_life": "long"}, {"half_life": float("nan")}, {"batch_size": 4.0},
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_of_the_wrong_kind_is_named(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        GANTrainer(Made(), judge(), photos(), **{**QUICK, **wrong})


@given(
    st.sampled_from(["betas", "augment_share", "half_life", "critic_steps", "lr"]),
    st.one_of(
        st.text(max_size=4), st.floats(), st.booleans(), st.lists(st.floats()),
        st.binary(max_size=3), st.tuples(st.floats(), st.text(max_size=2)),
    ),
)  # fmt: skip
def test_an_option_of_any_kind_is_taken_or_refused_by_name(name, value):
    try:
        told = GANOptions(**{name: value})
    except UsageError:
        return
    assert all(0 <= one < 1 for one in told.betas_at(5, 10))
    assert told.lr_at(5, 10) >= 0
    assert told.half_life > 0
    assert 0 <= told.share_of(2_000) <= 1


def test_a_file_is_no_folder_of_a_training_and_is_left_as_it_is(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for out in (file, file / "below" / "it"):
        with pytest.raises(StoreError, match="is a file"):
            GANTrainer(Made(), judge(), photos(), out=out, **QUICK)
    assert file.read_text() == "mine"


@pytest.mark.usefixtures("fits")
def test_a_second_call_without_a_folder_goes_on_in_that_of_the_first(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    trainer = GANTrainer(Made(), judge(), photos(), **QUICK)
    trainer.train(images=4)
    trainer.train(images=8)
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["gan-1"]


@pytest.mark.usefixtures("fits")
def test_windows_are_learnt_by_networks_that_are_not_told_where_they_lie(
    tmp_path, caplog
):
    made = Generator(8, width=4, z_dim=5), Critic(8, width=4)
    data = photos(size=(24, 32))
    options = {"windows": True, "out": tmp_path / "out", **QUICK}
    generator = GANTrainer(*made, data, **options).train(images=8)
    assert "not told where" in caplog.text
    assert generator.generate([1, 2]).shape == (2, 8, 8, 3)
    assert generator.export(tmp_path / "made.pt2").exists()


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize("kind", ["derived", "compiled", "parallel"])
def test_a_generator_in_a_wrapping_is_trained_and_comes_back(kind, tmp_path):
    torch.manual_seed(0)
    made: nn.Module = Ours(8, width=4, z_dim=5)
    if kind == "compiled":
        made = torch.compile(Generator(8, width=4, z_dim=5), backend="eager")
    elif kind == "parallel":
        made = nn.DataParallel(Generator(8, width=4, z_dim=5))
    out = tmp_path / "out"
    generator = GANTrainer(made, judge(), photos(), out=out, **QUICK).train(images=8)
    if kind == "derived":
        with pytest.raises(UsageError, match="Ours"):
            fiberaug.load(out / "generator")
        again = GANGenerator.of(Ours(8, width=4, z_dim=5), out / "generator")
    else:
        again = fiberaug.load(out / "generator")
    assert np.array_equal(again.generate([3]), generator.generate([3]))


@pytest.mark.parametrize(
    ("seeds", "classes", "said"),
    [
        (None, [0], "seeds must be a list"),
        (5, [0], "seeds must be a list"),
        (["a"], [0], "integer in"),
        ([1.5], [0], "integer in"),
        ([True], [0], "integer in"),
        ([2**63], [0], "integer in"),
        ([1], None, "0 is the first of cat, dog"),
        ([1], ["cat"], "class numbers"),
        ([1], [0.5], "class numbers"),
        ([1, 2], [0], "needs a label"),
    ],
)
def test_seeds_and_labels_that_are_no_integers_are_refused(seeds, classes, said):
    generator = GANGenerator(
        Generator(8, classes=2, width=4, z_dim=5), classes=("cat", "dog")
    )
    with pytest.raises(UsageError, match=said):
        generator.generate(seeds, classes)


def test_a_generator_without_classes_needs_no_labels():
    torch.manual_seed(0)
    generator = GANGenerator(Generator(8, width=4, z_dim=5))
    assert np.array_equal(
        generator.generate([1, 2]), generator.generate([1, 2], [0, 0])
    )


@pytest.mark.usefixtures("fits")
def test_the_time_of_a_training_is_told_however_long():
    trainer = GANTrainer(Made(), judge(), photos(), **QUICK)
    assert " years for " in str(trainer.plan(10**18))
