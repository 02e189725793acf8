"""Laws of GANs that make images: of the seed alone, saved and opened without code."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

import fiberaug
from fiberaug.errors import DataRefused, LimitExceeded, StateMismatch, UsageError
from fiberaug.models import Generator
from fiberaug.models.blocks import recomputed_modules
from fiberaug.synthetic.gan_places import Frames
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.synthetic.generator import call, class_names, describe, sample_notes

NAMES = ("disc", "square", "bar")


def network(size=(16, 24), classes=3, **options):
    torch.manual_seed(0)
    made = Generator(size, classes, width=8, z_dim=8, **options)
    for block in recomputed_modules(made):
        nn.init.normal_(block.exit.weight, std=0.1)
    return made


class Own(nn.Module):
    """A generator as people write them."""

    def __init__(self, nz=6):
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(nz, 4, 4), nn.BatchNorm2d(4), nn.ReLU(),
            nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        nn.init.normal_(self.net[1].running_mean)

    def forward(self, z):
        return self.net(z)


class Labelled(Own):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(3, 6)

    def forward(self, z, y):
        return super().forward(z + self.table(y)[:, :, None, None])


@pytest.fixture(scope="module")
def gan():
    return GANGenerator(network(), classes=NAMES, notes={"licence": "CC0-1.0"})


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_is_of_its_seed_in_any_batch(threads):
    gan = GANGenerator(network((28, 28)), classes=NAMES)
    seeds = [7 * i**3 + 2**40 for i in range(64)]
    labels = [i // 5 % 3 for i in range(64)]  # other ones in each 16
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = gan.generate(seeds, labels)
        for rows in (1, 7):
            for at in (0, 5, 57):
                some = slice(at, at + rows)
                made = gan.generate(seeds[some], labels[some])
                np.testing.assert_array_equal(made, whole[some])
        back = gan.generate(seeds[::-1], labels[::-1])
        np.testing.assert_array_equal(back[::-1], whole)
    finally:
        torch.set_num_threads(before)
    assert len({one.tobytes() for one in whole}) == 64


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(20)), st.integers(1, 20))
def test_order_and_company_change_no_value(gan, order, kept):
    """Before rounding to levels, too: the network's own output is compared."""
    chosen = order[:kept]
    values = {}
    original = gan.generator.forward

    def forward(z, labels=None, places=None):
        out = original(z, labels, places)
        for latent, image in zip(z, out, strict=True):
            key = latent.numpy().tobytes()
            values.setdefault(key, set()).add(image.numpy().tobytes())
        return out

    gan.generator.forward = forward
    try:
        gan.generate(range(20), [0] * 20)
        values = {key: found for key, found in values.items() if any(key)}
        gan.generate(chosen, [0] * kept)
    finally:
        del gan.generator.forward
    assert all(len(found) == 1 for key, found in values.items() if any(key))


def test_images_are_what_a_pool_takes(gan):
    images = call(gan, [1, 2, 3], [0, 1, 2])

    assert images.shape == (3, 16, 24, 3)
    assert class_names(gan) == NAMES
    assert call(gan, [1], [1], truncation=0.5).shape == (1, 16, 24, 3)
    assert gan.generate([], []).shape == (0, 16, 24, 3)
    assert sample_notes(gan, [1, 2], [0, 0], truncation=1.0) == [{}, {}]


def test_labels_and_truncation_make_a_difference(gan):
    images = gan.generate([5], [0])

    assert (gan.generate([5], [1]) != images).any()
    assert (gan.generate([5], [0], truncation=0.3) != images).any()


def test_a_gan_describes_itself(gan, tmp_path):
    told = describe(gan)
    weights = gan.save(tmp_path / "gan") / "generator.safetensors"

    assert told["kind"] == "gan"
    assert told["licence"] == "CC0-1.0"
    assert (
        describe(GANGenerator(network(), notes={"trained_on": "1a"}))["trained_on"]
        == "1a"
    )
    assert told["device"] == "cpu"
    assert told["params"]["size"] == [16, 24]
    said = json.loads((tmp_path / "gan" / "generator.json").read_text())
    assert (
        told["sha256"]
        == said["sha256"]
        == describe(fiberaug.load(weights.parent))["sha256"]
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [([3], "0 to 2, got 3"), ([-1], "0 to 2, got -1"), ([0, 0], "1 seeds, 2 labels")],
)
def test_a_label_out_of_range_is_refused(gan, labels, message):
    with pytest.raises(UsageError, match=message):
        gan.generate([1], labels)


def test_a_gan_without_classes_takes_the_label_0():
    gan = GANGenerator(network(classes=0))
    assert gan.generate([1], [0]).shape == (1, 16, 24, 3)
    with pytest.raises(UsageError, match="0 to 0, got 1: it has no classes"):
        gan.generate([1], [1])


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"guidance": 2.0}, "no condition guidance; there is truncation$"),
        ({"truncation": 0}, "above 0"),
        ({"places": [0, 0, 0]}, "makes no windows: leave places out"),
    ],
)
def test_a_condition_that_it_does_not_know_is_refused_by_name(gan, conditions, message):
    with pytest.raises(UsageError, match=message):
        gan.generate([1], [0], **conditions)


def test_names_must_be_those_of_the_networks_classes():
    with pytest.raises(UsageError, match="made for 3 classes, got 2 names"):
        GANGenerator(network(), classes=("a", "b"))


def test_a_folder_brings_the_same_images_back(gan, tmp_path):
    opened = fiberaug.load(gan.save(tmp_path / "gan"))

    assert opened.classes == NAMES
    assert opened.notes == {"licence": "CC0-1.0"}
    np.testing.assert_array_equal(
        opened.generate([1, 2], [0, 1]), gan.generate([1, 2], [0, 1])
    )
    with pytest.raises(UsageError, match="holds a generator already"):
        gan.save(tmp_path / "gan")
    names = {one.name for one in (tmp_path / "gan").iterdir()}
    assert names == {"generator.json", "generator.safetensors"}


@pytest.mark.parametrize("module", [Own, Labelled])
def test_a_network_of_the_users_own_comes_back_into_the_users_module(module, tmp_path):
    classes = NAMES if module is Labelled else ()
    gan = GANGenerator(module(), classes=classes)
    images = gan.generate([1, 2], [0, 0])
    gan.save(tmp_path)
    assert images.shape == (2, 8, 8, 1)

    with pytest.raises(UsageError, match=rf"{module.__name__}, a network of your own"):
        fiberaug.load(tmp_path)
    with pytest.raises(UsageError, match=r"GANGenerator.of\(module, folder\)"):
        GANGenerator.open(tmp_path)
    again = GANGenerator.of(module(), tmp_path)
    np.testing.assert_array_equal(again.generate([1, 2], [0, 0]), images)
    assert again.classes == classes
    with pytest.raises(StateMismatch, match="another architecture"):
        GANGenerator.of(network(), tmp_path)


def test_an_image_of_an_own_network_is_of_its_seed_in_any_batch():
    gan = GANGenerator(Own().train())
    whole = gan.generate(range(20), [0] * 20)

    np.testing.assert_array_equal(gan.generate([19], [0]), whole[19:])


def test_windows_lie_where_the_seed_says_or_the_user():
    gan = GANGenerator(network(places=True), classes=NAMES, notes={"scales": [1, 8]})
    seeds = list(range(200))
    told = sample_notes(gan, seeds, [0] * 200)
    places = np.array([one["params"]["places"] for one in told])

    assert (np.abs(places[:, :2]) <= 1).all()
    assert np.abs(places[:, :2].mean(0)).max() < 0.2
    assert 0 <= places[:, 2].min() < 0.3
    assert 2.7 < places[:, 2].max() <= 3
    drawn = gan.generate([5], [0])
    np.testing.assert_array_equal(gan.generate([5], [0], places=[places[5]]), drawn)
    np.testing.assert_array_equal(gan.generate([5], [0], places=list(places[5])), drawn)
    assert (gan.generate([5], [0], places=[0, 0, 0]) != drawn).any()
    many = gan.generate(seeds[:20], [0] * 20)
    np.testing.assert_array_equal(many[[5, 19]], gan.generate([5, 19], [0, 0]))
    assert gan.generate([], []).shape == (0, 16, 24, 3)
    for wrong in ([0, 0], [[0, 0, 0]] * 2, "middle", [0, 0, float("nan")]):
        with pytest.raises(UsageError, match="places must be 1 times"):
            gan.generate([5], [0], places=wrong)


def test_scales_that_are_none_are_refused():
    for scales in ([8, 1], [0, 1], 3, ["1", "2"]):
        with pytest.raises(UsageError, match="scales must be the least and the most"):
            GANGenerator(network(), notes={"scales": scales})


def test_large_images_are_made_one_at_a_time():
    with torch.device("meta"):
        large = Generator(2048, width=64)
        small = Generator(128, width=64)
    assert GANGenerator(large).rows == 1
    assert GANGenerator(small).rows == 16
    with pytest.raises(UsageError, match="rows must be"):
        GANGenerator(small, rows=0)


def changed(gan, folder, **change):
    """Save a GAN and rewrite its description."""
    gan.save(folder)
    path = folder / "generator.json"
    said = json.loads(path.read_text())
    for name, value in change.items():
        inner = said["config"] if name in said["config"] else said
        inner[name] = value
    path.write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z_dim": 10**12}, "z_dim must be an integer from 1"),
        ({"blocks": 10**6}, "blocks must be"),
        ({"size": [4096, 10**9]}, "size must be"),
        ({"size": "16x24x3"}, "HEIGHTxWIDTH"),
        ({"code": "os:system"}, "") ,
        ({"classes": ["a", "a", "b"]}, "number|different texts|classes must be"),
        ({"notes": []}, "notes must be an object"),
        ({"notes": {"scales": [1]}}, "scales must be"),
        ({"sha256": "abc"}, "sha256 must be 64"),
        ({"config": None}, "no sound description"),
    ],
)  # fmt: skip
def test_what_a_stranger_wrote_is_refused(gan, tmp_path, change, message):
    folder = changed(gan, tmp_path, **change)
    if "code" in change:  # nothing looks at it
        assert isinstance(fiberaug.load(folder), GANGenerator)
        return
    with pytest.raises(DataRefused, match=message):
        fiberaug.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": 2}, "reads version 1"),
        ({"kind": "vae"}, "no kind|kind 'vae'"),
        ({"classes": ["a", "a", "b"]}, "different texts"),
        ({"classes": ["a", "b"]}, "2 names for 3 classes"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    gan, tmp_path, change, message
):
    path = gan.save(tmp_path) / "generator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataRefused, match=message):
        GANGenerator.open(tmp_path)


@pytest.mark.parametrize("latent", [[], [1] * 5, [0], [2**21], ["6"], [True]])
def test_a_latent_of_no_sound_shape_is_refused(tmp_path, latent):
    path = GANGenerator(Own()).save(tmp_path) / "generator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"latent": latent}))
    with pytest.raises(DataRefused, match="latent must be 1 to 4 sides"):
        GANGenerator.of(Own(), tmp_path)


def test_a_network_that_is_far_larger_than_its_file_takes_no_memory(gan, tmp_path):
    folder = changed(gan, tmp_path, width=1024)
    with pytest.raises(StateMismatch, match="basis is F32"):
        fiberaug.load(folder)


def test_an_absurd_network_is_refused(gan, tmp_path):
    folder = changed(gan, tmp_path, width=4096)
    with pytest.raises(DataRefused, match="parameters"):
        fiberaug.load(folder)


def test_other_weights_than_those_on_record_are_refused(gan, tmp_path):
    path = gan.save(tmp_path) / "generator.safetensors"
    tensors = load_file(path)
    tensors["basis"] += 1
    save_file(tensors, path)
    with pytest.raises(DataRefused, match="was changed"):
        fiberaug.load(tmp_path)
    path.unlink()
    with pytest.raises(DataRefused, match="is missing: it holds the weights"):
        fiberaug.load(tmp_path)


def test_a_large_description_is_neither_written_nor_read(tmp_path):
    gan = GANGenerator(network(), notes={"text": "x" * 2**20})
    with pytest.raises(UsageError, match="at most 1048576 are read"):
        gan.save(tmp_path)
    (tmp_path / "generator.json").write_text(" " * (2**20 + 1))
    with pytest.raises(LimitExceeded, match="larger than"):
        GANGenerator.open(tmp_path)


def test_notes_are_fit_for_json(tmp_path):
    with pytest.raises(UsageError, match="notes must be fit for JSON"):
        GANGenerator(network(), notes={"a": object()}).save(tmp_path)
    assert not any(tmp_path.iterdir())


def test_broken_weights_make_no_image():
    module = network()
    with torch.no_grad():
        module.out.bias[0] = float("nan")
    with pytest.raises(UsageError, match="values that are NaN"):
        GANGenerator(module).generate([1], [0])


def test_an_exported_program_makes_the_same_images(gan, tmp_path):
    path = gan.export(tmp_path / "gan.pt2")
    program = torch.export.load(path).module()
    z, labels = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])

    with torch.no_grad():
        expected = gan.generator(z, labels)
        torch.testing.assert_close(program(z, labels), expected)
        assert program(z[:1], labels[:1]).shape == (1, 3, 16, 24)
    assert [one.name for one in tmp_path.iterdir()] == ["gan.pt2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("gan.onnx", "needs onnx.*pip install onnx"), ("gan.pt", r"a \.pt2 .* or \.onnx"),
     ("no/gan.pt2", "is no folder")],
)  # fmt: skip
def test_a_program_that_cannot_be_written_is_refused(
    gan, tmp_path, monkeypatch, name, message
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        gan.export(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_windows_are_not_exported(tmp_path):
    gan = GANGenerator(network(places=True), classes=NAMES)
    with pytest.raises(UsageError, match="needs places"):
        gan.export(tmp_path / "gan.pt2")


def test_places_are_of_all_bits_of_a_seed_and_not_those_of_its_latent():
    frames = Frames.of({"scales": [1, 8]})
    one, two = frames.draw([5, 5 + 2**40], None)
    assert (one != two).all()
    first = np.random.default_rng(5).random(3)  # what a latent begins with
    assert not np.isclose((one[:2] + 1) / 2, first[:2]).any()


def test_windows_are_drawn_where_they_lie_within_the_photo():
    frames = Frames.of({"scales": [1, 40], "photo_px": [320, 480]})
    down, right, scale = frames.draw(range(500), (8, 8)).T
    half = 2**scale * 8 / 2
    assert (abs(down) * 160 + half <= 160 + 1e-3).all()
    assert (abs(right) * 240 + half <= 240 + 1e-3).all()
    assert abs(down[scale < 1]).max() > 0.85
    assert abs(right[scale > 5]).max() > 0.3


@pytest.mark.parametrize("photo", [[320], 3, ["a", "b"], [0, 4]])
def test_photos_without_sides_are_refused(photo):
    with pytest.raises(UsageError, match="photo_px must be height and width"):
        Frames.of({"photo_px": photo})
