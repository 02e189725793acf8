"""Features are what the user's own classifier sees, and say whose they are."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.evaluate import features
from fiberaug.evaluate.extracting import extractor_of

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 12, 8, 3), np.uint8)
LABELS = np.arange(10) % 3


class Net(nn.Module):
    """Two linear layers, of which the last one in use comes first in the list."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Linear(6, 3)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.middle = nn.Linear(4, 6)
        self.drop = nn.Dropout(0.5)

    def hidden(self, x):
        return self.drop(self.middle(self.stem(x).mean((2, 3))).tanh())

    def forward(self, x):
        return self.head(self.hidden(x))


@pytest.fixture
def net():
    return Net()


def expected(net):
    with torch.no_grad():
        pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
        return copy.deepcopy(net).eval().hidden(pixels).numpy()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
def test_they_are_the_input_of_the_last_linear_layer_that_runs(net, batch_size):
    found = features(net, (IMAGES, LABELS), batch_size=batch_size)

    assert found.values.dtype == np.float32
    assert np.allclose(found.values, expected(net), atol=1e-6)
    assert found.labels.tolist() == LABELS.tolist()


def test_a_named_layer_gives_its_output_averaged_over_space(net):
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        maps = copy.deepcopy(net).eval().stem(pixels)

    found = features(net, IMAGES, layer="stem")

    assert np.allclose(found.values, maps.mean((2, 3)), atol=1e-6)
    assert found.labels is None


def test_the_model_is_left_as_it_was(net):
    net.train()
    net.stem[1].eval()
    before = copy.deepcopy(net.state_dict())
    threads = torch.get_num_threads()

    features(net, IMAGES, threads=1)
    with pytest.raises(UsageError):
        features(net, IMAGES, layer="drop.nothing")
    with pytest.raises(RuntimeError):
        features(net, IMAGES[..., :1])

    assert (net.training, net.stem[1].training) == (True, False)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not net.head._forward_pre_hooks
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_the_extractor_is_that_of_weights_modules_and_layer(net):
    other = copy.deepcopy(net)
    assert extractor_of(other) == extractor_of(net)
    assert len(extractor_of(net)) == 64
    assert features(net, IMAGES).extractor == extractor_of(net)
    assert extractor_of(net, "stem") != extractor_of(net)
    assert extractor_of(Net(1)) != extractor_of(net)

    other.stem[2] = nn.GELU()  # the same weights
    assert extractor_of(other) != extractor_of(net)
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.stem[1].running_mean[2] += 1e-6  # a buffer
    assert extractor_of(other) != extractor_of(net)
    assert extractor_of(copy.deepcopy(net).bfloat16()) != extractor_of(net)


def test_loaders_give_what_arrays_give(net, tmp_path):
    content = [
        {"__key__": f"k{i}", "image": image, "label": int(LABELS[i])}
        for i, image in enumerate(IMAGES)
    ]
    fiberaug.convert(content, tmp_path / "set", encode="png", progress=False)
    data = fiberaug.StreamingDataset(str(tmp_path / "set"), train=False)
    whole = features(net, (IMAGES, LABELS))
    rows = [0, 9, 5]
    pairs = [(torch.from_numpy(IMAGES[rows]).permute(0, 3, 1, 2), LABELS[rows])]

    # Converting shuffles: the set of rows is the same.
    with fiberaug.DataLoader(data, batch_size=4) as loader:
        of_loader = features(net, loader)
    of_set = features(net, data, batch_size=3)

    for found in (of_loader, of_set):
        order = [
            int(np.abs(whole.values - row).sum(1).argmin()) for row in found.values
        ]
        assert sorted(order) == list(range(10))  # no padding row, none left out
        assert found.labels.tolist() == LABELS[order].tolist()
    assert np.allclose(features(net, pairs).values, whole.values[rows], atol=1e-6)


def test_arrays_may_be_read_only_reversed_or_gray(net):
    fixed = IMAGES.copy()
    fixed.flags.writeable = False
    gray = IMAGES[:, :, :, 0]
    colour = np.broadcast_to(gray[..., None], IMAGES.shape)
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 2))

    assert np.allclose(features(net, fixed).values, expected(net), atol=1e-6)
    assert np.allclose(features(net, fixed[::-1]).values, expected(net)[::-1])
    assert np.allclose(features(model, gray).values, gray.reshape(10, -1) / 255)
    assert features(net, colour).values.shape == (10, 6)


def test_a_broken_image_is_named(net):
    pixels = np.float32(IMAGES)
    pixels[7, 3, 3, 1] = np.nan

    with pytest.raises(UsageError, match="features of image 7 are not finite"):
        features(net, pixels, batch_size=3)


@pytest.mark.parametrize(
    ("model", "layer", "words"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), None, "has no Linear layer; name one"),
        (Net(), "head.x", r"has no layer 'head.x'; it has \[.*'middle', 'drop'\]"),
        (nn.Sequential(nn.Linear(8, 2)), None, r"gives \[10, 3, 12, 8\] for 10"),
        (nn.Sequential(nn.Flatten(0)), "0", r"layer '0' gives \[2880\], features are"),
        (nn.Sequential(nn.Flatten(0, 1), nn.Flatten()), "1", r"gives \[30, 96\] for"),
    ],
)
def test_a_layer_that_gives_no_features_is_refused(model, layer, words):
    if "for 10" in words:  # maps are averaged, so this one is a layer like any other
        assert features(model, IMAGES).values.shape == (10, 3)
        return
    with pytest.raises(UsageError, match=words):
        features(model, IMAGES, layer=layer)


def test_a_layer_that_does_not_run_is_refused():
    class Unused(Net):
        def forward(self, x):
            return self.stem(x)

    with pytest.raises(UsageError, match="the last Linear did not run; name another"):
        features(Unused(), IMAGES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "need at least one image"),
        (IMAGES[:0], "need at least one image"),
        (IMAGES.astype(int), "images must be uint8 or float, got torch.int64"),
        (IMAGES[0, 0], r"\[N, H, W, C\] or a tensor \[N, C, H, W\], got ndarray"),
        ((IMAGES, LABELS[:4]), r"class ids \[10\] or shares \[10, K\], got torch.int"),
        ((IMAGES, LABELS / 2), "class ids"),
        ((IMAGES, list("abcdefghij")), "labels must be class ids or shares: "),
        ({"image": IMAGES}, "got dict"),
        ("shards/", "got str"),
        (7, "got int"),
        ([{"pixels": IMAGES}], r"must have the key 'image', got \['pixels'\]"),
        ([{"image": list(IMAGES)}], "got list; of other sizes, resize or crop"),
    ],
)
def test_data_of_another_form_is_refused(net, data, words):
    with pytest.raises(UsageError, match=words):
        features(net, data)


def test_a_batch_has_an_image(net):
    with pytest.raises(UsageError, match="batch_size must be >= 1, got 0"):
        features(net, IMAGES, batch_size=0)
    with pytest.raises(UsageError, match="threads must be >= 1, got -2"):
        features(net, IMAGES, threads=-2)
