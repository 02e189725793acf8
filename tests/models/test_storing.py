"""Laws of weights on disk: they come back, or the first difference is told."""

import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fiberaug.errors import DataRefused, StateMismatch, StoreError, UsageError
from fiberaug.models import Generator
from fiberaug.models.storing import load_weights, save_network, weights_sha256


def network(width=4, **options):
    return Generator(8, width=width, z_dim=4, **options)


@pytest.fixture
def saved(tmp_path):
    one = network()
    digest = save_network(tmp_path, "net", one)
    return one, digest, tmp_path / "net.safetensors"


def test_weights_come_back(saved):
    one, digest, path = saved
    two = network()
    load_weights(path, two, sha256=digest)

    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert weights_sha256(two) == digest == weights_sha256(one)


def test_weights_come_to_a_module_that_had_no_memory(saved):
    one, _, path = saved
    with torch.device("meta"):
        two = network()
    load_weights(path, two)

    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert all(weight.requires_grad for weight in two.parameters())
    assert weights_sha256(two) == weights_sha256(one)


def test_a_file_may_change_once_it_was_read(saved):
    one, _, path = saved
    with torch.device("meta"):
        two = network()
    load_weights(path, two)
    with path.open("r+b") as file:  # in place: whoever maps it sees it
        file.write(b"\xff" * path.stat().st_size)

    assert all(map(torch.equal, one.parameters(), two.parameters()))


def test_nothing_half_written_is_left(tmp_path, saved):
    with pytest.raises(StoreError, match="cannot write"):
        save_network(tmp_path / "nowhere", "net", network())
    assert [one.name for one in tmp_path.iterdir()] == ["net.safetensors"]


def test_weights_that_share_memory_are_written(tmp_path):
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    module["b"].weight = module["a"].weight
    save_network(tmp_path, "tied", module)
    load_weights(tmp_path / "tied.safetensors", module)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 8}, r"basis is F32 \[8, 4, 4\] there and F32 \[16, 4, 4\] in 12"),
        ({"classes": 2}, r"embedding.weight is nothing there and F32 \[2, 4\] in 13"),
    ],
)  # fmt: skip
def test_another_architecture_is_refused_by_its_first_difference(
    saved, options, message
):
    _, _, path = saved
    other = network(**options)
    before = weights_sha256(other)
    with pytest.raises(StateMismatch, match=f"of another architecture: {message}"):
        load_weights(path, other)
    assert weights_sha256(other) == before


def test_another_type_is_refused(saved):
    _, _, path = saved
    with pytest.raises(StateMismatch, match=r"is F32 .* there and F64"):
        load_weights(path, network().double())


def test_surplus_weights_are_refused(saved):
    one, _, path = saved
    save_file({**one.state_dict(), "more": torch.zeros(1)}, path)
    with pytest.raises(StateMismatch, match=r"more is F32 \[1\] there and nothing"):
        load_weights(path, network())


def test_a_far_larger_file_is_not_read(saved):
    one, _, path = saved
    save_file({**one.state_dict(), "more": torch.zeros(10**6)}, path)
    with pytest.raises(DataRefused, match=r"has 4.0 MB; such weights have"):
        load_weights(path, network())


@pytest.mark.parametrize("kept", [0, 4, 50, -1])
def test_a_broken_file_is_refused(saved, kept):
    _, _, path = saved
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataRefused, match="no sound safetensors file"):
        load_weights(path, network())


def test_another_file_than_the_one_on_record_is_refused(saved):
    _, digest, path = saved
    save_network(path.parent, "net", network())
    with pytest.raises(DataRefused, match="was changed: its sha256 is"):
        load_weights(path, network(), sha256=digest)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    one = network()
    with torch.no_grad():
        one.basis[0] = float("inf")
    save_network(tmp_path, "net", one)
    with pytest.raises(DataRefused, match="values in basis that are not finite"):
        load_weights(tmp_path / "net.safetensors", network())


def test_a_missing_file_and_a_pipe_are_no_weights(tmp_path):
    with pytest.raises(DataRefused, match="is missing"):
        load_weights(tmp_path / "net.safetensors", network())
    os.mkfifo(tmp_path / "net.safetensors")
    with pytest.raises(DataRefused, match="is missing"):
        load_weights(tmp_path / "net.safetensors", network())


def test_a_module_without_weights_is_not_saved(tmp_path):
    with pytest.raises(UsageError, match="ReLU has no weights"):
        save_network(tmp_path, "net", nn.ReLU())
