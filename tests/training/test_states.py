"""A state on disk is whole or passed over."""

import json

import pytest
import torch

from fiberaug.errors import DataRefused, StoreError
from fiberaug.training.states import (
    has_state,
    latest,
    recover,
    replace_folder,
    save_state,
)


def _tensors(value):
    return {
        "generator": {"a": torch.full((3,), value), "b": torch.arange(4)},
        "critic": {"c": torch.full((2, 2), value, dtype=torch.bfloat16)},
        "empty": {},
    }


def _same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].keys() == b[name].keys()
        for key, value in a[name].items():
            assert value.dtype == b[name][key].dtype
            assert torch.equal(value, b[name][key])


def test_a_state_comes_back_as_it_was(tmp_path):
    assert not has_state(tmp_path)
    save_state(tmp_path, _tensors(1.5), {"step": 3, "told": [0.1]}, nimg=64)
    assert has_state(tmp_path)
    state = latest(tmp_path)
    _same(state.tensors, _tensors(1.5))
    assert state.facts == {"step": 3, "told": [0.1], "nimg": 64}


def test_tensors_that_share_memory_are_kept_apart(tmp_path):
    one = torch.arange(6.0)
    save_state(tmp_path, {"a": {"x": one, "y": one[2:]}}, {}, nimg=1)
    found = latest(tmp_path).tensors["a"]
    assert torch.equal(found["y"], one[2:])


def test_the_newest_two_are_kept(tmp_path):
    for nimg in (5, 900, 1_000, 70):
        save_state(tmp_path, _tensors(float(nimg)), {}, nimg=nimg)
    kept = sorted(one.name for one in (tmp_path / "state").iterdir())
    assert kept == ["000000000900", "000000001000"]
    assert latest(tmp_path).facts["nimg"] == 1_000


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "json"])
def test_a_damaged_state_is_passed_over(tmp_path, harm):
    save_state(tmp_path, _tensors(1.0), {}, nimg=1)
    folder = save_state(tmp_path, _tensors(2.0), {}, nimg=2)
    path = folder / "generator.safetensors"
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-3])
    elif harm == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "gone":
        path.unlink()
    else:
        (folder / "state.json").write_text("{")
    state = latest(tmp_path)
    assert state.facts["nimg"] == 1
    _same(state.tensors, _tensors(1.0))


def test_where_no_state_is_whole_each_reason_is_told(tmp_path):
    folder = save_state(tmp_path, _tensors(1.0), {}, nimg=1)
    (folder / "critic.safetensors").write_bytes(b"")
    with pytest.raises(DataRefused, match=r"000000000001.*critic"):
        latest(tmp_path)


def test_a_state_of_a_newer_release_is_refused_and_not_passed_over(tmp_path):
    save_state(tmp_path, _tensors(1.0), {}, nimg=1)
    folder = save_state(tmp_path, _tensors(1.0), {}, nimg=2)
    said = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(said | {"v": 2}))
    with pytest.raises(DataRefused, match="version 2"):
        latest(tmp_path)


def test_a_name_in_a_state_cannot_leave_its_folder(tmp_path):
    folder = save_state(tmp_path, _tensors(1.0), {}, nimg=1)
    content = (folder / "generator.safetensors").read_bytes()
    (tmp_path / "outside.safetensors").write_bytes(content)  # of the hash on record
    said = json.loads((folder / "state.json").read_text())
    said["files"] = {"../../outside": said["files"]["generator"]}
    (folder / "state.json").write_text(json.dumps(said))
    with pytest.raises(DataRefused, match="000000000001"):
        latest(tmp_path)


def test_a_state_of_the_same_images_is_replaced(tmp_path):
    for value in (1.0, 2.0):
        save_state(tmp_path, _tensors(value), {"at": value}, nimg=7)
    state = latest(tmp_path)
    assert state.facts["at"] == 2.0
    _same(state.tensors, _tensors(2.0))


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / "state" / ".000000000007.123"
    left.mkdir(parents=True)
    (left / "generator.safetensors").write_bytes(b"half")
    (tmp_path / "state" / "000000000099").mkdir()  # of a disk that lost its files
    assert not has_state(tmp_path)
    save_state(tmp_path, _tensors(1.0), {}, nimg=8)
    assert not left.exists()
    assert latest(tmp_path).facts["nimg"] == 8


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    save_state(tmp_path, _tensors(1.0), {}, nimg=1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fiberaug.training.states.save_file", full)
    with pytest.raises(StoreError, match="No space left"):
        save_state(tmp_path, _tensors(2.0), {}, nimg=2)
    assert latest(tmp_path).facts["nimg"] == 1
    assert len(list((tmp_path / "state").iterdir())) == 1


def _folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    place = _folder(tmp_path / "best", "old")
    _folder(tmp_path / ".best.old", "of a run that was killed")
    replace_folder(_folder(tmp_path / ".best.new", "new"), place)
    assert (place / "file").read_text() == "new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["best"]


def test_a_replacement_that_was_ended_is_put_back(tmp_path):
    place = _folder(tmp_path / "best", "old")
    place.rename(tmp_path / ".best.old")
    recover(place)
    assert (place / "file").read_text() == "old"
    _folder(tmp_path / ".best.old", "older")
    recover(place)
    assert (place / "file").read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["best"]
