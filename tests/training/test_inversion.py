"""A new word learns; the model that it is a word of stays what it was, bit for bit."""

import dataclasses
import json

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_pipelines import write_stable_diffusion

from fiberaug.errors import StateMismatch, UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.folders import load_pipeline
from fiberaug.training import Plan, TextualInversionTrainer, Watcher
from fiberaug.training import trainer as training
from fiberaug.training.levers import Levers
from fiberaug.training.ranking import Ranks
from fiberaug.training.states import latest
from fiberaug.training.stepping import Share

QUICK = {
    "memory": "20GB", "progress": False, "lr": 1e-2, "batch_size": 2,
    "sample_every": 10**6, "sample_steps": 2, "token": "<thing>", "begin": "dog",
}  # fmt: skip
PROMPT = "a photo of <thing>"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("base") / "sd", size=32)


@pytest.fixture(autouse=True)
def _no_plan(request, monkeypatch):
    """Most tests are of trainings that fit: looking whether they do takes longest."""
    if "plan" in request.node.name:
        return
    cheap = Plan(
        levers=Levers(), peak=0, budget=1, parameters={}, disk=0, images=1
    )  # fmt: skip
    monkeypatch.setattr(training, "plan_for", lambda *_, **__: cheap)


def photos(count=6):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def trainer(base, out, data=None, **options):
    data = photos() if data is None else data
    return TextualInversionTrainer(base, data, out=out, **{**QUICK, **options})


def prepared(base, out, **options):
    """A task, a batch and a trainer, ready for steps."""
    made = trainer(base, out, **options)
    source = made._source(Ranks())
    made._prepare(source, out, Ranks(), 1_000)
    task = made._task(made.networks, source, 100, Levers(), Ranks())
    return task, next(source.batches()), made


def gradient(task, batch, rows, levers=None):
    task.levers = task.stepper.levers = levers or Levers()
    task.stepper.gradient(batch, step=3, share=Share(0, rows))
    found, task.adapters.vectors.grad = task.adapters.vectors.grad.clone(), None
    return found


def weights(out):
    return {
        f"{file}/{name}": value
        for file, some in latest(out).tensors.items()
        for name, value in some.items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )


def learned(folder):
    return load_file(folder / "learned_embeds.safetensors")["<thing>"]


def test_the_loss_of_a_batch_falls_and_only_the_word_changes(base, tmp_path):
    task, batch, made = prepared(base, tmp_path / "run", lr=0.03)
    network = made.model.network
    before = {name: one.clone() for name, one in network.state_dict().items()}
    losses = [
        float(task.advance(batch, step=3, nimg=0)["loss"].detach()) for _ in range(30)
    ]
    assert losses[-1] < losses[0]
    assert losses[:5] == sorted(losses[:5], reverse=True)
    changed = {
        name.rpartition("word.")[2]
        for name, one in network.state_dict().items()
        if not torch.equal(one, before[name])
    }
    assert changed == {"vectors"}
    pipeline = load_pipeline(base)
    assert same(dict(network.unet.state_dict()), dict(pipeline.unet.state_dict()))
    own = network.text_encoder.get_input_embeddings().inner.weight
    assert torch.equal(own, pipeline.text_encoder.get_input_embeddings().weight)
    assert [one for one in network.parameters() if one.requires_grad] == [
        task.adapters.vectors
    ]


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_the_gradient_is_that_of_the_word_s_rows_in_diffusers_own_model(
    tmp_path, predicts
):
    folder = write_stable_diffusion(tmp_path / "sd", size=32, prediction=predicts)
    task, batch, _ = prepared(folder, tmp_path / "run", vectors=2)
    with torch.no_grad():
        task.adapters.vectors[1] += 0.1
    got = gradient(task, batch, 2)
    draws = task.stepper.draws(3, Share(0, 2), torch.Size([4, 4, 4]))

    pipeline = load_pipeline(folder)
    pipeline.load_textual_inversion(
        {"<thing>": task.adapters.vectors.detach().clone()}, token="<thing>"
    )
    rows = pipeline.text_encoder.get_input_embeddings().weight.requires_grad_()
    told = pipeline.encode_prompt(PROMPT, "cpu", 1, False)[0]  # noqa: FBT003  # its own
    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    mean, deviation = batch.images.chunk(2, 1)
    latents = (mean + deviation * draws.inside) * pipeline.vae.config.scaling_factor
    wanted = draws.noise
    if predicts == "v_prediction":
        wanted = scheduler.get_velocity(latents, draws.noise, draws.times)
    noisy = scheduler.add_noise(latents, draws.noise, draws.times)
    made = pipeline.unet(noisy, draws.times, told.expand(2, -1, -1)).sample
    torch.nn.functional.mse_loss(made, wanted).backward()
    ids = pipeline.tokenizer.convert_tokens_to_ids(["<thing>", "<thing>_1"])
    expected = rows.grad[ids]
    assert float(expected.abs().max()) > 0
    assert torch.allclose(got, expected, rtol=1e-3, atol=1e-5 * expected.abs().max())


def test_micro_batches_and_blocks_computed_again_give_the_same_gradient(base, tmp_path):
    task, batch, _ = prepared(base, tmp_path / "run", batch_size=4, dropped=0.4)
    whole = gradient(task, batch, 4)
    for levers in (Levers(micro_batches=3), Levers(recompute=True)):
        found = gradient(task, batch, 4, levers)
        assert float((found - whole).norm()) <= 1e-5 * float(whole.norm())


class Breaks(Watcher):
    """Ends a training as Ctrl-C does, at a step."""

    def step(self, view):
        if view.step == 5:
            raise KeyboardInterrupt


def test_a_run_that_was_broken_off_is_the_unbroken_one(base, tmp_path):
    options = {"data": photos(5), "save_every": 2, "dropped": 0.3, "seed": 4}
    trainer(base, tmp_path / "whole", **options)._trained(16)
    with pytest.raises(KeyboardInterrupt):
        trainer(base, tmp_path / "run", watchers=[Breaks()], **options)._trained(16)
    trainer(base, tmp_path / "other", **options).resume(tmp_path / "run")._trained(16)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_the_same_seed_gives_the_same_word_and_another_one_another(base, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer(base, tmp_path / name, seed=seed)._trained(6)
    one, other, third = (learned(tmp_path / n / "generator") for n in "abc")
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


@pytest.mark.parametrize("vectors", [1, 2])
def test_what_is_saved_opens_in_diffusers_and_in_ours_and_changes_images(
    base, tmp_path, vectors
):
    made = trainer(base, tmp_path / "run", vectors=vectors, lr=0.3)
    generator = made.train(images=16)
    folder = tmp_path / "run/generator"
    assert learned(folder).shape == (vectors, 16)
    images = generator.generate([1, 2], steps=3)
    for given in (folder, folder / "learned_embeds.safetensors"):
        opened = PretrainedPipeline.open(
            base, embeddings=[given], prompt=PROMPT, device="cpu"
        )
        assert np.array_equal(opened.generate([1, 2], steps=3), images)
    begun = PretrainedPipeline.open(base, prompt="a photo of dog", device="cpu")
    assert not np.array_equal(begun.generate([1, 2], steps=3), images)

    pipeline = load_pipeline(base)
    pipeline.load_textual_inversion(
        str(folder), weight_name="learned_embeds.safetensors"
    )
    ids = pipeline.tokenizer.convert_tokens_to_ids(
        ["<thing>", "<thing>_1"][:vectors]
    )  # fmt: skip
    rows = pipeline.text_encoder.get_input_embeddings().weight[ids]
    assert torch.equal(rows, learned(folder))
    said = json.loads((folder / "generator.json").read_text())
    assert (said["token"], said["prompts"]) == ("<thing>", [PROMPT])
    assert said["base"]["sha256"] == generator.describe()["sha256"]
    assert str(base.parent) not in (folder / "generator.json").read_text()


def test_pictures_show_what_the_averaged_word_makes_and_change_nothing(base, tmp_path):
    seen = []

    class Looks(Watcher):
        def step(self, view):
            both = view.task.sample([5, 6], [0, 0])
            seen.append((both, view.task.sample([6], [0])[0]))

    trainer(base, tmp_path / "blind")._trained(6)
    made = trainer(base, tmp_path / "run", watchers=[Looks()], sample_every=2)
    made._trained(6)
    assert all(np.array_equal(both[1], alone) for both, alone in seen)
    assert same(weights(tmp_path / "blind"), weights(tmp_path / "run"))
    opened = PretrainedPipeline.open(
        base, embeddings=[tmp_path / "run/generator"], prompt=PROMPT, device="cpu",
        sampler="dpmsolver++", steps=2, guidance=5,
    )  # fmt: skip
    shown = opened.generate([5, 6], size=(32, 32)).astype(int)
    assert np.abs(shown - seen[-1][0]).max() <= 1


def test_prompts_may_have_classes_and_captions(base, tmp_path):
    data = photos(), ["a red <thing>", "a cat"] * 3
    made = trainer(base, tmp_path / "captions", data)
    assert made.train(images=4).generate([1], steps=2, caption="a <thing>").any()
    made = trainer(
        base, tmp_path / "classes", (photos(), np.arange(6) % 2),
        prompt="a {label} <thing>", classes=("red", "blue"),
    )  # fmt: skip
    made.train(images=4)
    said = json.loads((tmp_path / "classes/generator/generator.json").read_text())
    assert said["prompts"] == ["a red <thing>", "a blue <thing>"]


def test_rows_learn_with_the_prompt_of_their_class_or_the_empty_one(base, tmp_path):
    data = photos(), np.arange(6) % 2
    task, batch, made = prepared(
        base, tmp_path / "run", data=data, prompt="a {label} <thing>",
        classes=("red", "blue"),
    )  # fmt: skip
    batch = batch._replace(labels=torch.tensor([1, 0]))
    draws = task.stepper.draws(0, Share(0, 2), torch.Size([4, 4, 4]))
    model = made.model
    for dropped, texts in (
        ([False, False], ["a blue <thing>", "a red <thing>"]),
        ([True, False], ["", "a red <thing>"]),
    ):
        drawn = dataclasses.replace(draws, dropped=torch.tensor(dropped))
        told = task.stepper._told(batch, drawn, slice(None))
        wanted = model.network.told(model.reader.ids(texts))
        assert torch.allclose(told, wanted, atol=1e-6)
        assert not torch.allclose(told[0], told[1], atol=1e-3)


def test_a_plan_says_weights_and_changes_nothing(base, tmp_path):
    made = trainer(base, tmp_path / "run", vectors=3)
    before = made.model.network.word.vectors.detach().clone()
    plan = made.plan(images=10)
    assert torch.equal(made.model.network.word.vectors, before)
    assert plan.parameters["word"] == 3 * 16
    unet = sum(one.numel() for one in made.model.base.unet.parameters())
    assert plan.parameters["network"] > unet  # the text encoder stays
    assert not (tmp_path / "run").exists()


def test_a_unet_held_in_bfloat16_trains_a_word_of_float32(base, tmp_path):
    made = trainer(base, tmp_path / "run", dtype="bfloat16")
    assert made.model.network.unet.dtype == torch.bfloat16
    made._trained(4)
    word = latest(tmp_path / "run").tensors["word"]["vectors"]
    assert word.dtype == torch.float32
    assert bool(word.isfinite().all())


def test_a_run_does_not_go_on_with_another_beginning(base, tmp_path):
    trainer(base, tmp_path / "run")._trained(4)
    with pytest.raises(StateMismatch, match="begin"):
        trainer(base, tmp_path / "run", begin="cat").train(images=8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": "<|endoftext|>"}, "is there already"),
        ({"token": "thing"}, "token must be a name in angle brackets"),
        ({"begin": "zebra"}, "begin='zebra' is 5 tokens"),
        ({"begin": ""}, "begin must be a word"),
        ({"prompt": "a photo of a dog"}, "no prompt has the token <thing>"),
        ({"prompt": "<thing> and <other>"}, "the token <other>"),
        ({"prompt": "scratch " * 75 + "<thing>", "vectors": 2}, "tokens"),
        ({"vectors": 0}, "vectors must be"),
        ({"size": (20, 16)}, "multiples of 8 px"),
        ({"lr": -1}, "lr must be"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(base, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        trainer(base, tmp_path / "run", **options).train(images=2)
