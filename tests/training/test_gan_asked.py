"""What is asked of a GAN trainer reaches the step, the plan, the state, the folder."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fiberaug.errors import UsageError
from fiberaug.models import Critic, Generator
from fiberaug.training import GANTrainer
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.plans import plan_for
from fiberaug.training.states import latest
from fiberaug.training.trainer import _on_cpu

QUICK = {"judge": False, "progress": False, "memory": "20GB", "batch_size": 8}


def photos(count=64):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return images, np.arange(count) % 2


def networks(classes=2):
    torch.manual_seed(1)
    return Generator(8, classes, width=4, z_dim=6), Critic(8, classes, width=4)


def test_what_is_asked_for_is_what_is_trained_with(tmp_path):
    given = {
        "loss": "bce", "gamma": 0.1, "lr": "linear 0.004 0", "critic_lr": 0.002,
        "betas": (0.1, 0.2), "critic_steps": 3, "augment": "color",
        "augment_share": 0.25, "half_life": 10.0, "seed": 2**40,
    }  # fmt: skip
    out = tmp_path / "run"
    GANTrainer(
        *networks(), photos(400), out=out, licence="CC0-1.0", save_every=16,
        held_out=0.25, **QUICK, **given,
    ).train(images=40)  # fmt: skip
    notes = json.loads((out / "generator/generator.json").read_text())["notes"]
    expected = json.loads(json.dumps(given))
    assert notes["options"] == expected
    assert notes["licence"] == "CC0-1.0"
    assert 250 < notes["trained_on"]["photos"] < 350  # by hash, not by count
    told = latest(out).facts["identity"]
    assert told["options"] == expected
    assert told["batch_size"] == 8
    assert told["data"]["seed"] == 2**40
    kept = sorted(int(one.name) for one in (out / "state").iterdir())
    assert kept == [32, 40]


class Sees:
    """Notes what a training is made of."""

    def begin(self, view):
        self.view, self.notes, self.closed = view, list(view.notes), 0
        usual = view.source.close

        def close():
            self.closed += 1
            usual()

        view.source.close = close

    def step(self, view):
        pass

    def end(self, view):
        assert not self.closed

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_training_has_the_levers_the_share_and_the_warnings_that_were_planned(
    tmp_path,
):
    sees, out = Sees(), tmp_path / "run"
    trainer = GANTrainer(
        *networks(), photos(), out=out, bf16=True, watchers=[sees], **QUICK
    )
    trainer.train(images=16)
    assert sees.view.task.levers.bf16
    assert latest(out).facts["task"]["levers"]["bf16"]
    assert sees.view.task.augmenter.share == 1  # of 64 photos
    assert any("2603.16134" in one for one in sees.notes)
    assert sees.closed == 1


def test_processes_that_read_photos_are_planned_for():
    def peak(workers):
        trainer = GANTrainer(*networks(), photos(), num_workers=workers, **QUICK)
        return trainer.plan(16, probe=False).peak

    assert 400e6 <= peak(2) - peak(0) < 600e6  # 2 of 250 MB; the rest varies


@pytest.mark.parametrize("bf16", [None, False])
def test_bfloat16_is_no_lever_where_it_is_not_wanted(bf16):
    given = QUICK | {"memory": "60MB"}
    with pytest.raises(UsageError, match="with all that makes it less") as raised:
        GANTrainer(*networks(), photos(), bf16=bf16, **given).plan(16, probe=False)
    assert ("bf16" in str(raised.value)) == (bf16 is None)


def test_networks_without_classes_are_trained_on_photos_that_have_some(tmp_path):
    generator = GANTrainer(
        *networks(classes=0), photos(), out=tmp_path / "run", **QUICK
    ).train(images=16)
    assert generator.classes == ()


@pytest.mark.parametrize("recompute", [False, True])
def test_memory_goes_back_at_once_where_blocks_are_computed_again(
    tmp_path, monkeypatch, recompute
):
    called = []
    monkeypatch.setattr(
        "fiberaug.training.trainer.give_back_at_once", lambda: called.append(1)
    )

    def plan(*args, **options):
        found = plan_for(*args, **options)
        levers = Levers(finite_difference=True, recompute=True)
        return dataclasses.replace(found, levers=levers) if recompute else found

    def trainer():
        return GANTrainer(*networks(), photos(), out=tmp_path / "run", **QUICK)

    monkeypatch.setattr("fiberaug.training.trainer.plan_for", plan)
    trainer().train(16)
    assert called == [1] * recompute
    monkeypatch.undo()
    monkeypatch.setattr(
        "fiberaug.training.trainer.give_back_at_once", lambda: called.append(2)
    )
    trainer().train(24)  # the levers of the state are taken, too
    assert called == [1, 2] * recompute


@pytest.mark.parametrize(("device", "found"), [("cpu", True), ("meta", False)])
def test_the_c_library_matters_to_networks_on_a_cpu_alone(device, found):
    module = torch.nn.Linear(1, 1, device=device)
    assert _on_cpu(SimpleNamespace(modules=lambda: {"generator": module})) is found


def test_a_judge_looks_on_where_it_is_wanted_and_has_the_time():
    def judges(images, judge):
        trainer = GANTrainer(*networks(), photos(), **(QUICK | {"judge": judge}))
        watchers = trainer._all_watchers(images)
        return [one for one in watchers if isinstance(one, Judge)]

    assert len(judges(10_000, True)) == 1  # noqa: FBT003  # whether to judge
    assert judges(9_999, True) == []  # noqa: FBT003
    assert judges(10_000, False) == []  # noqa: FBT003
    mine = Judge()
    assert judges(16, mine) == [mine]
