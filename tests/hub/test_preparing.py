"""What may not be sent is refused before a byte leaves, and named."""

import json
import os
import pickle
import shutil

import pytest

from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.hub import push
from fiberaug.hub.preparing import prepare

SECRETS = {
    "hub": "token: hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + "a" * 36,
    "key": "-----BEGIN RSA PRIVATE KEY-----",
    "password": "s3://me:hunter2@bucket/x",
    "signed": "https://host/a.tar?X-Amz-Signature=1f",
}


def refused(folder, match, error=SecurityRefused):
    with pytest.raises(error, match=match):
        prepare(folder, "me/x", progress=False)


@pytest.mark.parametrize(
    ("name", "match"),
    [("weights.bin", "may run code"), ("a.pt", "may run code"), ("a.pkl", "may run"),
     ("model.py", "is code"), ("run.sh", "is code"), ("x.exe", "is code"),
     (".env", "hidden"), (".hidden/x.json", "hidden"), ("sub/.x", "hidden"),
     ("a.xyz", "of no kind"), ("unnamed", "of no kind"), ("a\tb.json", "characters")],
)  # fmt: skip
def test_a_file_that_is_not_on_the_list_is_refused_by_name(model, name, match):
    path = model / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps([1]))
    refused(model, match)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.png", "a.safetensors", "b.jpg"])
def test_a_pickle_under_another_name_is_refused(model, name):
    (model / name).write_bytes(pickle.dumps({"x": b"\x80\x81"}))
    refused(model, name, DataRefused)


def test_weights_that_are_cut_off_are_refused(tmp_path, model):
    lora = tmp_path / "lora"
    lora.mkdir()
    path = lora / "pytorch_lora_weights.safetensors"
    content = (model / "generator.safetensors").read_bytes()
    path.write_bytes(content)
    assert prepare(lora, "me/x", progress=False).kind == "lora"
    for broken in (content[:-1], content + b"x", content[:4], b""):
        path.write_bytes(broken)
        refused(lora, "pytorch_lora_weights", DataRefused)


@pytest.mark.parametrize("how", ["file", "folder", "up", "absolute"])
def test_a_link_that_leads_out_is_refused(model, tmp_path, how):
    outside = tmp_path / "secret.json"
    outside.write_text("{}")
    to = {
        "file": outside, "folder": tmp_path, "up": "../secret.json",
        "absolute": "/etc/hostname",
    }[how]  # fmt: skip
    (model / "a.json").symlink_to(to)
    refused(model, "leads out")


def test_a_link_within_the_folder_is_sent_as_the_file(model):
    (model / "copy.json").symlink_to("generator.json")
    parcel = prepare(model, "me/x", progress=False)
    sizes = {item.path: item.size for item in parcel.items}
    assert sizes["copy.json"] == sizes["generator.json"]


def test_a_pipe_is_refused_and_not_read(model):
    os.mkfifo(model / "a.json")
    refused(model, "no regular file")


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("name", ["README.md", "a.json", "notes.txt"])
def test_what_looks_like_a_secret_is_refused_and_not_shown(model, kind, name):
    text = SECRETS[kind]
    (model / name).write_text(json.dumps({"x": text}))
    with pytest.raises(SecurityRefused, match="seems to hold") as caught:
        prepare(model, "me/x", progress=False)
    assert text not in str(caught.value)


def test_the_very_token_is_found_whatever_it_looks_like(hub, model, monkeypatch):
    hub.token = "plain-words"  # noqa: S105  # of the loopback server
    monkeypatch.setenv("HF_TOKEN", "plain-words")
    (model / "notes.txt").write_text("it is plain-words")
    with pytest.raises(SecurityRefused, match="token that this push"):
        push(model, "me/x", progress=False)
    assert not hub.repos


def test_changed_or_missing_weights_are_refused(model):
    path = model / "generator.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(model, "was changed", DataRefused)
    path.unlink()
    refused(model, "is missing", DataRefused)


@pytest.mark.parametrize("what", ["shard", "index", "cut", "gone", "no index", "more"])
@pytest.mark.parametrize("kind", ["dataset", "pool"])
def test_shards_that_are_not_those_on_record_are_refused(kind, what, request):
    folder = request.getfixturevalue(kind)
    shard = min(folder.glob("*.tar"))
    index = shard.with_name(f"{shard.name}.idx")
    if what in {"shard", "index"}:
        path = shard if what == "shard" else index
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif what == "cut":
        shard.write_bytes(shard.read_bytes()[:-512])
    elif what == "gone":
        shard.unlink()
    elif what == "no index":
        index.unlink()
    else:
        shutil.copy(shard, folder / "another.tar")
    named = "another.tar" if what == "more" else shard.name
    refused(folder, named, DataRefused)


def test_an_index_of_another_shard_is_refused(dataset):
    first, second = sorted(dataset.glob("*.idx"))[:2]
    shutil.copy(second, first)
    refused(dataset, "CRC-32", DataRefused)


@pytest.mark.parametrize("mark", [".converting.json", ".converting"])
@pytest.mark.parametrize("kind", ["dataset", "pool"])
def test_what_is_being_written_is_refused(kind, mark, request):
    folder = request.getfixturevalue(kind)
    (folder / mark).write_text("{}")
    refused(folder, "unfinished", DataRefused)


def test_a_pool_without_its_record_is_refused(pool):
    (pool / "dataset.json").unlink()
    with pytest.raises((DataRefused, UsageError)):
        prepare(pool, "me/x", progress=False)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    refused(tmp_path / "photos", "nothing to push", UsageError)
    refused(tmp_path / "nowhere", "is no folder", UsageError)


def test_a_training_without_a_generator_yet_is_refused(tmp_path):
    (tmp_path / "run/state").mkdir(parents=True)
    refused(tmp_path / "run", "without a generator yet", DataRefused)


def test_two_things_in_a_folder_are_refused(dataset, model):
    shutil.copy(model / "generator.json", dataset)
    refused(dataset, "push them apart", DataRefused)


def test_paths_of_this_machine_are_cut_to_their_last_part(model):
    path = model / "generator.json"
    said = json.loads(path.read_text())
    home = "/home/somebody"
    said["notes"] |= {
        "base": f"{home}/models/sd 15", "log": f"read {home}/a/b.txt, then https://h/c/d",
        "list": ["C:\\Users\\somebody\\x", "~/somebody/y", "/only", "plain", "a/b/c"],
    }  # fmt: skip
    path.write_text(json.dumps(said))
    before = path.read_bytes()
    parcel = prepare(model, "me/x", progress=False)

    assert path.read_bytes() == before
    (item,) = [one for one in parcel.items if one.path == "generator.json"]
    sent = json.loads(item.source)
    assert sent["notes"]["base"] == "sd 15"
    assert sent["notes"]["log"] == "read b.txt, then https://h/c/d"
    assert sent["notes"]["list"] == ["x", "y", "/only", "plain", "a/b/c"]
    assert {n: one for n, one in sent.items() if n != "notes"} == {
        n: one for n, one in said.items() if n != "notes"
    }
    assert "somebody" not in item.source.decode() + parcel.card
    assert any("notes.base" in note for note in parcel.notes)
    assert item.size == len(item.source)


def test_lines_of_json_lose_paths_of_this_machine_too(dataset):
    """As convert_errors.jsonl names the photos that it could not take."""
    lines = [{"key": "a", "path": "/home/somebody/a.jpg"}, {"key": "b", "path": "b"}]
    text = "".join(json.dumps(one) + "\n" for one in lines)
    (dataset / "convert_errors.jsonl").write_text(text)
    parcel = prepare(dataset, "me/x", progress=False)
    (item,) = [one for one in parcel.items if one.path == "convert_errors.jsonl"]
    sent = item.source.decode().splitlines()
    assert [json.loads(line)["path"] for line in sent] == ["a.jpg", "b"]
    assert sent[1] == text.splitlines()[1], "what has none stays as it is"
    assert any("line 1: path" in note for note in parcel.notes)


def test_what_a_download_left_is_left_out_with_a_note(model):
    (model / ".cache/huggingface").mkdir(parents=True)
    (model / ".gitattributes").write_text("x")
    parcel = prepare(model, "me/x", progress=False)
    assert [item.path for item in parcel.items] == [
        "README.md", "generator.json", "generator.safetensors"
    ]  # fmt: skip
    assert any(".cache" in note for note in parcel.notes)
