"""Adapters learn, the model they are beside stays what it was, bit for bit."""

import gc
import json
import weakref

import diffusers
import numpy as np
import pytest
import torch
from diffusers.training_utils import compute_snr
from tiny_pipelines import write_stable_diffusion

import fiberaug
from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.folders import load_pipeline
from fiberaug.training import LoRATrainer, Plan, Watcher
from fiberaug.training import trainer as training
from fiberaug.training.contracts import RealBatch
from fiberaug.training.levers import Levers
from fiberaug.training.lora_adapters import Adapters, scaled
from fiberaug.training.ranking import Ranks
from fiberaug.training.states import latest
from fiberaug.training.stepping import Share

QUICK = {
    "memory": "20GB", "progress": False, "rank": 2, "lr": 1e-2, "batch_size": 2,
    "sample_every": 10**6, "sample_steps": 2,
}  # fmt: skip
CAT = "a photo of the cat"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_stable_diffusion(tmp_path_factory.mktemp("base") / "sd", size=32)


@pytest.fixture(autouse=True)
def _no_plan(request, monkeypatch):
    """Most tests are of trainings that fit: looking whether they do takes longest."""
    if "plan" in request.node.name or "memory" in request.node.name:
        return
    cheap = Plan(
        levers=Levers(), peak=0, budget=1, parameters={}, disk=0, images=1
    )  # fmt: skip
    monkeypatch.setattr(training, "plan_for", lambda *_, **__: cheap)


def photos(count=6, size=(32, 32)):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def trainer(base, out, data=None, **options):
    data = photos() if data is None else data
    if "prompt" not in options:
        options["prompt"] = CAT
    return LoRATrainer(base, data, out=out, **{**QUICK, **options})


def prepared(base, out, data=None, **options):
    """A task, its source and its trainer, ready for steps."""
    made = trainer(base, out, data, **options)
    source = made._source(Ranks())
    made._prepare(source, out, Ranks(), 1_000)
    task = made._task(made.networks, source, 100, Levers(), Ranks())
    return task, source, made


def awake(task):
    """Let adapters add something."""
    torch.manual_seed(1)
    for name, one in task.adapters.named():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.3)
    return task


def gradients(task, batch, rows, levers=None, step=3):
    task.levers = levers or Levers()
    task.stepper.levers = task.levers
    task.stepper.gradient(batch, step=step, share=Share(0, rows))
    found = [one.grad.clone() for one in task.adapters.parameters()]
    for one in task.adapters.parameters():
        one.grad = None
    return found


def near(one, other, most):
    apart = sum(float((a - b).square().sum()) for a, b in zip(one, other, strict=True))
    size = sum(float(a.square().sum()) for a in one)
    return apart**0.5 <= most * size**0.5 and size > 0


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


def frozen(made):
    return {
        name: one.detach().clone()
        for name, one in made.model.network.named_parameters()
        if not one.requires_grad
    }


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("most", [5.0, None])
def test_the_loss_of_a_batch_is_that_of_diffusers_own_formulas(
    tmp_path, predicts, most
):
    folder = write_stable_diffusion(tmp_path / "sd", size=32, prediction=predicts)
    task, source, made = prepared(folder, tmp_path / "run", min_snr=most)
    awake(task)
    batch = next(source.batches())
    draws = task.stepper.draws(7, Share(0, 2), torch.Size([4, 4, 4]))
    got, _ = task.stepper.losses(batch, draws, slice(None), torch.device("cpu"))

    pipeline = load_pipeline(folder)
    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    told = pipeline.encode_prompt(
        CAT, "cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )[0]
    mean, deviation = batch.images.chunk(2, 1)
    latents = (mean + deviation * draws.inside) * pipeline.vae.config.scaling_factor
    noisy = scheduler.add_noise(latents, draws.noise, draws.times)
    wanted = draws.noise
    snr = compute_snr(scheduler, draws.times)
    if predicts == "v_prediction":
        wanted = scheduler.get_velocity(latents, draws.noise, draws.times)
    counts = torch.ones(2)
    if most is not None:
        counts = torch.stack([snr, most * torch.ones(2)], 1).min(1)[0]
        counts = counts / (snr + (predicts == "v_prediction"))
    made_of = made.model.network(noisy, draws.times, told.expand(2, -1, -1)).sample
    errors = torch.nn.functional.mse_loss(made_of, wanted, reduction="none")
    expected = errors.mean((1, 2, 3)) * counts
    assert got.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_adapters_of_scale_0_fused_and_unloaded_are_the_base_and_themselves(
    base, tmp_path
):
    trainer(base, tmp_path / "run").train(images=8)
    folder = tmp_path / "run/generator"
    given = torch.randn(1, 4, 4, 4), torch.tensor([9]), torch.randn(1, 77, 16)
    plain = load_pipeline(base)
    before = plain.unet(*given).sample
    plain.load_lora_weights(str(folder))
    with_them = plain.unet(*given).sample
    assert not torch.equal(with_them, before)
    plain.set_adapters(plain.get_active_adapters(), [0.0])
    assert torch.equal(plain.unet(*given).sample, before)
    plain.set_adapters(plain.get_active_adapters(), [1.0])
    plain.fuse_lora()
    assert torch.allclose(plain.unet(*given).sample, with_them, atol=1e-5)
    plain.unfuse_lora()
    plain.unload_lora_weights()
    fresh = load_pipeline(base).unet.state_dict()
    apart = [(plain.unet.state_dict()[n] - w).abs().max() for n, w in fresh.items()]
    assert max(apart) < 1e-6  # fusing adds and takes away
    again = load_pipeline(base)
    again.load_lora_weights(str(folder))
    again.unload_lora_weights()
    assert torch.equal(again.unet(*given).sample, before)


def test_only_adapters_change(base, tmp_path):
    made = trainer(base, tmp_path / "run")
    network, before = made.model.network, frozen(made)
    made._trained(8)
    assert same(before, frozen(made))
    first = latest(tmp_path / "run").tensors["adapters"]
    assert all(bool(one.abs().max() > 0) for one in first.values())
    with scaled(network, 0.0):
        given = torch.randn(1, 4, 4, 4), torch.tensor([9]), torch.randn(1, 77, 16)
        plain = load_pipeline(base).unet(*given).sample
        assert torch.equal(network(*given).sample, plain)


def test_what_is_returned_is_the_base_with_the_saved_adapters(base, tmp_path):
    generator = trainer(base, tmp_path / "run", alpha=4).train(images=8)
    images = generator.generate([1, 2], steps=3)
    folder = tmp_path / "run/generator"
    opened = PretrainedPipeline.open(base, lora=folder, prompt=CAT, device="cpu")
    assert np.array_equal(opened.generate([1, 2], steps=3), images)
    assert not np.array_equal(
        PretrainedPipeline.open(base, prompt=CAT, device="cpu").generate(
            [1, 2], steps=3
        ),
        images,
    )
    said = json.loads((folder / "generator.json").read_text())
    assert said["kind"] == "lora"
    assert said["base"]["name"] == "sd"
    assert said["base"]["sha256"] == generator.describe()["sha256"]
    assert str(base.parent) not in (folder / "generator.json").read_text()


def test_the_saved_scale_is_that_of_training(base, tmp_path):
    task, _, made = prepared(base, tmp_path / "run", alpha=5.0)
    awake(task)
    task.adapters.write(tmp_path, prefix="unet.", scale=made.options.scale)
    given = torch.randn(1, 4, 4, 4), torch.tensor([9]), torch.randn(1, 77, 16)
    pipeline = load_pipeline(base)
    pipeline.load_lora_weights(
        str(tmp_path), weight_name="pytorch_lora_weights.safetensors"
    )
    saved = pipeline.unet(*given).sample
    assert torch.allclose(saved, made.model.network(*given).sample, atol=1e-6)


class Breaks(Watcher):
    """Ends a training as Ctrl-C does, at a step."""

    def __init__(self, at):
        self.at = at

    def step(self, view):
        if view.step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 5])
def test_a_run_that_was_broken_off_is_the_unbroken_one(base, tmp_path, at):
    options = {"data": photos(5), "save_every": 2, "dropped": 0.3, "seed": 4}
    trainer(base, tmp_path / "whole", **options)._trained(16)
    with pytest.raises(KeyboardInterrupt):
        trainer(
            base, tmp_path / "run", watchers=[Breaks(at)], **options
        )._trained(16)  # fmt: skip
    trainer(base, tmp_path / "other", **options).resume(tmp_path / "run")._trained(16)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_the_same_seed_gives_the_same_adapters_and_another_one_others(base, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer(base, tmp_path / name, seed=seed)._trained(6)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_micro_batches_and_blocks_computed_again_give_the_same_gradient(base, tmp_path):
    task, source, _ = prepared(
        base, tmp_path / "run", batch_size=4, dropped=0.4, noise_offset=0.1
    )
    awake(task)
    batch = next(source.batches())
    whole = gradients(task, batch, 4)
    for levers in (
        Levers(micro_batches=2), Levers(micro_batches=4), Levers(recompute=True),
        Levers(micro_batches=3, recompute=True),
    ):  # fmt: skip
        assert near(whole, gradients(task, batch, 4, levers), 1e-5)


def test_blocks_computed_again_keep_less(base, tmp_path):
    task, source, _ = prepared(base, tmp_path / "run")
    batch = next(source.batches())
    kept = []
    for levers in (Levers(), Levers(recompute=True)):
        task.levers = task.stepper.levers = levers
        saved = []

        def pack(tensor, saved=saved):
            saved.append(tensor.numel())
            return tensor

        draws = task.stepper.draws(0, Share(0, 2), torch.Size([4, 4, 4]))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
            task.stepper.losses(batch, draws, slice(None), torch.device("cpu"))
        kept.append(sum(saved))
    assert kept[1] < 0.5 * kept[0]


def test_vae_and_text_encoder_are_freed_before_the_first_step(base, tmp_path):
    made = trainer(base, tmp_path / "run")
    held = weakref.ref(made.model.base.vae), weakref.ref(made.model.base.text_encoder)
    seen = []

    class Looks(Watcher):
        def begin(self, view):
            gc.collect()
            seen.extend(one() is None for one in held)

    made.watchers = [Looks()]
    made._trained(2)
    assert seen == [True, True]


def test_the_base_is_not_held_beside_the_generator_that_is_returned(base, tmp_path):
    made = trainer(base, tmp_path / "run")
    unet = weakref.ref(made.model.network)
    made.train(images=2)
    gc.collect()
    assert unet() is None
    made.train(images=4)  # it is opened again
    assert latest(tmp_path / "run").facts["nimg"] == 4


def test_prompts_are_told_apart_by_class_and_as_the_pipeline_reads_them(base, tmp_path):
    data = photos(), np.arange(6) % 2
    task, source, _ = prepared(
        base, tmp_path / "run", data, prompt="the red {label}", classes=("cat", "dog")
    )
    pipeline = load_pipeline(base)
    wanted = [
        pipeline.encode_prompt(text, "cpu", 1, False)[0]  # noqa: FBT003  # its own
        for text in ("the red cat", "the red dog", "")
    ]
    told = task.stepper.prompts.told
    assert torch.allclose(told, torch.cat(wanted), atol=1e-6)
    batches = source.batches()
    labels = torch.cat([next(batches).labels for _ in range(3)])
    assert sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1]
    batch = RealBatch(next(batches).images, torch.tensor([1, 0]))
    draws = task.stepper.draws(0, Share(0, 2), torch.Size([4, 4, 4]))
    assert torch.equal(task.stepper._told(batch, draws, slice(None)), told[[1, 0]])


def test_captions_are_prompts(base, tmp_path):
    texts = ["a cat", "a dog", "a cat", "the bird", "a dog", "a cat"]
    made = trainer(base, tmp_path / "run", (photos(), texts), prompt=None)
    source = made._source(Ranks())
    assert made.model.prompts(source.classes) == ["a cat", "a dog", "the bird"]
    counts = source.describe()["counts"]
    assert counts == [3, 2, 1]
    assert made.train(images=2).generate([1], steps=2, caption="a dog").shape == (
        1, 32, 32, 3,
    )  # fmt: skip


def test_images_of_a_prior_count_by_their_weight_beside_each_photo(base, tmp_path):
    asked = {"prior": photos(8)[::-1].copy(), "prior_prompt": "a photo of the bird"}
    task, source, _ = prepared(base, tmp_path / "a", prior_weight=0.25, **asked)
    awake(task)
    batch = next(source.batches())
    assert len(batch.images) == 4
    assert batch.labels.tolist() == [0, 0, 1, 1]
    draws = task.stepper.draws(3, Share(0, 2), torch.Size([4, 4, 4]))
    losses, plain = task.stepper.losses(batch, draws, slice(None), torch.device("cpu"))
    weight = task.stepper.schedule.weights(draws.times, 5.0)
    expected = plain * weight * torch.tensor([1, 1, 0.25, 0.25])
    assert losses.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    told = task.stepper.gradient(batch, step=3, share=Share(0, 2))
    assert float(told["loss"]) == pytest.approx(
        float(losses.detach().sum()) / 2, rel=1e-5
    )


def test_a_prior_is_made_by_the_base_and_goes_on_with_the_run(base, tmp_path):
    asked = {"prior": 3, "prior_prompt": "a photo of the bird", "save_every": 2}
    trainer(base, tmp_path / "whole", **asked)._trained(6)
    made = trainer(base, tmp_path / "run", **asked)
    made._trained(2)
    trainer(base, tmp_path / "run", **asked)._trained(6)
    assert weights(tmp_path / "run").keys() == weights(tmp_path / "whole").keys()
    kept = sorted(one.name for one in (tmp_path / "whole/cache").glob("*.npy"))
    for name in kept:
        one, other = (tmp_path / run / "cache" / name for run in ("whole", "run"))
        assert one.read_bytes() == other.read_bytes()
    assert [np.load(tmp_path / "run/cache" / n).shape[0] for n in kept] in (
        [3, 6], [6, 3],
    )  # fmt: skip


def test_a_plan_says_weights_and_changes_nothing(base, tmp_path):
    made = trainer(base, tmp_path / "run")
    before = [one.detach().clone() for one in Adapters(made.model.network).parameters()]
    plan = made.plan(images=10)
    after = list(Adapters(made.model.network).parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert plan.parameters["adapters"] == sum(one.numel() for one in after)
    assert plan.parameters["network"] > 10 * plan.parameters["adapters"]
    assert plan.disk < 4 * plan.parameters["network"] * 3
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_refused(base, tmp_path):
    made = trainer(base, tmp_path / "run", memory="1MB", bf16=False, batch_size=1)
    with pytest.raises(UsageError, match=r"does not fit into 1.0 MB.*it takes \d+"):
        made.plan(10)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": None}, "no prompt.*no classes"),
        ({"size": (20, 16)}, "multiples of 8 px.*20x16"),
        ({"size": "wide"}, "size must be"),
        ({"targets": ("to_q", "to_nowhere")}, "to_nowhere is no module.*to_k"),
        ({"rank": 0}, "rank must be"),
        ({"prior": 4}, "prior and prior_prompt belong together"),
        ({"prompt": "a {colour} cat"}, "colour"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"prompt": "a photo of the {label}"}, "label"),
        ({"prompt": "scratch " * 90}, "tokens"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(base, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        trainer(base, tmp_path / "run", **options).train(images=2)


def test_labels_without_names_make_no_prompt(base, tmp_path):
    data = photos(), np.arange(6) % 2
    with pytest.raises(UsageError, match="only numbers for classes"):
        trainer(base, tmp_path / "run", data, prompt=None).train(images=2)


def test_too_few_photos_are_refused(base, tmp_path):
    with pytest.raises(DataRefused, match=r"3 photos are too few.*at least 4"):
        trainer(base, tmp_path / "run", photos(3)).train(images=2)


def test_a_model_that_is_not_text_to_image_is_refused(tmp_path):
    folder = write_stable_diffusion(tmp_path / "sd", size=32, channels=9)
    with pytest.raises(UsageError, match=r"takes 9 channels.*inpainting"):
        trainer(folder, tmp_path / "run")


def test_eight_bit_without_bitsandbytes_is_refused_by_name(base, tmp_path):
    with pytest.raises(UsageError, match="bitsandbytes, which is not installed"):
        trainer(base, tmp_path / "run", eight_bit=True)


def test_a_run_does_not_go_on_with_another_prompt_or_another_base(base, tmp_path):
    trainer(base, tmp_path / "run")._trained(4)
    with pytest.raises(StateMismatch, match="prompts"):
        trainer(base, tmp_path / "run", prompt="the dog").train(images=8)
    other = write_stable_diffusion(tmp_path / "sd", size=32, seed=5)
    with pytest.raises(StateMismatch, match="base"):
        trainer(other, tmp_path / "run").train(images=8)


def test_pictures_show_what_the_averaged_adapters_make(base, tmp_path):
    seen = []

    class Looks(Watcher):
        def step(self, view):
            first = view.task.sample([5, 6], [0, 0])
            seen.append((first, view.task.sample([6], [0])[0]))

    made = trainer(base, tmp_path / "run", watchers=[Looks()], sample_every=2, lr=0.1)
    made._trained(6)
    assert len(list((tmp_path / "run/samples").glob("0*.png"))) == 4
    assert all(np.array_equal(both[1], alone) for both, alone in seen)
    assert not np.array_equal(seen[0][0], seen[-1][0])
    opened = PretrainedPipeline.open(
        base, lora=tmp_path / "run/generator", prompt=CAT, device="cpu",
        sampler="dpmsolver++", steps=2, guidance=5,
    )  # fmt: skip
    shown = opened.generate([5, 6], size=(32, 32)).astype(int)
    assert np.abs(shown - seen[-1][0]).max() <= 1


def test_looking_at_what_is_made_changes_nothing(base, tmp_path):
    trainer(base, tmp_path / "blind")._trained(6)
    trainer(base, tmp_path / "seeing", sample_every=2)._trained(6)
    assert same(weights(tmp_path / "blind"), weights(tmp_path / "seeing"))


def test_a_model_held_in_bfloat16_trains_adapters_of_float32(base, tmp_path):
    made = trainer(base, tmp_path / "run", dtype="bfloat16")
    network = made.model.network
    assert {one.dtype for one in frozen(made).values()} == {torch.bfloat16}
    assert {one.dtype for one in Adapters(network).parameters()} == {torch.float32}
    made._trained(4)
    held = latest(tmp_path / "run")
    assert np.isfinite(held.facts["figures"]["loss"])
    assert all(bool(one.isfinite().all()) for one in held.tensors["adapters"].values())


def captioned_shards(folder, texts, *, json=False):
    with fiberaug.ShardWriter(folder) as writer:
        for i, (image, text) in enumerate(zip(photos(len(texts)), texts, strict=True)):
            sample = {"__key__": f"{i:03d}", "image": image}
            if text is not None:
                sample["json" if json else "caption"] = (
                    {"caption": text} if json else text
                )
            writer.write(sample)
    return folder


@pytest.mark.parametrize("json", [False, True])
def test_captions_of_shards_are_prompts_of_their_own_photos(base, tmp_path, json):
    texts = ["a cat", "a dog ", "a cat", "the bird", "a dog", "a cat"]
    data = captioned_shards(tmp_path / "shards", texts, json=json)
    made = trainer(base, tmp_path / "run", data, prompt="the red {caption}")
    source = made._source(Ranks())
    assert made.model.prompts(source.classes) == [
        "the red a cat", "the red a dog", "the red the bird",
    ]  # fmt: skip
    assert source.describe()["counts"] == [3, 2, 1]
    by_photo = {
        one.tobytes(): text.strip() for one, text in zip(photos(), texts, strict=True)
    }
    batches, seen = source.inner.batches(), 0
    for batch in (next(batches) for _ in range(3)):
        levels = ((batch.images + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
        for image, label in zip(levels.numpy(), batch.labels.tolist(), strict=True):
            assert source.classes[label] == by_photo[image.tobytes()]
            seen += 1
    assert seen == 6
    shown = source.reference(6)
    for image, label in zip(shown.images, shown.labels.tolist(), strict=True):
        assert source.classes[label] == by_photo[image.tobytes()]
    images = made.train(images=4).generate([1], steps=2, caption="a dog")
    assert images.shape == (1, 32, 32, 3)
    trainer(base, tmp_path / "run", data, prompt="the red {caption}")._trained(8)


def test_photos_of_shards_without_a_caption_are_refused(base, tmp_path):
    texts = ["a cat", "a dog", None, "the bird"]
    data = captioned_shards(tmp_path / "some", texts)
    with pytest.raises(DataRefused, match=r"no caption.*002"):
        trainer(base, tmp_path / "run", data, prompt="{caption}").train(images=2)
    data = captioned_shards(tmp_path / "none", [None] * 4)
    with pytest.raises(UsageError, match="needs the field caption"):
        trainer(base, tmp_path / "run", data, prompt="{caption}").train(images=2)
    with pytest.raises(UsageError, match="a pair"):
        trainer(base, tmp_path / "run", prompt="{caption}").train(images=2)
