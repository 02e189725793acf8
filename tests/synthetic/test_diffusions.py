"""Laws of diffusion models that make images: of the seed alone, opened without code."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import fiberaug
from fiberaug.errors import DataRefused, LimitExceeded, StateMismatch, UsageError
from fiberaug.models import UNet
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.generator import call, class_names, describe, sample_notes
from fiberaug.synthetic.gifs import write_gif
from fiberaug.synthetic.noises import generators_of, noise_of
from fiberaug.synthetic.samplers import SAMPLERS, training_schedule
from fiberaug.synthetic.seeds import sample_key, sample_seed

NAMES = ("disc", "square", "bar")
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
KEPT = training_schedule().alphas_cumprod


def network(size=(8, 12), classes=3, context_dim=0, **options):
    torch.manual_seed(0)
    made = UNet(size, classes, context_dim, width=8, **options)
    nn.init.normal_(made.inner.conv_out.weight, std=0.3)
    return made


def maker(**options):
    told = {"classes": NAMES, "steps": 3, "rows": 4, "notes": {"licence": "CC0-1.0"}}
    return DiffusionGenerator(network(), **told | options)


class Knows(nn.Module):
    """Knows the image, and gives the exact v; a network as people write them."""

    def __init__(self, value=0.5):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, t):
        kept = KEPT[t].view(-1, 1, 1, 1)
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        return alpha * (x - alpha * self.value) / sigma - sigma * self.value


class Bad(nn.Module):
    def forward(self, x, t):
        return x[:, :1] * t.view(-1, 1, 1, 1)


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.net = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t, y):
        return self.net(x) + self.table(y)[:, :, None, None]


@pytest.fixture(scope="module")
def diffusion():
    return maker()


@pytest.fixture(scope="module")
def whole(diffusion):
    return {
        name: diffusion.generate(
            range(10), [i % 3 for i in range(10)], sampler=name, guidance=2.0
        )
        for name in SAMPLERS
    }


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(10)), st.integers(1, 10), st.sampled_from(list(SAMPLERS)))
def test_order_and_company_change_no_image(diffusion, whole, order, kept, name):
    chosen = order[:kept]
    made = diffusion.generate(
        chosen, [i % 3 for i in chosen], sampler=name, guidance=2.0
    )
    np.testing.assert_array_equal(made, whole[name][chosen])


def test_order_and_company_change_no_bit_before_rounding(diffusion):
    """The network's own output is compared, at the row where each seed has come."""
    values = {}
    original = diffusion.unet.forward

    def forward(images, times, **told):
        out = original(images, times, **told)
        assert len(images) == diffusion.rows  # other shapes may round otherwise
        for noisy, made in zip(images, out, strict=True):
            key = noisy.numpy().tobytes(), int(times[0])
            values.setdefault(key, set()).add(made.numpy().tobytes())
        return out

    diffusion.unet.forward = forward
    try:
        diffusion.generate(range(1, 9), [0] * 8, sampler="ddpm")
        first = len(values)
        diffusion.generate([5, 2], [0] * 2, sampler="ddpm")
    finally:
        del diffusion.unet.forward
    assert all(len(found) == 1 for found in values.values())
    assert len(values) == first + 3  # what fills up is of the seed 0


def test_images_are_what_a_pool_takes(diffusion, whole):
    images = call(diffusion, [1, 2, 3], [0, 1, 2])

    assert images.shape == (3, 8, 12, 3)
    assert class_names(diffusion) == NAMES
    assert diffusion.generate([], []).shape == (0, 8, 12, 3)
    for made in whole.values():
        assert len({one.tobytes() for one in made}) == 10
    assert len({made.tobytes() for made in whole.values()}) == len(SAMPLERS)
    told = {"sampler": "ddim", "steps": 3, "guidance": 2.0,
            "scheduler": "DPMSolverMultistepScheduler"}  # fmt: skip
    assert sample_notes(diffusion, [1], [0], guidance=2, sampler="ddim") == [
        {"params": told}
    ]


def test_labels_steps_and_guidance_make_a_difference(diffusion):
    made = [
        diffusion.generate([5], label, **options).tobytes()
        for label, options in [
            ([0], {}), ([1], {}), (None, {}), ([0], {"steps": 4}),
            ([0], {"guidance": 3}), ([0], {"guidance": 0.5}),
            ([0], {"sampler": "ddim"}),
        ]
    ]  # fmt: skip
    assert len(set(made)) == len(made)


def test_no_label_is_of_no_class_and_guidance_finds_nothing_to_go_beyond(diffusion):
    none = diffusion.generate([5, 6])
    np.testing.assert_array_equal(diffusion.generate([5, 6], [0, 1], guidance=0), none)
    np.testing.assert_array_equal(diffusion.generate([5, 6], guidance=4), none)


def test_it_says_what_it_was_told_when_it_was_made(diffusion):
    other = DiffusionGenerator(
        diffusion.unet, rows=4, sampler="ddpm", steps=5, guidance=2.0
    )
    np.testing.assert_array_equal(
        other.generate([3], [1]),
        diffusion.generate([3], [1], sampler="ddpm", steps=5, guidance=2.0),
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_network_that_knows_the_image_gives_it(name):
    known = DiffusionGenerator(Knows(0.5), shape=(3, 4, 6), sampler=name, rows=2)
    images = known.generate([1, 2, 3], [0, 0, 0])
    assert images.shape == (3, 4, 6, 3)
    assert (images == 191).all()  # (0.5 + 1) 127.5


def test_an_image_is_changed_as_much_as_it_is_told(diffusion):
    """The noise at the start is that of the strength, so little of it stays near."""
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    far = []
    for strength in (0.05, 0.3, 1.0):
        first = diffusion.frames(1, 0, image=image, strength=strength, steps=20)[0]
        far.append(np.abs(first.astype(float) - image).mean())
    assert far[0] < 12 < far[1] < 60 < far[2]


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_stays_as_it_is_where_the_network_would_not_change_it(name):
    """A network that knows the image: each row has its own."""

    class Each(nn.Module):
        def forward(self, x, t):
            kept = KEPT[t].view(-1, 1, 1, 1)
            alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
            return alpha * (x - alpha * images) / sigma - sigma * images

    levels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)
    images = torch.from_numpy(levels).permute(0, 3, 1, 2) / 127.5 - 1
    known = DiffusionGenerator(Each(), shape=(3, 4, 6), rows=2, sampler=name)
    for strength in (0.01, 0.4, 1.0):
        made = known.generate([1, 2], [0, 0], image=levels, strength=strength)
        np.testing.assert_array_equal(made, levels)


def test_an_image_for_all_is_one_for_each(diffusion):
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    made = diffusion.generate([1, 2], [0, 0], image=image)
    each = diffusion.generate([1, 2], [0, 0], image=np.stack([image] * 2), strength=0.5)
    np.testing.assert_array_equal(made, each)
    (told, _) = sample_notes(diffusion, [1, 2], [0, 0], image=image)
    assert told["params"]["strength"] == 0.5


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"truncation": 1}, "no condition truncation; there are sampler, steps,"),
        ({"sampler": "euler"}, "sampler must be one of"),
        ({"steps": 0}, "steps must be"),
        ({"guidance": -1}, "guidance must be a number from 0 to 100"),
        ({"guidance": float("nan")}, "guidance must be"),
        ({"strength": 0.5}, "give image, too"),
        ({"image": np.zeros((8, 8, 3), np.uint8)}, r"image must be uint8 \[1, 8, 12"),
        ({"image": np.zeros((8, 12, 3))}, "got float64"),
        ({"image": np.zeros((8, 12, 3), np.uint8), "strength": 0}, "strength must"),
        ({"image": np.zeros((8, 12, 3), np.uint8), "strength": 1.5}, "strength must"),
        ({"places": [0, 0, 0]}, "makes no windows: leave places out"),
        ({"context": [0]}, "takes no context"),
    ],
)
def test_a_condition_that_it_does_not_know_is_refused(diffusion, conditions, message):
    with pytest.raises(UsageError, match=message):
        diffusion.generate([1], [0], **conditions)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([3], "0 to 2, got 3"), ([-1], "0 to 2, got -1"), ([0, 0], "1 seeds, 2 labels"),
     (["disc"], "integers.*0 is the first of disc")],
)  # fmt: skip
def test_a_label_out_of_range_is_refused(diffusion, labels, message):
    with pytest.raises(UsageError, match=message):
        diffusion.generate([1], labels)


def test_without_classes_the_label_is_0_and_there_is_no_guidance():
    plain = DiffusionGenerator(network(classes=0), steps=2, rows=2)
    np.testing.assert_array_equal(plain.generate([1], [0]), plain.generate([1]))
    with pytest.raises(UsageError, match="0 to 0, got 1: it has no classes"):
        plain.generate([1], [1])
    with pytest.raises(UsageError, match=r"guidance is 2\.0 and needs a class"):
        plain.generate([1], guidance=2.0)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_context_is_a_condition(classes):
    made = DiffusionGenerator(network(classes=classes, context_dim=2), steps=2, rows=2)
    none, some = made.generate([1]), made.generate([1], context=[[3, -4]])
    assert (none != some).any()
    np.testing.assert_array_equal(made.generate([1], context=[0, 0]), none)
    np.testing.assert_array_equal(made.generate([1], context=[3, -4]), some)
    np.testing.assert_array_equal(made.generate([1], context=[3, -4], guidance=0), none)
    with pytest.raises(UsageError, match=r"context must be finite numbers \[1, 2\]"):
        made.generate([1], context=[1, 2, 3])


def test_windows_lie_where_the_seed_says_or_the_user():
    made = DiffusionGenerator(
        network(places=True), classes=NAMES, steps=2, rows=2, notes={"scales": [1, 8]}
    )
    (note,) = sample_notes(made, [5], [0])
    drawn = made.generate([5], [0])
    place = note["params"]["places"]
    np.testing.assert_array_equal(made.generate([5], [0], places=place), drawn)
    assert (made.generate([5], [0], places=[0, 0, 0]) != drawn).any()
    with pytest.raises(UsageError, match="places must be 1 times"):
        made.generate([5], [0], places=[0, 0])


def test_frames_go_from_the_noise_to_the_image(diffusion, tmp_path):
    frames = diffusion.frames(3, 1, steps=5)
    noise = noise_of(generators_of([3]), (3, 8, 12))[0].permute(1, 2, 0)

    assert frames.shape == (6, 8, 12, 3)
    expected = ((noise + 1) * 127.5).round().clamp(0, 255).numpy()
    np.testing.assert_array_equal(frames[0], expected)
    np.testing.assert_array_equal(frames[-1:], diffusion.generate([3], [1], steps=5))
    some = diffusion.frames(3, 1, steps=5, every=2)
    np.testing.assert_array_equal(some, frames[[0, 2, 4, 5]])
    with pytest.raises(UsageError, match="every must be"):
        diffusion.frames(3, 1, every=0)
    path = write_gif(frames, tmp_path / "noise.gif", frame_ms=50)
    with Image.open(path) as opened:
        assert (opened.size, opened.n_frames) == ((12, 8), 6)
    assert write_gif(frames[..., :1], tmp_path / "grey.gif").is_file()


@pytest.mark.parametrize(
    ("frames", "name", "frame_ms", "message"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), "a.gif", 80, "frames must be uint8"),
        (np.zeros((1, 8, 8, 3)), "a.gif", 80, "got float64"),
        (np.zeros((1, 8, 8, 3), np.uint8), "a.png", 80, r"must end in \.gif"),
        (np.zeros((1, 8, 8, 3), np.uint8), "a.gif", 1, "frame_ms must be"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, frames, name, frame_ms, message):
    with pytest.raises(UsageError, match=message):
        write_gif(frames, tmp_path / name, frame_ms=frame_ms)


def test_a_model_describes_itself(diffusion, tmp_path):
    told = describe(diffusion)
    folder = diffusion.save(tmp_path / "model")

    assert told["kind"] == "diffusion"
    assert told["licence"] == "CC0-1.0"
    assert told["params"]["size"] == [8, 12]
    assert told["params"]["steps"] == 3
    said = json.loads((folder / "generator.json").read_text())
    assert list(said["sha256"].values()) == [told["sha256"]]
    assert describe(fiberaug.load(folder))["sha256"] == told["sha256"]


@pytest.mark.parametrize("options", [{}, {"context_dim": 2, "places": True}])
def test_a_folder_brings_the_same_images_back(options, tmp_path):
    made = DiffusionGenerator(
        network(**options), classes=NAMES, steps=3, rows=2, sampler="unipc",
        guidance=1.5, notes={"trained_on": "1a"},
    )  # fmt: skip
    opened = DiffusionGenerator.open(made.save(tmp_path / "a"), rows=2)

    assert opened.classes == NAMES
    assert opened.notes == {"trained_on": "1a"}
    assert opened.sampling == made.sampling
    assert describe(opened) == describe(made)
    np.testing.assert_array_equal(
        opened.generate([1, 2], [0, 1]), made.generate([1, 2], [0, 1])
    )
    with pytest.raises(UsageError, match="holds a generator already"):
        made.save(tmp_path / "a")
    names = {
        str(one.relative_to(tmp_path / "a"))
        for one in (tmp_path / "a").rglob("*")
        if one.is_file()
    }
    ours = {"generator.json", WEIGHTS, "unet/config.json",
            "scheduler/scheduler_config.json"}  # fmt: skip
    more = {"conditioner.safetensors"} if options else {"model_index.json"}
    assert names == ours | more


def test_nothing_that_diffusers_wrote_is_read_but_weights(diffusion, tmp_path):
    folder = diffusion.save(tmp_path)
    for name in ("model_index.json", "unet/config.json",
                 "scheduler/scheduler_config.json"):  # fmt: skip
        (folder / name).write_text("{broken")
    np.testing.assert_array_equal(
        DiffusionGenerator.open(folder, rows=4).generate([1], [0]),
        diffusion.generate([1], [0]),
    )


def test_a_network_of_the_users_own_comes_back_into_the_users_module(tmp_path):
    made = DiffusionGenerator(
        Labelled(), classes=NAMES, shape=(3, 4, 6), rows=2, steps=2, guidance=2.0
    )
    images = made.generate([1, 2], [0, 2])
    made.save(tmp_path)
    for opening in (fiberaug.load, DiffusionGenerator.open):
        with pytest.raises(UsageError, match=r"Labelled, a network of your own.*\.of"):
            opening(tmp_path)
    again = DiffusionGenerator.of(Labelled(), tmp_path, rows=2)
    np.testing.assert_array_equal(again.generate([1, 2], [0, 2]), images)
    assert (again.classes, describe(again)) == (NAMES, describe(made))
    with pytest.raises(DataRefused, match="must have the weights unet/"):
        DiffusionGenerator.of(network(), tmp_path)


def test_a_unet_of_diffusers_is_a_network_of_the_users_own(diffusion):
    stock = DiffusionGenerator(
        diffusion.unet.inner, classes=NAMES, shape=(3, 8, 12), rows=4, steps=3
    )
    for guidance in (1.0, 2.0):
        np.testing.assert_array_equal(
            stock.generate([1, 2], [0, 1], guidance=guidance),
            diffusion.generate([1, 2], [0, 1], guidance=guidance),
        )


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Knows(), None, r"shape is missing.*\(channels, height, width\)"),
        (Knows(), (2, 8, 8), "shape must be channels"),
        (Knows(), (3, 8192, 8192), "shape must be channels"),
        (Bad(), (3, 4, 4), r"Bad must return what it is given, \[16, 3, 4, 4\]"),
        (nn.MultiheadAttention(2, 1), (3, 4, 4), "needs an argument 'value'"),
    ],
)
def test_a_network_that_makes_no_images_is_refused(module, shape, message):
    with pytest.raises(UsageError, match=message):
        DiffusionGenerator(module, shape=shape).generate([1], [0])


def test_names_and_shape_must_be_those_of_the_network():
    with pytest.raises(UsageError, match="made for 3 classes, got 2 names"):
        DiffusionGenerator(network(), classes=("a", "b"))
    with pytest.raises(UsageError, match=r"shape \(3, 8, 12\), got \(3, 8, 8\)"):
        DiffusionGenerator(network(), shape=(3, 8, 8))


def test_large_images_are_made_one_at_a_time():
    with torch.device("meta"):
        large, small = UNet(1024, width=64), UNet(64, width=64)
    assert DiffusionGenerator(large).rows == 1
    assert DiffusionGenerator(small).rows == 16
    for rows in (0, 10**9, 1.0):
        with pytest.raises(UsageError, match="rows must be an integer from 1 to"):
            DiffusionGenerator(small, rows=rows)


def changed(diffusion, folder, **change):
    """Save a model and rewrite its description."""
    path = diffusion.save(folder) / "generator.json"
    said = json.loads(path.read_text())
    for name, value in change.items():
        inner = next(
            one for one in (said, said["config"], said["sampling"], said["sha256"])
            if name in one or one is said["sha256"]
        )  # fmt: skip
        inner[name] = value
    path.write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": 2}, "reads version 1|this release reads 1"),
        ({"kind": "vae"}, "kind 'vae'"),
        ({"width": 10**6}, "width must be an integer"),
        ({"width": 1024, "classes": []}, "is refused: the UNet would have"),
        ({"size": [8, 10**9]}, "size must be"),
        ({"size": "8x12x3"}, "HEIGHTxWIDTH"),
        ({"config": {"size": [8, 8], "code": 1}}, "has no code"),
        ({"config": None}, "no sound description"),
        ({"config": [1]}, "no sound description"),
        ({"classes": ["a", "a", "b"]}, "different texts"),
        ({"classes": ["a", "b"]}, "2 names for 3 classes"),
        ({"notes": []}, "notes must be an object"),
        ({"notes": {"scales": [1]}}, "scales must be"),
        ({"sampling": {"run": "rm"}}, "sampling must be an object of"),
        ({"sampling": 3}, "sampling must be an object"),
        ({"steps": 10**9}, "steps must be"),
        ({"sampler": "os.system"}, "sampler must be one of"),
        ({"guidance": [1]}, "guidance must be"),
        ({"sha256": {}}, "must have the weights unet/"),
        ({"sha256": {"../../x": "0" * 64}}, "must have the weights unet/"),
        ({"sha256": {"unet/diffusion_pytorch_model": "abc"}}, "64 hexadecimal"),
        ({"sha256": "0" * 64}, "64 hexadecimal"),
    ],
)
def test_what_a_stranger_wrote_is_refused(diffusion, tmp_path, change, message):
    folder = changed(diffusion, tmp_path, **change)
    with pytest.raises(DataRefused, match=message):
        fiberaug.load(folder)


def test_a_network_that_is_far_larger_than_its_file_takes_no_memory(
    diffusion, tmp_path
):
    folder = changed(diffusion, tmp_path, width=256)
    with pytest.raises(StateMismatch, match="another architecture: conv_in"):
        fiberaug.load(folder)


def test_other_weights_than_those_on_record_are_refused(diffusion, tmp_path):
    path = diffusion.save(tmp_path) / WEIGHTS
    tensors = load_file(path)
    tensors["conv_in.bias"] += 1
    save_file(tensors, path)
    with pytest.raises(DataRefused, match="was changed"):
        fiberaug.load(tmp_path)
    path.unlink()
    with pytest.raises(DataRefused, match="is missing: it holds the weights"):
        fiberaug.load(tmp_path)


def test_no_pickle_is_ever_opened(diffusion, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    path = diffusion.save(tmp_path / "model") / WEIGHTS
    content = pickle.dumps(Bomb())
    path.write_bytes(content)
    said = tmp_path / "model" / "generator.json"
    told = json.loads(said.read_text())
    told["sha256"] = {
        WEIGHTS.removesuffix(".safetensors"): hashlib.sha256(content).hexdigest()
    }
    said.write_text(json.dumps(told))
    with pytest.raises(DataRefused, match="no sound safetensors file"):
        fiberaug.load(tmp_path / "model")
    path.with_suffix(".bin").write_bytes(content)
    path.unlink()
    with pytest.raises(DataRefused, match="is missing"):
        fiberaug.load(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_a_large_description_is_neither_written_nor_read(tmp_path):
    with pytest.raises(UsageError, match="at most 1048576 are read"):
        maker(notes={"text": "x" * 2**20}).save(tmp_path)
    with pytest.raises(UsageError, match="notes must be fit for JSON"):
        maker(notes={"a": object()}).save(tmp_path)
    assert not any(tmp_path.iterdir())
    (tmp_path / "generator.json").write_text(" " * (2**20 + 1))
    with pytest.raises(LimitExceeded, match="larger than"):
        DiffusionGenerator.open(tmp_path)


def test_broken_weights_make_no_image():
    broken = Knows(float("nan"))
    with pytest.raises(UsageError, match="values that are NaN"):
        DiffusionGenerator(broken, shape=(3, 4, 4), rows=1).generate([1], [0])


def test_a_pool_holds_the_images_and_what_they_were_made_from(diffusion, tmp_path):
    pool = fiberaug.Pool.write(
        diffusion, tmp_path / "pool", per_class=2, seed=7, batch_size=3,
        conditions={"guidance": 2.0}, progress=False,
    )  # fmt: skip
    assert pool.counts == dict.fromkeys(NAMES, 2)
    seeds = {
        sample_key(name, number): sample_seed(7, name, number)
        for name in NAMES
        for number in range(2)
    }
    for sample in fiberaug.StreamingDataset(str(pool.path), train=False):
        label, seed = int(sample["label"]), seeds[sample["__key__"]]
        image = np.asarray(sample["image"]).transpose(1, 2, 0)
        made = diffusion.generate([seed], [label], guidance=2.0)
        np.testing.assert_array_equal(image, made[0])
    for _, _, stated in pool.samples():
        assert (stated.params.guidance, stated.params.steps) == (2.0, 3)
        assert stated.params.scheduler == "DPMSolverMultistepScheduler"
        assert stated.params.others == {"sampler": "dpmsolver++"}
